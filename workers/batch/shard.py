"""The step that does the work: a range of lines, many in the engine at once, each kept as it is finished."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from core.batches import lines
from core.batches.lines import Outcome
from core.batches.tables import Batch
from core.catalog.prices import Prices
from core.errors import NotFound, Unavailable
from core.files.service import key_of
from core.jobs.batch import BatchSpec
from core.ledger.entries import prices_of
from workers.batch import answering, measuring
from workers.batch.budget import Budget
from workers.batch.line import Line, Work, gone
from workers.context import Attempt
from workers.process import EmbeddingWorker, InferenceWorker, Worker
from workers.recording import Recorder, each

# Lines read at once from Postgres and from the file.
PAGE = 32


@dataclass
class Shard:
    """What its lines share. `budget`: only of a batch with a cap."""

    worker: InferenceWorker | EmbeddingWorker
    batch: Batch
    prices: Prices
    guard: str
    budget: Budget | None = None


async def answer(
    worker: InferenceWorker | EmbeddingWorker, attempt: Attempt, spec: BatchSpec
) -> None:
    """Answer what is pending of the range. Returns early when the batch takes no more lines."""
    async with worker.db.single() as session:
        batch = await session.get(Batch, spec.batch_id)
        assert batch is not None, "batches are not deleted"
        prices = await prices_of(session, batch.id)
    shard = Shard(worker, batch, prices, attempt.claim.guard)
    if batch.max_cost is not None or batch.max_tokens_total is not None:
        shard.budget = Budget(worker, attempt, batch.id)
        await shard.budget.release(spec.first, spec.last)
    record: Recorder[Outcome] = Recorder(partial(_kept, worker, attempt, batch.id))

    async def line(found: tuple[Any, bytes | None]) -> None:
        await _line(shard, *found, record)

    await each(pending(worker, batch, spec), line, record, worker.slots)


async def _kept(worker: Worker, attempt: Attempt, batch_id: str, some: Sequence[Outcome]) -> bool:
    claim = attempt.claim
    async with worker.db.begin() as session:
        mine = await lines.record(session, batch_id, (claim.id, claim.attempt), some)
    with contextlib.suppress(Unavailable):
        # Readers look each second anyway.
        await worker.events.ring(batch_id)
    return mine


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


async def _line(shard: Shard, row: Any, raw: bytes | None, record: Recorder[Outcome]) -> None:
    if raw is None:
        await record.add(gone(row))
        return
    line = Line(shard.batch, row, raw, partial(_work, shard, row))
    if shard.budget is None or await shard.budget.admits(line):
        await record.add(await shard.worker.seats.run(line.run))


async def _work(shard: Shard, row: Any, body: Any) -> Work:
    """What the body of a line asks for, of a worker that can do it. Raises InvalidInput."""
    match shard.worker:
        case InferenceWorker() as writer:
            return await answering.read(writer, shard.batch, row, shard.prices, shard.guard, body)
        case EmbeddingWorker() as measurer:
            return await measuring.read(measurer, shard.prices, body)
