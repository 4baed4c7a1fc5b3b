"""What tests of trainings share: a file to train on, a job, and the scripted trainer's orders."""

import json
from typing import Any

import httpx

from tests.asking import JOBS
from tests.rig import Rig

ROWS = [
    {
        "messages": [
            {"role": "user", "content": f"Which team takes order {n}?"},
            {"role": "assistant", "content": ("billing", "support", "delivery")[n % 3]},
        ]
    }
    for n in range(60)
]


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


async def uploaded(
    client: httpx.AsyncClient, content: bytes | None = None, name: str = "train.jsonl"
) -> str:
    """A file to train on."""
    body = jsonl(ROWS) if content is None else content
    answer = await client.post(
        "/v1/files", data={"purpose": "fine-tune"}, files={"file": (name, body)}
    )
    assert answer.status_code == 200, answer.text
    found: str = answer.json()["id"]
    return found


async def submitted(
    client: httpx.AsyncClient,
    file_id: str,
    steps: int = 20,
    *,
    hyper: dict[str, Any] | None = None,
    tuning: str = "lora",
    kind_of: str = "supervised",
    **fields: Any,
) -> str:
    """A fine-tune of so many steps with a checkpoint every five."""
    settings = {"max_steps": steps, "n_epochs": 100, "checkpoint_every": 5} | (hyper or {})
    method = {"type": kind_of, "tuning": tuning, "hyperparameters": settings}
    spec = {"kind": "finetune", "training_file": file_id, "seed": 7, "method": method}
    answer = await client.post(JOBS, json=spec | fields)
    assert answer.status_code == 202, answer.text
    found: str = answer.json()["id"]
    return found


def order(rig: Rig, **script: Any) -> None:
    """What the next scripted trainers do (tests/fakes/trainer.py)."""
    (rig.folder / "trainer.json").write_text(json.dumps(script))


def runs(rig: Rig) -> list[dict[str, Any]]:
    """The scripted trainers so far: {"pid", "resume"} each."""
    path = rig.folder / "trainer.log"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


async def events(client: httpx.AsyncClient, job_id: str) -> list[dict[str, Any]]:
    """The whole log of a job."""
    found: list[dict[str, Any]] = []
    while True:
        after = found[-1]["seq"] if found else 0
        answer = await client.get(f"{JOBS}/{job_id}/events?after={after}&limit=500")
        assert answer.status_code == 200, answer.text
        found += answer.json()["data"]
        if not answer.json()["has_more"]:
            return found
