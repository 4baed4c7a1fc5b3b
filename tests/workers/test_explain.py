"""An explanation whose attempt is cut off anywhere goes on where it was, and costs what an undisturbed one does."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from core.config import Settings
from core.errors import InvalidInput
from tests.fakes.engine import ScriptedEngine
from tests.workers import lone
from workers.engine import Chunk, EngineDead, Request
from workers.explain.handler import handle

PROMPT = "The nurse closed the old wooden door behind her and said that"
SPEC: dict[str, Any] = {
    "kind": "explain",
    "prompt": PROMPT,
    "answer_tokens": 2,
    "swaps": [["nurse", "engineer"]],
}


class Counting(ScriptedEngine):
    """Counts requests by the question they ask; dies with the one after `last`."""

    def __init__(self, last: int | None = None) -> None:
        super().__init__(Settings(_env_file=None))
        self.asked: list[str] = []
        self.last = last

    async def generate(self, request: Request) -> AsyncGenerator[Chunk, None]:
        # job_..-attempt-question-moment
        self.asked.append(request.id.split("-")[2])
        if self.last is not None and len(self.asked) > self.last:
            raise EngineDead("scripted")
        async for chunk in super().generate(request):
            yield chunk


class Deaf(ScriptedEngine):
    """Tells no likelihoods of a prompt, as servers do that ignore the wish."""

    async def generate(self, request: Request) -> AsyncGenerator[Chunk, None]:
        async for chunk in super().generate(request):
            yield Chunk(chunk.text, chunk.tokens, chunk.finish)


def told(usage: dict[str, Any]) -> tuple[int, int]:
    """Without the seconds, which no two runs share."""
    return usage["prompt_tokens"], usage["completion_tokens"]


@pytest.mark.parametrize("last", [0, 1, 2, 10, 27, 28, 35, 48])
async def test_the_next_attempt_asks_only_what_has_no_score(last: int) -> None:
    calm = lone.worker(Counting())
    result, usage = await handle(calm, lone.attempt(calm, SPEC))
    broken = Counting(last)
    # One seat: what is asked before the engine dies is known.
    first = lone.worker(broken, slots=1)
    stopped = lone.attempt(first, SPEC)
    with pytest.raises(EngineDead):
        await handle(first, stopped)
    stopped.seal()
    engine = Counting()
    second = lone.worker(engine)
    again = await handle(second, lone.attempt(second, SPEC, number=2, progress=stopped.progress()))
    assert again[0] == result
    assert told(again[1]) == told(usage)
    answered = set(broken.asked[: broken.last])
    assert not answered & set(engine.asked)
    assert len(answered) + len(engine.asked) == len(calm.engine.asked)  # type: ignore[attr-defined]


async def test_an_engine_that_tells_no_likelihoods_explains_nothing() -> None:
    """And not that nothing matters: every effect would be 0."""
    of = lone.worker(Deaf(Settings(_env_file=None)))
    with pytest.raises(InvalidInput, match="tells no likelihoods"):
        await handle(of, lone.attempt(of, SPEC))


async def test_a_prompt_that_does_not_fit_is_refused_whole() -> None:
    of = lone.worker(Counting())
    long = {"kind": "explain", "prompt": "word " * 2100, "target": "x"}
    with pytest.raises(InvalidInput, match="the model reads 2047"):
        await handle(of, lone.attempt(of, long))
    assert of.engine.asked == []  # type: ignore[attr-defined]
