"""The ways on which answers leave: what a guard keeps is on none; a second attempt says what the first would have."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from core.catalog import tokenizer
from core.catalog.models import Served
from core.classifiers import listed
from core.config import MODEL_FOLDER
from core.guard.guard import Guard
from core.guard.judging import Judging
from core.jobs import inference
from core.jobs.inference import InferenceSpec
from tests.guarding import Parrot, guard, whole
from tests.waiting import eventually
from workers.answering.answer import Answer, Ask, Prompt, answered
from workers.answering.ask import Kept
from workers.answering.guards import Guarding
from workers.engine import Chunk

TEXT = tokenizer.load(str(MODEL_FOLDER))
LINE = (
    "He wrote to jane.doe@example.com and said: b a d w o r d, badword! Caf\u00e9 \u4f60\u597d, card "
    "4111 1111 1111 1111 then EMP-123456 was fine.\nThe end of it \U0001f600 all"
)
SPEC: dict[str, Any] = {"prompt": "The river", "max_tokens": 500}


class Told:
    """What readers hear, and what is kept for the next attempt, as core.jobs.inference joins it."""

    def __init__(self, until: int | None = None) -> None:
        self.said: list[dict[str, Any]] = []
        self.kept: dict[str, Any] = {}
        self.until = until
        self.met: Counter[tuple[str, str]] = Counter()
        self.notes = 0

    def keep(self, _index: int, kept: Kept) -> None:
        self.kept = {"raw": kept.raw, "done": kept.done, "pending": kept.pending}

    def say(self, chunk: Chunk, index: int, likely: list[dict[str, Any]]) -> None:
        public = {"text": chunk.text, "index": index, **({"logprobs": likely} if likely else {})}
        # Through JSON, as Redis and Postgres have it.
        entry = orjson.loads(
            orjson.dumps(public | {"tokens": chunk.tokens, "finish": chunk.finish, **self.kept})
        )
        self.said.append(entry)
        self.kept = {}
        if self.until is not None and len(self.said) > self.until:
            raise KilledError

    def note(self, hits: Counter[tuple[str, str]]) -> None:
        self.met += hits
        self.notes += 1

    @property
    def heard(self) -> str:
        return "".join(s["text"] for s in self.said)


class KilledError(Exception):
    """In place of kill -9: nothing that was not said is known."""


def _ask(engine: Parrot, by: Guard | None, told: Told, judging: Judging | None) -> Ask:
    return Ask(
        id="job_1", request_id="job_1-1", tenant_id="t", engine=engine,  # type: ignore[arg-type]
        model=Served("parrot", "parrot", 4096), text=TEXT, say=told.say, alive=lambda: None,
        guard=None if by is None else Guarding(by, judging, told.note), keep=told.keep,
    )  # fmt: skip


async def _answered(
    by: Guard | None, line: str = LINE, at_once: int = 1, before: dict[str, Any] | None = None,
    told: Told | None = None, judging: Judging | None = None, **spec: Any,
) -> tuple[dict[str, Any], dict[str, Any], Told]:  # fmt: skip
    told = told or Told()
    wish = InferenceSpec.model_validate(SPEC | spec)
    answers = [Answer(i, **inference.choices(before).get(i, {})) for i in range(wish.n)]
    prompt = Prompt(TEXT.encode("The river"))
    result, usage = await answered(
        _ask(Parrot(TEXT, line, at_once), by, told, judging), wish, prompt, answers
    )
    return result, usage, told


@pytest.mark.parametrize("at_once", [1, 2, 5, 400])
async def test_readers_hear_what_the_result_says(at_once: int) -> None:
    by = guard()
    result, usage, told = await _answered(by, at_once=at_once)
    assert result["text"] == told.heard == whole(by, LINE)
    assert usage["completion_tokens"] == len(TEXT.encode(LINE, special=False))
    assert told.met[("slur", "mask")] == 2
    assert told.notes == 1


async def test_a_second_attempt_says_what_the_first_would_have() -> None:
    by = guard()
    plain = (await _answered(by))[2]
    for until in range(len(plain.said)):
        first = Told(until)
        with pytest.raises(KilledError):
            await _answered(by, told=first)
        progress = inference.join(None, first.said)
        result, _, second = await _answered(by, before=progress)
        assert first.heard + second.heard == plain.heard == result["text"]
        assert whole(by, LINE).startswith(first.heard)


@pytest.mark.parametrize("spec", [{"logprobs": 3}, {"logprobs": 3, "seed": 4, "temperature": 1.0}])
async def test_log_probabilities_are_guarded_and_outlive_an_attempt(spec: dict[str, Any]) -> None:
    by = guard()
    result, _, plain = await _answered(by, **spec)
    (choice,) = result["choices"]
    assert "".join(one["token"] for one in choice["logprobs"]).replace(
        "\ufffd", ""
    ) in _whole_characters(choice)
    shown = orjson.dumps(choice["logprobs"]).decode()
    assert "4111" not in shown
    assert "jane" not in shown
    for until in range(0, len(plain.said), 3):
        first = Told(until)
        with pytest.raises(KilledError):
            await _answered(by, told=first, **spec)
        result, _, _ = await _answered(by, before=inference.join(None, first.said), **spec)
        assert result["choices"] == [choice]


def _whole_characters(choice: dict[str, Any]) -> str:
    """The text as its tokens can show it: what is spelled by several has no letter of its own."""
    raw = b"".join(bytes(one.get("bytes") or one["token"].encode()) for one in choice["logprobs"])
    assert raw.decode() == choice["text"]
    return raw.decode() + "".join(one["token"] for one in choice["logprobs"]).replace("\ufffd", "")


async def test_nothing_private_is_in_what_clients_see_of_an_unfinished_answer() -> None:
    first = Told(3)
    with pytest.raises(KilledError):
        await _answered(guard(), told=first, logprobs=2)
    seen = inference.partial(inference.join(None, first.said))
    assert seen is not None
    assert set(seen["choices"][0]) <= {"index", "text", "logprobs"}
    assert "jane" not in orjson.dumps(seen).decode()


@pytest.mark.parametrize("at_once", [1, 3, 400])
async def test_a_stop_ends_the_answer_and_costs_what_was_written(at_once: int) -> None:
    by = guard(actions={"slur": {"action": "stop"}})
    result, usage, told = await _answered(by, at_once=at_once)
    assert result == {"text": "He wrote to [email] and said: ", "finish_reason": "content_filter"}
    assert told.heard == result["text"]
    one = await _answered(by)
    assert usage["completion_tokens"] == one[1]["completion_tokens"]


async def test_stop_strings_are_of_what_the_model_wrote() -> None:
    result, _, _ = await _answered(guard(), stop=["said:"])
    assert result == {"text": "He wrote to [email] and ", "finish_reason": "stop"}


async def test_json_stays_json() -> None:
    line = (
        r'{"to": "jane@example.com", "say": "\u0062adword \"b\" adword", '
        r'"card": 4111111111111111, "n": [1, "EMP-123456"]}'
    )
    form = {"json_schema": {"type": "object"}}
    result, _, told = await _answered(guard(), line=line, structured=form)
    found = orjson.loads(result["text"])
    assert found["to"] == "[email]"
    assert found["say"].startswith("[slur]")
    assert found["card"] == 0
    assert found["n"] == [1, "[staff]"]
    for until in range(len(told.said)):
        first = Told(until)
        with pytest.raises(KilledError):
            await _answered(guard(), line=line, told=first, structured=form)
        again, _, _ = await _answered(
            guard(), line=line, structured=form, before=inference.join(None, first.said)
        )
        assert again["text"] == result["text"]


async def test_calls_are_guarded() -> None:
    tools = [{"type": "function", "function": {"name": "mail", "parameters": {"type": "object"}}}]
    spec: dict[str, Any] = {
        "prompt": None,
        "messages": [{"role": "user", "content": "x"}],
        "tools": tools,
    }
    named = {"type": "function", "function": {"name": "mail"}}
    line = r'{"to": "jane@example.com", "text": "\u0062adword"}'
    result, _, _ = await _answered(guard(), line=line, tool_choice=named, **spec)
    (call,) = result["choices"][0]["tool_calls"]
    assert orjson.loads(call["function"]["arguments"]) == {"to": "[email]", "text": "[slur]"}
    free = f'Well. <tool_call>{{"name": "mail", "arguments": {line}}}</tool_call>'
    result, _, _ = await _answered(guard(), line=free, tool_choice="auto", **spec)
    (call,) = result["choices"][0]["tool_calls"]
    assert orjson.loads(call["function"]["arguments"]) == {"to": "[email]", "text": "[slur]"}


async def test_watching_says_everything_at_once() -> None:
    by = guard(mode="observe")
    result, _, told = await _answered(by)
    open_ = await _answered(None)
    assert result["text"] == LINE
    assert [s["text"] for s in told.said] == [s["text"] for s in open_[2].said]
    assert told.met[("slur", "observe")] == 2
    assert told.met[("email", "observe")] == 1


async def test_half_a_characters_token_is_not_lost_between_attempts() -> None:
    """It has no text yet, and may be said with what was held before it."""
    by = guard()
    line = "EMP-123456 is 0 \u4f60\u597d \U0001f600 0x \u4f60 1 \u597d&\u4f60"
    result, _, plain = await _answered(by, line=line, logprobs=0)
    for until in range(len(plain.said)):
        first = Told(until)
        with pytest.raises(KilledError):
            await _answered(by, line=line, told=first, logprobs=0)
        again, _, _ = await _answered(
            by, line=line, before=inference.join(None, first.said), logprobs=0
        )
        assert again["choices"] == result["choices"]


class Finder:
    """A classifier that finds one word."""

    name, digest, categories = "finder@1", "0" * 64, ("hate",)
    card = listed.classifier("penstock-lexical@1").card

    def scores(self, texts: Sequence[str]) -> list[dict[str, float]]:
        return [{"hate": float("hate" in text)} for text in texts]


async def test_watching_judges_beside_the_answer_and_counts_all_of_it() -> None:
    line = "A gate is open. I hate all of them. It is late. " * 5
    judge = {"name": "penstock-lexical@1", "categories": {"hate": 0.5}, "budget_ms": 5000}
    by = guard(mode="observe", classifier=judge)
    told, free = Told(), asyncio.Event()

    async def looks(sentences: Sequence[str]) -> list[bool]:
        await free.wait()
        return [True] * len(sentences)

    result, _, _ = await _answered(by, line=line, told=told, judging=Judging(by, Finder(), looks))
    # All of it has been said while the router has not answered once.
    assert result["text"] == told.heard
    assert told.notes == 0
    free.set()

    async def noted() -> int:
        return told.notes

    assert await eventually(noted, "the note") == 1
    assert told.met[("hate", "observe")] == 5


@pytest.mark.parametrize("action", ["mask", "stop"])
async def test_sentences_are_judged_before_they_leave_in_every_attempt(action: str) -> None:
    line = "A gate is open. I hate all of them. Mail jane@example.com.\nIt is late"
    said = "A gate is open. [hate] Mail [email].\nIt is late"
    if action == "stop":
        said = "A gate is open. "
    judge = {"name": "penstock-lexical@1", "categories": {"hate": 0.5}, "budget_ms": 5000}
    by = guard(classifier=judge, actions={"hate": {"action": action}})
    judging = Judging(by, Finder())
    result, _, plain = await _answered(by, line=line, judging=judging)
    assert result["text"] == plain.heard == said
    assert result["finish_reason"] == ("content_filter" if action == "stop" else "stop")
    for until in range(len(plain.said)):
        first = Told(until)
        with pytest.raises(KilledError):
            await _answered(by, line=line, told=first, judging=judging)
        again, _, second = await _answered(
            by, line=line, before=inference.join(None, first.said), judging=judging
        )
        assert again["text"] == first.heard + second.heard == said
