"""The questions of an audit through the engine: each answer scored and recorded once, and none asked again."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from core.audits import answers
from core.audits.answers import NewAnswer
from core.audits.asking import Item
from core.audits.chosen import Asked
from core.errors import Retryable
from core.measures.rows import Row
from workers.audit.asking import Asker, Given, Question
from workers.audit.telling import Telling
from workers.context import Attempt
from workers.process import InferenceWorker
from workers.recording import Recorder, each

# As many answers are scored and recorded together at most: a statement of some hundred KiB.
TOGETHER = 256


@dataclass(frozen=True, slots=True)
class Subject:
    """One who answers, and the suites that it is asked."""

    name: str
    asker: Asker
    asked: Sequence[Asked]


@dataclass(frozen=True, slots=True)
class _Place:
    """One item that has no answer yet."""

    subject: Subject
    asked: Asked
    number: int
    item: Item


@dataclass(frozen=True, slots=True)
class _Made:
    place: _Place
    given: Given


class Collecting:
    """Of one attempt: every missing answer of every subject, the model's first."""

    def __init__(
        self, worker: InferenceWorker, attempt: Attempt, subjects: Sequence[Subject], tell: Telling
    ) -> None:
        self._worker, self._attempt, self._subjects, self._tell = worker, attempt, subjects, tell
        self._total = sum(len(one.items) for subject in subjects for one in subject.asked)
        self._done = self._first = 0
        self._began = time.monotonic()

    async def run(self) -> None:
        """Raises whatever ends the attempt; what was recorded by then stays."""
        job_id = self._attempt.claim.id
        async with self._worker.db.single() as session:
            self._done = self._first = await answers.count(session, job_id)
        self._tell.phase("collect", self._done, self._total)
        record: Recorder[_Made] = Recorder(self._keep, TOGETHER)

        async def ask(place: _Place) -> None:
            question = Question(place.subject.asker, place.asked.suite.name, place.item)
            given = await self._worker.seats.run(question.answer)
            await record.add(_Made(place, given))

        if not await each(self._missing(), ask, record, self._worker.slots):
            raise Retryable("The audit is another attempt's by now.")

    async def _missing(self) -> AsyncIterator[_Place]:
        for subject in self._subjects:
            for asked in subject.asked:
                known: set[str] = set()
                found = answers.rows(
                    self._worker.db, self._attempt.claim.id, asked.suite.name, subject.name
                )
                async for page in found:
                    known.update(row.item for row in page)
                for number, item in enumerate(asked.items):
                    if item.id not in known:
                        yield _Place(subject, asked, number, item)

    async def _keep(self, some: Sequence[_Made]) -> bool:
        rows = await asyncio.to_thread(lambda: [_row(one) for one in some])
        claim = self._attempt.claim
        new = [_new(made, row) for made, row in zip(some, rows, strict=True)]
        async with self._worker.db.single() as session:
            mine = await answers.record(session, (claim.id, claim.attempt), new)
        self._done += len(new)
        self._tell.collected(self._done, self._total, self._began, self._first)
        return mine


def _row(made: _Made) -> Row:
    """As the suite scores it; what got no answer is an invalid row of the same place."""
    item, answer = made.place.item, made.given.answer
    if answer.texts or answer.likelihoods:
        return made.place.asked.suite.score(item, answer)
    return Row(item.id, item.cluster, valid=False, groups=item.groups, pair=item.pair)


def _new(made: _Made, row: Row) -> NewAnswer:
    place, given = made.place, made.given
    return NewAnswer(
        place.subject.name, place.asked.suite.name, place.item.id, place.number,
        given.prompt, given.answer, row, given.usage,
    )  # fmt: skip


async def collected(worker: InferenceWorker, job_id: str, asked: Asked, subject: str) -> list[Row]:
    """Every scored row of a suite, in the order of its items."""
    found: list[Row] = []
    async for page in answers.rows(worker.db, job_id, asked.suite.name, subject):
        found += page
    return found
