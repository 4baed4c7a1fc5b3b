"""One spec answered: go on from what was already said, say the rest, sum it up."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from core import telemetry
from core.catalog.prices import Prices
from core.catalog.tokenizer import Text, prompt_ids
from core.jobs import inference, tools
from core.jobs.inference import InferenceSpec
from core.ledger.caps import limit
from workers.answering.ask import Answer, Ask
from workers.answering.likely import shown
from workers.answering.replay import fresh
from workers.answering.stops import Stops
from workers.answering.ways import way
from workers.engine import Chunk, Likely, Request

__all__ = ["Answer", "Ask", "Prompt", "answered", "capped", "encoded", "together"]

# Below this many characters tokenising takes well under a millisecond; above, it must not hold the loop.
INLINE_CHARS = 4000


@dataclass
class Prompt:
    """What there is to know of the prompt, some of it once an engine has told, and how long it was there."""

    ids: list[int]
    logprobs: list[Likely | None] | None = None
    # Of its first stay in an engine: what a later one finds computed is our own doing.
    cached: int | None = None
    engine_s: float = 0.0
    _entered: float | None = None

    def resumes(self, took: dict[str, Any]) -> None:
        """Go on from what earlier attempts took."""
        self.cached = took.get("cached_tokens")
        self.engine_s = float(took.get("engine_seconds", 0))

    @contextlib.contextmanager
    def in_engine(self) -> Iterator[None]:
        self._entered = time.monotonic()
        try:
            yield
        finally:
            self.engine_s, self._entered = self._seconds(), None

    def _seconds(self) -> float:
        now = 0.0 if self._entered is None else time.monotonic() - self._entered
        return self.engine_s + now

    def took(self) -> dict[str, Any]:
        """{"prompt_tokens", "cached_tokens"?, "engine_seconds"} so far, in all attempts together."""
        took: dict[str, Any] = {
            "prompt_tokens": len(self.ids),
            "engine_seconds": round(self._seconds(), 4),
        }
        if self.cached is not None:
            took["cached_tokens"] = min(self.cached, len(self.ids))
        return took


async def answered(
    ask: Ask, spec: InferenceSpec, prompt: Prompt, answers: list[Answer]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the result {"text", "finish_reason"} and the usage in tokens.

    `answers` hold what was said before, and when this is cancelled, what has been said by then: the next
    call goes on there. The result lists "choices" where there are several or more is told of each, and
    "prompt_logprobs" where asked for, and by which cap answers were "stopped_by" where one was.
    """
    spec, cap = capped(spec, prompt, ask.prices)
    with prompt.in_engine():
        await together([_answer(ask, spec, prompt, a) for a in answers])
        if spec.prompt_logprobs is not None and prompt.logprobs is None:
            await _score(ask, spec, prompt)
    said = sum(len(a.tokens) for a in answers)
    telemetry.TOKENS.labels(ask.model.name, "in").inc(len(prompt.ids))
    telemetry.TOKENS.labels(ask.model.name, "out").inc(said)
    result = _result(ask, spec, prompt, answers)
    if cap is not None and any(answer.finish == "length" for answer in answers):
        result["stopped_by"] = cap
    return result, inference.spent(prompt.took(), said)


def capped(spec: InferenceSpec, prompt: Prompt, prices: Prices) -> tuple[InferenceSpec, str | None]:
    """The spec with answers no longer than its caps leave room for, and which cap that was."""
    tokens, cap = limit(spec, len(prompt.ids), spec.n, spec.max_tokens, prices)
    fewer = {"max_tokens": tokens, "min_tokens": min(spec.min_tokens, tokens)}
    return (spec if cap is None else spec.model_copy(update=fewer)), cap


def _result(ask: Ask, spec: InferenceSpec, prompt: Prompt, answers: list[Answer]) -> dict[str, Any]:
    first = answers[0]
    result: dict[str, Any] = {"text": first.text, "finish_reason": first.finish or "stop"}
    if spec.detailed:
        result["choices"] = [_choice(ask.id, spec, answer) for answer in answers]
        result["finish_reason"] = result["choices"][0]["finish_reason"]
    if prompt.logprobs is not None:
        result["prompt_logprobs"] = [
            None if likely is None else _of_prompt(ask, likely)
            for likely in prompt.logprobs[: len(prompt.ids)]
        ]
    return result


def _of_prompt(ask: Ask, likely: Likely) -> dict[str, Any]:
    """Of a prompt's token, which is the client's own; what else was likely there is the model's, and guarded."""
    one = shown(ask.text, likely)
    if ask.guard is None or not ask.guard.guard.enforces:
        return one
    hides = ask.guard.guard.scanner.hides
    return one | {"top": [t for t in one["top"] if not hides("", t["token"])]}


