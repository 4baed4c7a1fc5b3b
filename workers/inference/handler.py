"""One inference attempt: read what was already said, generate on from there, say the rest."""

import asyncio
import contextlib
import time
from typing import Any

from core import telemetry
from core.catalog.tokenizer import prompt_ids
from core.jobs.inference import check_length
from workers.context import Attempt
from workers.engine import Chunk, Request
from workers.inference.stops import Stops
from workers.process import Worker

# Below this many characters tokenising takes well under a millisecond; above, it must not hold the loop.
INLINE_CHARS = 4000


async def handle(worker: Worker, attempt: Attempt) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the result {"text", "finish_reason"} and the usage in tokens.

    Raises InvalidInput when the model served now holds less context than the one asked for at submit.
    """
    spec = attempt.claim.spec
    prompt = await _prompt(worker, spec)
    before = attempt.progress() or {}
    tokens: list[int] = list(before.get("tokens", ()))
    text: list[str] = [before.get("text", "")]
    finish: str | None = before.get("finish")
    room = spec["max_tokens"] - len(tokens)
    if room <= 0:
        finish = finish or "length"
    check_length(len(prompt), spec["max_tokens"], worker.model.context)
    if finish is None:
        request = Request(
            # The attempt is part of the id: an engine may still hold the one that was stopped.
            id=f"{attempt.claim.id}-{attempt.claim.attempt}",
            prompt=prompt + tokens,
            max_tokens=room,
            temperature=spec["temperature"],
            top_k=spec["top_k"],
            top_p=spec["top_p"],
            seed=spec["seed"],
            scope=attempt.claim.tenant_id,
        )
        stops = Stops(spec["stop"], worker.text.decode)
        async for chunk in _chunks(worker, attempt, request, stops):
            text.append(chunk.text)
            tokens += chunk.tokens
            finish = chunk.finish or finish
    telemetry.TOKENS.labels(worker.model.name, "in").inc(len(prompt))
    telemetry.TOKENS.labels(worker.model.name, "out").inc(len(tokens))
    usage = {
        "prompt_tokens": len(prompt),
        "completion_tokens": len(tokens),
        "total_tokens": len(prompt) + len(tokens),
    }
    return {"text": "".join(text), "finish_reason": finish or "stop"}, usage


async def _prompt(worker: Worker, spec: dict[str, Any]) -> list[int]:
    size = len(spec.get("prompt") or "") + sum(
        len(m["content"]) for m in spec.get("messages") or ()
    )
    if size <= INLINE_CHARS:
        return prompt_ids(worker.text, spec)
    return await asyncio.to_thread(prompt_ids, worker.text, spec)


async def _chunks(worker: Worker, attempt: Attempt, request: Request, stops: Stops) -> Any:
    """Say and pass on each chunk; closing this drops the request in the engine at once."""
    stream = worker.engine.generate(request)
    async with contextlib.aclosing(stream):
        async for raw in stream:
            attempt.last_progress = time.monotonic()
            for chunk in stops.feed(raw):
                _say(worker, attempt, chunk)
                yield chunk
                if chunk.finish is not None:
                    return


def _say(worker: Worker, attempt: Attempt, chunk: Chunk) -> None:
    if not chunk.text:
        return
    first = attempt.first_say is None
    attempt.say(chunk.text, chunk.tokens, chunk.finish)
    if first and attempt.first_say is not None:
        telemetry.FIRST_TOKEN.labels(worker.model.name).observe(attempt.first_say - attempt.began)
