"""What a test asks of audits: submit one, wait for its end, read what it found and what was answered."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx

from tests.asking import ended
from tests.waiting import PATIENCE_S

AUDITS = "/v1/audits"
# Twenty questions about two templates each: enough for figures, quick on the scripted engine.
QUESTIONS = [{"text": f"Question {n}", "cluster": f"c{n % 10}", "answer": "yes"} for n in range(20)]
GRADED: dict[str, Any] = {
    "messages": [{"role": "user", "content": "{{item.text}}: yes or no?"}],
    "graders": [
        {
            "type": "string_check", "name": "exact", "operation": "eq",
            "input": "{{sample.output_text}}", "reference": "{{item.answer}}",
        }
    ],
    "max_tokens": 8,
}  # fmt: skip


async def uploaded(
    client: httpx.AsyncClient,
    content: bytes | Path | Iterable[dict[str, Any]],
    purpose: str = "evals",
    name: str = "data.jsonl",
) -> str:
    """The id of a file: of bytes, of a file here, or of rows written as JSON lines."""
    if isinstance(content, Path):
        name, content = content.name, content.read_bytes()  # noqa: ASYNC240 - a test waits
    elif not isinstance(content, bytes):
        content = b"".join(json.dumps(row).encode() + b"\n" for row in content)
    sent = await client.post(
        "/v1/files", data={"purpose": purpose}, files={"file": (name, content)}
    )
    assert sent.status_code == 200, sent.text
    return str(sent.json()["id"])


async def graded(
    client: httpx.AsyncClient, count: int = len(QUESTIONS), **options: Any
) -> dict[str, Any]:
    """A suite that writes: so many questions of a file of one's own."""
    rows = [{"item": {**QUESTIONS[n % 20], "text": f"Question {n}"}} for n in range(count)]
    file = await uploaded(client, rows)
    return {"suite": "graded", "file": file, "options": GRADED | options}


async def submitted(client: httpx.AsyncClient, **spec: Any) -> dict[str, Any]:
    """The job of an audit that was accepted."""
    answer = await client.post(AUDITS, json=spec)
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    return job


async def audited(
    client: httpx.AsyncClient, *, timeout_s: float = PATIENCE_S, **spec: Any
) -> dict[str, Any]:
    """GET /v1/audits/{id} of an audit that has succeeded."""
    job = await submitted(client, **spec)
    done = await ended(client, job["id"], timeout_s=timeout_s)
    assert done["state"] == "succeeded", done["error"]
    return await found(client, job["id"])


async def found(client: httpx.AsyncClient, audit_id: str) -> dict[str, Any]:
    answer = await client.get(f"{AUDITS}/{audit_id}")
    assert answer.status_code == 200, answer.text
    audit: dict[str, Any] = answer.json()
    return audit


async def items(client: httpx.AsyncClient, audit_id: str, **query: Any) -> list[dict[str, Any]]:
    """Every item that was answered, over all pages."""
    out: list[dict[str, Any]] = []
    while True:
        answer = await client.get(f"{AUDITS}/{audit_id}/items", params={"limit": 1000, **query})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        out += page["data"]
        if not page["has_more"]:
            return out
        query["after"] = page["last_id"]
