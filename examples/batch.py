"""Run a batch of prompts and print each answer the moment it is finished, surviving a broken connection.

python examples/batch.py http://127.0.0.1:8000 "$(cat .penstock/api_key)" "The river" "The mill"
"""

import json
import sys
import time
import uuid

import httpx

PATH = "/v1/completions"


def main(url: str, key: str, *prompts: str) -> int:
    """Exit code 0 when the batch completed."""
    with httpx.Client(
        base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60, trust_env=False
    ) as client:
        return follow(client, submit(client, prompts))


def submit(client: httpx.Client, prompts: tuple[str, ...]) -> str:
    lines = [
        {"custom_id": prompt, "method": "POST", "url": PATH,
         "body": {"model": "rill", "prompt": prompt, "max_tokens": 40}}
        for prompt in prompts
    ]  # fmt: skip
    text = "\n".join(map(json.dumps, lines))
    file = client.post(
        "/v1/files", files={"file": ("lines.jsonl", text)}, data={"purpose": "batch"}
    )
    body = {
        "input_file_id": file.raise_for_status().json()["id"],
        "endpoint": PATH,
        "completion_window": "24h",
    }
    # With the key a POST that is sent again is the same batch.
    made = client.post("/v1/batches", json=body, headers={"Idempotency-Key": str(uuid.uuid4())})
    return str(made.raise_for_status().json()["id"])


def follow(client: httpx.Client, batch: str) -> int:
    last = "0"
    while True:
        try:
            with client.stream(
                "GET", f"/v1/batches/{batch}/stream", headers={"Last-Event-ID": last}
            ) as answer:
                answer.raise_for_status()
                event = ""
                for said in answer.iter_lines():
                    field, _, value = said.partition(": ")
                    if field == "id":
                        last = value
                    elif field == "event":
                        event = value
                    elif field == "data" and event == "line":
                        show(json.loads(value))
                    elif field == "data" and event.startswith("batch."):
                        sys.stdout.write(f"{event}\n")
                        return int(event != "batch.completed")
        except httpx.TransportError:
            time.sleep(1)


def show(line: dict[str, object]) -> None:
    sys.stdout.write(f"{line['custom_id']}: {json.dumps(line['response'] or line['error'])}\n")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
