"""What the tests of batches share: lines, and a batch submitted and awaited with OpenAI's own client."""

import json
from typing import Any, Final

from openai import AsyncOpenAI
from openai.types import Batch

from tests.waiting import PATIENCE_S, eventually

CHAT: Final = "/v1/chat/completions"
ENDED = ("completed", "failed", "expired", "cancelled")


def line(custom_id: str, said: str = "Go on", **body: Any) -> dict[str, Any]:
    asked = {"model": "rill", "messages": [{"role": "user", "content": said}], "max_tokens": 4}
    return {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": asked | body}


def jsonl(lines: list[Any]) -> bytes:
    return b"".join(
        (one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\n" for one in lines
    )


async def upload(ai: AsyncOpenAI, lines: list[Any]) -> str:
    made = await ai.files.create(file=("in.jsonl", jsonl(lines)), purpose="batch")
    return made.id


async def begin(ai: AsyncOpenAI, lines: list[Any], window: str = "24h", **more: Any) -> Batch:
    return await ai.batches.create(
        input_file_id=await upload(ai, lines),
        endpoint=more.pop("endpoint", CHAT),
        completion_window=window,  # type: ignore[arg-type]  # OpenAI's type knows 24h alone
        **more,
    )


async def ended(ai: AsyncOpenAI, batch_id: str, timeout_s: float = PATIENCE_S) -> Batch:
    async def over() -> Batch | None:
        found = await ai.batches.retrieve(batch_id)
        return found if found.status in ENDED else None

    found = await eventually(over, f"{batch_id} never ended", timeout_s)
    assert found is not None
    return found


async def content(ai: AsyncOpenAI, file_id: str | None) -> list[dict[str, Any]]:
    """The lines of an output or error file; none of no file."""
    if file_id is None:
        return []
    read = await ai.files.content(file_id)
    return [json.loads(one) for one in read.text.splitlines()]
