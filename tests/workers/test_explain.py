"""An explanation whose attempt is cut off anywhere goes on where it was, and costs what an undisturbed one does."""

import re
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from core.audits.report.explained import explanation
from core.catalog import tokenizer
from core.config import MODEL_FOLDER, Settings
from core.errors import InvalidInput
from core.jobs.explain import ExplainSpec
from core.studies import cases
from core.studies.explaining import Study
from tests.fakes.engine import ScriptedEngine
from tests.guarding import guard
from tests.workers import lone
from workers.engine import Chunk, EngineDead, Likely, Request
from workers.explain.handler import handle
from workers.explain.scoring import Scoring

TEXT = tokenizer.load(str(MODEL_FOLDER))
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


class Hinged(ScriptedEngine):
    """Finds the last token of a prompt likely where `word` stands in it, and unlikely elsewhere; all else is alike."""

    def __init__(self, word: str) -> None:
        super().__init__(Settings(_env_file=None))
        self.word = word

    async def generate(self, request: Request) -> AsyncGenerator[Chunk, None]:
        said = TEXT.decode(request.prompt)
        told = [Likely(token, -1.0, [(token, -1.0)]) for token in request.prompt[1:]]
        told[-1] = Likely(told[-1].token, -0.2 if self.word in said else -3.2, told[-1].top)
        yield Chunk("", request.prompt[:1], "length", prompt_logprobs=[None, *told])


async def explained(word: str) -> dict[str, Any]:
    """By a model whose answer hangs on that word: the result, and its place on the report's page."""
    of = lone.worker(Hinged(word))
    spec = SPEC | {"target": " she", "swaps": [["nurse", "engineer"], ["door", "window"]]}
    result, _ = await handle(of, lone.attempt(of, spec))
    row: dict[str, Any] = {"id": "job_e", "state": "succeeded", "of": None, "error": None}
    return result | {"page": explanation(row | {"result": result})}


async def test_the_word_that_an_answer_hangs_on_is_found_checked_and_shown() -> None:
    result = await explained("nurse")
    assert result["faithfulness"]["reliable"] is True, result["faithfulness"]["why"]
    effects = {span["text"]: span["effect"] for span in result["spans"]}
    assert effects.pop("nurse") == pytest.approx(3.0)
    assert set(effects.values()) == {0.0}
    assert [swap["effect"] for swap in result["swaps"]] == [pytest.approx(3.0), 0.0]
    assert "without *nurse* makes ' she' 20.1x less likely" in result["words"]
    pieces = result["page"]["texts"][0]["pieces"]
    assert [one["text"] for one in pieces if one["effect"]] == ["nurse"]


async def test_of_an_answer_that_hangs_on_nothing_no_word_is_named() -> None:
    result = await explained("a word that is nowhere")
    assert result["faithfulness"]["reliable"] is False
    assert result["words"] == [
        "explanation not reliable: nothing that was taken away changes the answer",
        "replacing *nurse* by *engineer* changes nothing",
        "replacing *door* by *window* changes nothing",
    ]
    assert result["page"]["texts"] == [], "nothing is coloured"


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


class Sayer(ScriptedEngine):
    """Answers with what it was made with, and scores like any other."""

    def __init__(self, line: str) -> None:
        super().__init__(Settings(_env_file=None))
        self.line = line

    async def generate(self, request: Request) -> AsyncGenerator[Chunk, None]:
        if request.prompt_logprobs is None:
            tokens = TEXT.encode(self.line, special=False)
            yield Chunk(self.line, tokens, "stop")
            return
        async for chunk in super().generate(request):
            yield chunk


async def test_an_answer_that_a_guard_holds_back_is_not_told_as_a_target() -> None:
    of = lone.worker(Sayer(" my badword"))
    told = lone.attempt(of, SPEC)
    scoring = Scoring(of, told, guard())
    case = cases.of_spec(ExplainSpec.model_validate(SPEC))
    with pytest.raises(InvalidInput, match="give a target"):
        await scoring.written(case, ExplainSpec.model_validate(SPEC))
    told.seal()
    assert "badword" not in repr(told.entries)
    free = Scoring(of, lone.attempt(of, SPEC))
    assert "badword" in (await free.written(case, ExplainSpec.model_validate(SPEC))).text


async def test_alternatives_that_a_guard_hides_are_left_out() -> None:
    of = lone.worker(Sayer(" she"))
    spec = ExplainSpec.model_validate(SPEC | {"target": " she"})
    case = cases.of_spec(spec)
    aim = case.aim
    assert aim is not None
    plain = Scoring(of, lone.attempt(of, SPEC))
    question = Study(case.texts, (), (), 0).first()[0]
    await plain.score(case, aim, [question], alternatives=True)
    shown = [token for tops in plain.tops[question.key] for token, _ in tops]
    hidden = next(token for token in shown if token.strip())
    by = guard(patterns=[{"category": "mine", "pattern": re.escape(hidden.strip())}])
    guarded = Scoring(of, lone.attempt(of, SPEC), by)
    await guarded.score(case, aim, [question], alternatives=True)
    left = [token for tops in guarded.tops[question.key] for token, _ in tops]
    assert hidden not in left
    assert set(left) < set(shown)