def _choice(job_id: str, spec: InferenceSpec, answer: Answer) -> dict[str, Any]:
    finish = answer.finish or "stop"
    choice: dict[str, Any] = {"index": answer.index, "text": answer.text}
    if spec.logprobs is not None:
        choice["logprobs"] = answer.logprobs
    use = spec.tool_use
    if use.kind != "none":
        content, calls = tools.calls(answer.text, use, parallel=spec.parallel_tool_calls)
        choice["content"] = content
        choice["tool_calls"] = [
            {
                "id": tools.call_id(job_id, answer.index, number),
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for number, call in enumerate(calls)
        ]
        # As OpenAI: a function that was named beforehand is no reason to stop.
        if calls and finish == "stop" and use.kind != "named":
            finish = "tool_calls"
    return choice | {"finish_reason": finish}


async def encoded(text: Text, spec: InferenceSpec) -> list[int]:
    size = len(spec.prompt or "") + sum(m.size for m in spec.messages or ())
    body = inference.template_input(spec)
    if size <= INLINE_CHARS:
        return prompt_ids(text, body)
    return await asyncio.to_thread(prompt_ids, text, body)


async def together(answers: Sequence[Awaitable[None]]) -> None:
    """All of them at once; the first error ends the others and is raised."""
    if len(answers) == 1:
        await answers[0]
        return
    tasks = [asyncio.ensure_future(answer) for answer in answers]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _answer(ask: Ask, spec: InferenceSpec, prompt: Prompt, answer: Answer) -> None:
    if spec.max_tokens <= len(answer.tokens):
        answer.finish = answer.finish or "length"
    if answer.finish is not None:
        return
    request = _request(ask, spec, prompt, answer)
    stops = Stops(spec.stop, ask.text.decode)
    out = way(ask, spec, answer)
    try:
        async with contextlib.aclosing(_raw(ask, request, answer, prompt)) as stream:
            async for raw in stream:
                for chunk in stops.feed(raw):
                    await out.take(chunk)
                    if answer.finish is not None:
                        break
                if answer.finish is not None:
                    break
    finally:
        out.close()


def _request(ask: Ask, spec: InferenceSpec, prompt: Prompt, answer: Answer) -> Request:
    """Goes on behind the tokens that are there, or walks through them again where the way matters."""
    behind, forced = (answer.tokens, ()) if not spec.walks else ([], tuple(answer.tokens))
    place = f"-{answer.index}" if answer.index else ""
    return Request(
        # The attempt is part of the id: an engine may still hold the one that was stopped.
        id=f"{ask.request_id}{place}",
        prompt=prompt.ids + behind,
        max_tokens=spec.max_tokens - len(behind),
        temperature=spec.temperature,
        top_k=spec.top_k,
        top_p=spec.top_p,
        # Each answer its own, so that several are not the same one.
        seed=None if spec.seed is None else _seed(spec.seed, answer.index),
        scope=ask.tenant_id,
        min_p=spec.min_p,
        min_tokens=max(spec.min_tokens - len(behind), 0),
        ignore_eos=spec.ignore_eos,
        presence_penalty=spec.presence_penalty,
        frequency_penalty=spec.frequency_penalty,
        repetition_penalty=spec.repetition_penalty,
        logit_bias={int(i): b for i, b in spec.logit_bias.items()} if spec.logit_bias else None,
        logprobs=spec.logprobs,
        prompt_logprobs=spec.prompt_logprobs if answer.index == 0 else None,
        form=spec.form.model_dump(exclude_none=True) if spec.form is not None else None,
        forced=forced,
        adapter=ask.adapter,
    )


def _seed(seed: int, index: int) -> int:
    """`seed + index`, within the 64 bits that a generator takes."""
    return (seed + index + 2**63) % 2**64 - 2**63


async def _raw(
    ask: Ask, request: Request, answer: Answer, prompt: Prompt
) -> AsyncGenerator[Chunk, None]:
    """The engine's new chunks; closing this drops the request in the engine at once."""
    stream = ask.engine.generate(request)
    if request.forced:
        # A guard may say other words than the model wrote.
        written = answer.text if not answer.raw else answer.raw
        stream = fresh(stream, len(request.forced), len(written))
    async with contextlib.aclosing(stream):
        async for chunk in stream:
            ask.alive()
            if chunk.prompt_logprobs is not None:
                prompt.logprobs = chunk.prompt_logprobs
            if chunk.cached is not None and answer.index == 0 and prompt.cached is None:
                prompt.cached = chunk.cached
            if chunk.text or chunk.tokens or chunk.finish is not None:
                yield chunk


async def _score(ask: Ask, spec: InferenceSpec, prompt: Prompt) -> None:
    """Of the prompt alone: no answer was asked for, or an earlier attempt gave it."""
    request = Request(
        id=f"{ask.request_id}-prompt",
        prompt=prompt.ids,
        max_tokens=1,
        prompt_logprobs=spec.prompt_logprobs,
        scope=ask.tenant_id,
        adapter=ask.adapter,
        mute=True,
    )
    async with contextlib.aclosing(_raw(ask, request, Answer(0), prompt)) as stream:
        async for _ in stream:
            continue
