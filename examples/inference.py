"""Submit one inference job and print its tokens as they come, surviving a broken connection.

python examples/inference.py http://127.0.0.1:8000 "$(cat .penstock/api_key)" "The river"
"""

import json
import sys
import time
import uuid

import httpx

ENDS = {"job.succeeded", "job.failed", "job.cancelled", "job.expired"}


def main(url: str, key: str, prompt: str) -> int:
    """Exit code 0 when the job succeeded."""
    with httpx.Client(
        base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60, trust_env=False
    ) as client:
        job = submit(client, prompt)
        return follow(client, job)


def submit(client: httpx.Client, prompt: str) -> str:
    # The key makes a repeated POST the same job: send again until there is an answer.
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    spec = {"kind": "inference", "prompt": prompt, "max_tokens": 80}
    while True:
        try:
            answer = client.post("/v1/jobs", json=spec, headers=headers)
        except httpx.TransportError:
            time.sleep(1)
            continue
        answer.raise_for_status()
        return str(answer.json()["id"])


def follow(client: httpx.Client, job: str) -> int:
    last = "0"
    while True:
        try:
            with client.stream(
                "GET", f"/v1/jobs/{job}/stream", headers={"Last-Event-ID": last}
            ) as answer:
                answer.raise_for_status()
                for line in answer.iter_lines():
                    if not line.startswith("data: "):
                        continue
                    event = json.loads(line.removeprefix("data: "))
                    last = str(event["seq"])
                    if event["type"] == "output.delta":
                        sys.stdout.write(event["data"]["text"])
                        sys.stdout.flush()
                    elif event["type"] in ENDS:
                        sys.stdout.write(f"\n{event['type']}\n")
                        return int(event["type"] != "job.succeeded")
        except httpx.TransportError:
            time.sleep(1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
