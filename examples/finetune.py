"""Fine-tune the shipped model on a task it fails at; measure its answers through the API before and after.

python examples/finetune.py http://127.0.0.1:8000 "$(cat .penstock/api_key)"

The task (examples/data): a customer's message in, the team that answers it and the order's number out.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

DATA = Path(__file__).parent / "data" / "tickets"
BASE, ENOUGH = "rill", 0.9
SETTINGS = {"n_epochs": 2, "batch_size": 4, "learning_rate": 0.0025, "packing": False}
# Requests at once, and the seconds before one that found the server busy is sent again.
AT_ONCE, AGAIN_S = 16, 1.0
ENDS = {"succeeded", "failed", "cancelled"}
BAR = 32

Pairs = list[tuple[str, str]]


def main(url: str, key: str) -> int:
    """Exit code 0 when at least nine of ten answers of the new model are right, to the letter."""
    with httpx.Client(
        base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=120, trust_env=False
    ) as client:
        test = pairs("test")
        say(f"{len(test)} messages that the training never sees, for example:\n  {test[0][0]}")
        say(f"  -> {test[0][1]}\n\nbefore: {BASE} says")
        before = ask(client, BASE, test)
        say(f"  {' '.join(before[0].split())}\n")
        job = start(client)
        model = follow(client, job)
        if model is None:
            return 1
        after = ask(client, model, test)
        known = pairs("validation")
        familiar = share(known, ask(client, model, known))
    say("\nright to the letter")
    show(BASE, share(test, before))
    show(model, share(test, after))
    show("the same, where it had seen the sentences", familiar)
    say(f"\n{table(test, after)}")
    return int(share(test, after) < ENOUGH)


def pairs(split: str) -> Pairs:
    """The messages of a split, each with the answer that is right."""
    lines = (DATA / f"{split}.jsonl").read_text().splitlines()
    rows = [json.loads(line)["messages"] for line in lines]
    return [(asked["content"], answer["content"]) for asked, answer in rows]


def ask(client: httpx.Client, model: str, asked: Pairs) -> list[str]:
    """The model's answers, in order; the most likely words, so that asking again says the same."""

    def one(pair: tuple[str, str]) -> str:
        body = {
            "model": model,
            "messages": [{"role": "user", "content": pair[0]}],
            "temperature": 0,
            "max_completion_tokens": 16,
        }
        answer = post(client, "/v1/chat/completions", json=body)
        return str(answer["choices"][0]["message"]["content"]).strip()

    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(one, asked))


def start(client: httpx.Client) -> str:
    """Upload the two files and submit the job; its id."""
    files = {
        name: post(
            client,
            "/v1/files",
            files={"file": (f"{split}.jsonl", (DATA / f"{split}.jsonl").read_bytes())},
            data={"purpose": "fine-tune"},
        )
        for name, split in (("training_file", "train"), ("validation_file", "validation"))
    }
    for name, file in files.items():
        say(f"{name:<15} {file['filename']}, {file['bytes']:,} bytes: {file['id']}")
    body = {
        "model": BASE,
        "suffix": "tickets",
        "seed": 7,
        "method": {"type": "supervised", "supervised": {"hyperparameters": SETTINGS}},
        **{name: file["id"] for name, file in files.items()},
    }
    job = str(post(client, "/v1/fine_tuning/jobs", json=body)["id"])
    say(f"{'job':<15} {job}\n")
    return job


def follow(client: httpx.Client, job: str) -> str | None:
    """Print what the job says until it ends; the name of the new model, or None when there is none."""
    path, seen, began = f"/v1/fine_tuning/jobs/{job}", set[str](), time.monotonic()
    top = 0.0
    while True:
        try:
            # In this order: after the last event there is no other.
            state = client.get(path).raise_for_status().json()
            events = list(unseen(client, path, seen))
        except httpx.TransportError:
            time.sleep(AGAIN_S)
            continue
        for event in events:
            data = event["data"] or {}
            loss = data.get("train_loss")
            if event["type"] != "metrics":
                say(event["message"])
            elif loss is None:
                say(
                    f"  step {data['step']:>4}  loss {data['valid_loss']:.4f}  on the validation file"
                )
            elif data["step"] % 20 == 0:
                top = max(top, loss)
                say(f"  step {data['step']:>4}  loss {loss:.4f}  {'█' * round(BAR * loss / top)}")
        if state["status"] in ENDS:
            model: str | None = state["fine_tuned_model"]
            took = time.monotonic() - began
            say(f"{state['status']} after {took:.0f} s: {model or state['error']}")
            return model
        time.sleep(AGAIN_S)


def unseen(client: httpx.Client, path: str, seen: set[str]) -> Iterator[dict[str, Any]]:
    """The job's events that were not there the last time, oldest first; the list has the newest first."""
    found: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while True:
        page = (
            client.get(f"{path}/events", params={"limit": "100", **after}).raise_for_status().json()
        )
        fresh = [event for event in page["data"] if event["id"] not in seen]
        found += fresh
        if not page["has_more"] or len(fresh) < len(page["data"]):
            break
        after = {"after": page["data"][-1]["id"]}
    seen.update(event["id"] for event in found)
    yield from reversed(found)


def post(client: httpx.Client, path: str, **content: Any) -> dict[str, Any]:
    """What a POST answers; sent again when the server is busy or cannot be reached."""
    # With the key a POST that is sent again is the same file, job or answer.
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    while True:
        try:
            answer = client.post(path, headers=headers, **content)
        except httpx.TransportError:
            time.sleep(AGAIN_S)
            continue
        if answer.status_code in (429, 503):
            time.sleep(float(answer.headers.get("retry-after", AGAIN_S)))
            continue
        if answer.is_error:
            raise SystemExit(f"POST {path}: {answer.status_code} {answer.text}")
        return dict(answer.json())


def share(asked: Pairs, answers: list[str]) -> float:
    return sum(right == said for (_, right), said in zip(asked, answers, strict=True)) / len(asked)


def show(name: str, part: float) -> None:
    say(f"  {'█' * round(BAR * part):░<{BAR}} {part:6.1%}  {name}")


def table(asked: Pairs, answers: list[str]) -> str:
    """Which team's messages were sent to which team, and how many order numbers were right."""
    right = [answer.split() for _, answer in asked]
    said = [(answer.split() or ["-"]) for answer in answers]
    teams = sorted({team for team, _ in right})
    sent = Counter((good[0], got[0]) for good, got in zip(right, said, strict=True))
    orders = Counter(good[0] for good, got in zip(right, said, strict=True) if good[1:] == got[1:])
    head = f"  {'went to':<12}{''.join(f'{team:>10}' for team in [*teams, 'nobody'])}"
    lines = [f"{head}  | order right"]
    for team in teams:
        counts = [sent[team, other] for other in teams]
        total = sum(n for (good, _), n in sent.items() if good == team)
        cells = "".join(f"{n or '.':>10}" for n in [*counts, total - sum(counts)])
        lines.append(f"  {team:<12}{cells}  | {orders[team]} of {total}")
    return "\n".join(lines)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
