"""Audit a model with what is shipped: what can be seen, how it goes, the verdict and the figures behind it.

python examples/audit.py http://127.0.0.1:8000 "$(cat .penstock/api_key)" accuracy perplexity
"""

import json
import sys
import uuid
from typing import Any

import httpx

CODES = {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 2, "INVALID": 3}


def main(url: str, key: str, *suites: str) -> int:
    """Exit code by the verdict; 4 when there is none."""
    with httpx.Client(
        base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=120, trust_env=False
    ) as client:
        body = {"model": "rill", "suites": [{"suite": name} for name in suites]}
        plan = client.post("/v1/audits/plan", json=body).raise_for_status().json()
        for suite in plan["suites"]:
            print(f"{suite['suite']}: {suite['items']} items in {suite['clusters']} clusters")
        # With the key a POST that is sent again is the same audit.
        key_of_one = {"Idempotency-Key": str(uuid.uuid4())}
        job = client.post("/v1/audits", json=body, headers=key_of_one).raise_for_status().json()
        follow(client, job["id"])
        audit = client.get(f"/v1/audits/{job['id']}").raise_for_status().json()
    return show(audit)


def follow(client: httpx.Client, job_id: str) -> None:
    """Every event to the last, across broken connections."""
    last, ended = 0, False
    while not ended:
        try:
            headers = {"Last-Event-ID": str(last)} if last else {}
            with client.stream("GET", f"/v1/jobs/{job_id}/stream", headers=headers) as answer:
                for line in answer.iter_lines():
                    if line.startswith("data: "):
                        event = json.loads(line[6:])
                        last, ended = event["seq"], told(event)
        except httpx.TransportError:
            continue


def told(event: dict[str, Any]) -> bool:
    """Print an event; whether it was the last."""
    data = event["data"]
    match event["type"]:
        case "progress":
            print(f"  {data['phase']} {data['done']}/{data['total']}")
        case "finding":
            print(f"  {data['verdict']} {data['id']}: {data['reason']}")
    return event["type"] in {"job.succeeded", "job.failed", "job.cancelled", "job.expired"}


def show(audit: dict[str, Any]) -> int:
    if audit["verdict"] is None:
        print(audit["error"] or audit["state"])
        return 4
    for suite in audit["findings"]["suites"]:
        for figure in suite["figures"]:
            one = figure["estimate"]
            if not figure["group"] and one["value"] is not None:
                ends = "[{}, {}]".format(*(_round(one[end]) for end in ("low", "high")))
                print(f"{figure['metric']}: {_round(one['value'])} {ends}")
    print(audit["verdict"], audit["report"])
    return CODES[audit["verdict"]]


def _round(value: float | None) -> str:
    return "?" if value is None else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
