"""The step that does the work: a range of lines, many in the engine at once, each kept as it is finished."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from core.batches import lines
from core.batches.lines import Outcome
from core.batches.tables import Batch
from core.catalog.prices import Prices
from core.errors import NotFound, Unavailable
from core.files.service import key_of
from core.forever import stopped
from core.jobs.batch import BatchSpec
from core.ledger.entries import prices_of
from workers.batch import answering, measuring
from workers.batch.budget import Budget
from workers.batch.line import Line, Work, gone
from workers.context import Attempt
from workers.process import EmbeddingWorker, InferenceWorker, Worker

log = structlog.get_logger(__name__)

# Lines read at once from Postgres and from the file.
PAGE = 32
# Finished lines wait so long for others to share their transaction.
GATHER_S = 0.05


@dataclass
class Shard:
    """What its lines share. `budget`: only of a batch with a cap."""

    worker: InferenceWorker | EmbeddingWorker
    batch: Batch
    prices: Prices
    budget: Budget | None = None


async def answer(
    worker: InferenceWorker | EmbeddingWorker, attempt: Attempt, spec: BatchSpec
) -> None:
    """Answer what is pending of the range. Returns early when the batch takes no more lines."""
    async with worker.db.single() as session:
        batch = await session.get(Batch, spec.batch_id)
        assert batch is not None, "batches are not deleted"
        prices = await prices_of(session, batch.id)
    shard = Shard(worker, batch, prices)
    if batch.max_cost is not None or batch.max_tokens_total is not None:
        shard.budget = Budget(worker, attempt, batch.id)
        await shard.budget.release(spec.first, spec.last)
    record = Recorder(worker, attempt, batch.id)
    recording = asyncio.create_task(record.run())
    running: set[asyncio.Task[None]] = set()
    try:
        async for row, raw in pending(worker, batch, spec):
            running.add(asyncio.create_task(_line(shard, row, raw, record)))
            if len(running) >= worker.slots:
                running = await _some(running, recording)
            if recording.done():
                break
        while running and not recording.done():
            running = await _some(running, recording)
        record.close()
        await recording
    finally:
        await stopped({*running, recording})


async def _some(
    running: set[asyncio.Task[None]], recording: asyncio.Task[None]
) -> set[asyncio.Task[None]]:
    """Wait until some have ended. Raises what one of them raised."""
    await asyncio.wait({*running, recording}, return_when=asyncio.FIRST_COMPLETED)
    for task in running:
        if task.done():
            task.result()
    if recording.done():
        recording.result()
    return {task for task in running if not task.done()}


async def pending(
    worker: Worker, batch: Batch, spec: BatchSpec
) -> AsyncIterator[tuple[Any, bytes | None]]:
    """Each pending line's row and bytes, a page at a time. None: its file is gone."""
    after = spec.first - 1
    while True:
        async with worker.db.single() as session:
            rows = await lines.pending(session, batch.id, after, spec.last, PAGE)
        if not rows:
            return
        begin, end = rows[0].start, rows[-1].start + rows[-1].size
        try:
            whole = b"".join(
                [p async for p in worker.storage.read(key_of(batch.input_file_id), begin, end)]
            )
        except NotFound:
            whole = None
        for row in rows:
            at = row.start - begin
            yield row, None if whole is None else whole[at : at + row.size]
        after = rows[-1].line


async def _line(shard: Shard, row: Any, raw: bytes | None, record: "Recorder") -> None:
    if raw is None:
        record.add(gone(row))
        return
    line = Line(shard.batch, row, raw, partial(_work, shard, row))
    if shard.budget is None or await shard.budget.admits(line):
        record.add(await shard.worker.seats.run(line.run))


async def _work(shard: Shard, row: Any, body: Any) -> Work:
    """What the body of a line asks for, of a worker that can do it. Raises InvalidInput."""
    match shard.worker:
        case InferenceWorker() as writer:
            return await answering.read(writer, shard.batch, row, shard.prices, body)
        case EmbeddingWorker() as measurer:
            return await measuring.read(measurer, shard.prices, body)


class Recorder:
    """Keeps finished lines together with those that finish within GATHER_S."""

    def __init__(self, worker: Worker, attempt: Attempt, batch_id: str) -> None:
        self._worker, self._attempt, self._batch_id = worker, attempt, batch_id
        self._waiting: list[Outcome] = []
        self._work = asyncio.Event()
        self._closed = False

    def add(self, outcome: Outcome) -> None:
        self._waiting.append(outcome)
        self._work.set()

    def close(self) -> None:
        """No more will come: `run` returns once what waits is kept."""
        self._closed = True
        self._work.set()

    async def run(self) -> None:
        """Until closed, or until the batch takes no more lines from this attempt."""
        while not (self._closed and not self._waiting):
            await self._work.wait()
            if not self._closed:
                await asyncio.sleep(GATHER_S)
            self._work.clear()
            some, self._waiting = self._waiting, []
            if some and not await self._keep(some):
                return

    async def _keep(self, some: list[Outcome]) -> bool:
        claim = self._attempt.claim
        async with self._worker.db.begin() as session:
            mine = await lines.record(session, self._batch_id, (claim.id, claim.attempt), some)
        with contextlib.suppress(Unavailable):
            # Readers look each second anyway.
            await self._worker.events.ring(self._batch_id)
        return mine
