"""A worker asks the items of an audit: who must leave the engine goes on, and an engine that cannot tell is found."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from core.audits.asking import Ask, Item, Rolling, Score, Write
from core.catalog.models import Served
from core.catalog.tokenizer import load
from core.config import MODEL_FOLDER, Settings
from core.db.session import Database
from core.events.log import EventLog, connect
from core.storage.place import storage_of
from tests.fakes.engine import CONTEXT, ScriptedEngine
from workers.audit import probe
from workers.audit.asking import Asker, Question
from workers.engine import Chunk, Likely, Request
from workers.process import InferenceWorker

Change = Callable[[list[Likely | None]], list[Likely | None]]


class Counting(ScriptedEngine):
    """Keeps what it is asked. Stops for good before it gives the chunks of these numbers, until it is left."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.asked: list[Request] = []
        self.stops: list[int] = []
        self.stopped = asyncio.Event()
        self._given = 0

    async def generate(self, request: Request) -> AsyncGenerator[Chunk, None]:
        self.asked.append(request)
        async for chunk in super().generate(request):
            if self.stops and self._given >= self.stops[0]:
                self.stopped.set()
                await asyncio.Event().wait()
            self._given += 1
            yield chunk


class Telling(Counting):
    """Tells likelihoods as some endpoints do: by `change` of what is right."""

    change: Change = staticmethod(lambda told: told)

    async def generate(self, request: Request) -> AsyncGenerator[Chunk, None]:
        async for chunk in super().generate(request):
            told = chunk.prompt_logprobs
            yield chunk if told is None else replace(chunk, prompt_logprobs=self.change(told))


def worker(tmp_path: Path, engine: type[Counting] = Counting) -> InferenceWorker:
    settings = Settings(_env_file=None, storage_url=str(tmp_path), engine_max_sequences=4)
    return InferenceWorker(
        id="w", kind="inference", settings=settings, db=Database(settings, name="none"),
        events=EventLog(connect(settings), settings), storage=storage_of(settings),
        engine=engine(settings), model=Served("rill", str(MODEL_FOLDER), CONTEXT),
        text=load(str(MODEL_FOLDER)),
    )  # fmt: skip


def asker(of: InferenceWorker) -> Asker:
    return Asker(of, "ten_x", "job_x-1", "", "plain", 0, lambda: None)


def question(of: InferenceWorker, ask: Ask) -> Question:
    return Question(asker(of), "suite", Item("i", ask, "c"))


@pytest.mark.parametrize(
    "ask",
    [
        Write("The river", 30, n=2, temperature=0.7),
        Score("The nurse said that", (" she", " he", " the doctor")),
        Rolling("The ferry left the quay a little after six, and nobody spoke. " * 4, 20, 10),
    ],
    ids=lambda ask: type(ask).__name__,
)
async def test_an_item_that_leaves_the_engine_goes_on_where_it_was(
    tmp_path: Path, ask: Ask
) -> None:
    alone = worker(tmp_path)
    wanted = await question(alone, ask).answer()
    disturbed = worker(tmp_path)
    engine = disturbed.engine
    assert isinstance(engine, Counting)
    asked = question(disturbed, ask)
    engine.stops = [1, 2, 7]
    while engine.stops:
        task = asyncio.create_task(asked.answer())
        stopped = asyncio.create_task(engine.stopped.wait())
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            break
        task.cancel()
        await asyncio.wait({task})
        engine.stops.pop(0)
        engine.stopped.clear()
    found = await asked.answer()
    assert found.answer == wanted.answer
    assert found.prompt == wanted.prompt
    counted = ("prompt_tokens", "completion_tokens")
    assert [found.usage[n] for n in counted] == [wanted.usage[n] for n in counted]
    ids = [request.id for request in engine.asked]
    assert len(set(ids)) == len(ids), "an engine may still hold the one that was stopped"


async def test_each_continuation_is_a_request_of_its_own_behind_the_same_context(
    tmp_path: Path,
) -> None:
    of = worker(tmp_path)
    given = await question(of, Score("The nurse said that", (" she", " he"))).answer()
    engine = of.engine
    assert isinstance(engine, Counting)
    assert [request.prompt[:-1] for request in engine.asked] == [engine.asked[0].prompt[:-1]] * 2
    assert {(r.max_tokens, r.prompt_logprobs, r.scope) for r in engine.asked} == {(1, 1, "ten_x")}
    she, he = given.answer.likelihoods
    assert (she.tokens, she.bytes, he.bytes) == (1, 4, 3)
    assert she.logprob != he.logprob
    assert given.usage["prompt_tokens"] == sum(len(request.prompt) for request in engine.asked)
    assert given.usage["completion_tokens"] == 0


async def test_sampled_draws_are_the_item_s_own_and_the_same_in_every_attempt(
    tmp_path: Path,
) -> None:
    of = worker(tmp_path)
    ask = Write("The river", 5, n=3, temperature=0.9)
    one, again = await question(of, ask).answer(), await question(of, ask).answer()
    other = await Question(asker(of), "suite", Item("j", ask, "c")).answer()
    assert one.answer == again.answer != other.answer
    assert len(set(one.answer.texts)) == 3


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda told: told, None),
        (lambda _: [], "0 likelihoods of a prompt"),
        (lambda told: told[:-1], "likelihoods of a prompt"),
        (lambda told: [told[1], *told[1:]], "the first token"),
        (lambda told: [None, *(Likely(1, 0.0) for _ in told[1:])], "of every token"),
        (lambda told: [None, *(Likely(1, -float(n == 0)) for n, _ in enumerate(told[1:]))], "two different"),
    ],
)  # fmt: skip
async def test_an_engine_that_cannot_tell_likelihoods_is_found(
    tmp_path: Path, change: Change, why: str | None
) -> None:
    engine = type("Changed", (Telling,), {"change": staticmethod(change)})
    found = await probe.failed(asker(worker(tmp_path, engine)), lambda: None)
    assert (found is None) if why is None else (found is not None and why in found)


async def test_an_item_that_does_not_fit_says_so_and_costs_nothing(tmp_path: Path) -> None:
    of = worker(tmp_path)
    for ask in (
        Write("word " * 3000, 5),
        Score("Why", (" word" * 3000,)),
        Score("half a wo", ("rd",)),
    ):
        given = await question(of, ask).answer()
        assert (given.answer.texts, given.answer.likelihoods) == ((), ())
        assert given.answer.finish[0].startswith("refused: ")
        assert set(given.usage.values()) == {0}
