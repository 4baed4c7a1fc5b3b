"""The first job of a fresh stack, through the public API, and what to try next."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import httpx

PROMPT = "Once upon a time"
ENDS = {"job.succeeded", "job.failed", "job.cancelled", "job.expired"}


def show(url: str, key: str, model: str) -> None:
    """Submit a job, print its tokens as they come, then three commands to try. Raises nothing."""
    try:
        with httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60, trust_env=False
        ) as client:
            _run(client, model)
    except (httpx.HTTPError, ValueError) as error:
        _say(f"\nThe first job did not come through: {error}\n")
    _say(next_steps(url, key, model))


def _run(client: httpx.Client, model: str) -> None:
    spec = {"kind": "inference", "model": model, "prompt": PROMPT, "max_tokens": 100}
    answer = client.post("/v1/jobs", json=spec)
    if answer.status_code != 202:
        raise ValueError(f"POST /v1/jobs answered {answer.status_code}: {answer.text}")
    job = answer.json()["id"]
    _say(f"\nJob {job}, as it streams:\n\n{PROMPT}")
    with client.stream("GET", f"/v1/jobs/{job}/stream") as stream:
        stream.raise_for_status()
        for event in events(stream.iter_lines()):
            if event["type"] in ("output.delta", "snapshot"):
                _say(event["data"].get("text") or "")
            elif event["type"] in ENDS:
                _say(f"\n\n{event['type']}\n")
                return


def events(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """The JSON of each `data:` line of an event stream; ours has one such line an event."""
    for line in lines:
        if line.startswith("data:"):
            event: dict[str, Any] = json.loads(line.removeprefix("data:"))
            yield event


def next_steps(url: str, key: str, model: str) -> str:
    spec = json.dumps({"kind": "inference", "model": model, "prompt": PROMPT, "max_tokens": 100})
    hook = json.dumps(
        {"name": "mine", "url": "http://127.0.0.1:9000/", "event_types": ["job.succeeded"]}
    )
    return f"""
Base URL   {url}        description: {url}/openapi.json
API key    {key}

Try next, in another terminal:

  export PENSTOCK_KEY={key}

  # submit a job
  curl -s {url}/v1/jobs -H "Authorization: Bearer $PENSTOCK_KEY" \\
    -H 'Content-Type: application/json' -d '{spec}'

  # read its events as they happen (put the id from above in place of JOB)
  curl -sN {url}/v1/jobs/JOB/stream -H "Authorization: Bearer $PENSTOCK_KEY"

  # be called when a job has succeeded
  curl -s {url}/v1/webhook_endpoints -H "Authorization: Bearer $PENSTOCK_KEY" \\
    -H 'Content-Type: application/json' -d '{hook}'

Ctrl-C stops everything; the data stay.
"""


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
