"""One spec answered: go on from what was already said, say the rest, sum it up."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from core import telemetry
from core.catalog.models import Served
from core.catalog.prices import FREE, Prices
from core.catalog.tokenizer import Text, prompt_ids
from core.jobs import inference, tools
from core.jobs.inference import InferenceSpec
from core.ledger.caps import limit
from workers.answering.likely import shown
from workers.answering.replay import fresh
from workers.answering.stops import Stops
from workers.engine import Chunk, Engine, Likely, Request

# Below this many characters tokenising takes well under a millisecond; above, it must not hold the loop.
INLINE_CHARS = 4000


@dataclass
class Ask:
    """Who asks, and who hears of it. `request_id`: unlike every one the engine may still hold.

    `say(chunk, index, logprobs)`: more of an answer; `alive()`: the engine gave something. `prices`: what a cap
    on the cost reckons with. `adapter`: what the engine puts on top of its model.
    """

    id: str
    request_id: str
    tenant_id: str
    engine: Engine
    model: Served
    text: Text
    say: Callable[[Chunk, int, list[dict[str, Any]]], None]
    alive: Callable[[], None]
    prices: Prices = FREE
    adapter: str = ""


@dataclass
class Answer:
    """One of a job's answers, as far as it has come."""

    index: int
    text: str = ""
    tokens: list[int] = field(default_factory=list)
    finish: str | None = None
    logprobs: list[dict[str, Any]] = field(default_factory=list)


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
        await _together([_answer(ask, spec, prompt, a) for a in answers])
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
            None if likely is None else shown(ask.text, likely)
            for likely in prompt.logprobs[: len(prompt.ids)]
        ]
    return result


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


async def _together(answers: Sequence[Awaitable[None]]) -> None:
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
    # Whatever is said of an answer, and that it ended, must outlive an attempt while others go on.
    telling = spec.n > 1 or spec.logprobs is not None
    stops = Stops(spec.stop, ask.text.decode)
    texts = [answer.text]
    try:
        async with contextlib.aclosing(_raw(ask, request, answer, prompt)) as stream:
            async for raw in stream:
                for chunk in stops.feed(raw):
                    likely = [shown(ask.text, one) for one in chunk.logprobs]
                    if chunk.text or (telling and chunk.finish is not None):
                        ask.say(chunk, answer.index, likely)
                    texts.append(chunk.text)
                    answer.tokens += chunk.tokens
                    answer.logprobs += likely
                    answer.finish = chunk.finish or answer.finish
                    if chunk.finish is not None:
                        break
                if answer.finish is not None:
                    break
    finally:
        # Also of one that is stopped: whoever goes on needs text and tokens to agree.
        answer.text = "".join(texts)


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
        stream = fresh(stream, len(request.forced), len(answer.text))
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
    )
    async with contextlib.aclosing(_raw(ask, request, Answer(0), prompt)) as stream:
        async for _ in stream:
            continue
