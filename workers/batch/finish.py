"""The last step: output and error files from the recorded lines, and the batch's end."""

from collections.abc import AsyncIterator

import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from core.batches import lines, moves, tables
from core.batches.tables import Batch
from core.files import service as files
from core.files.service import Kept
from core.jobs.batch import BatchSpec
from workers.context import Attempt
from workers.process import Worker

PAGE = 200
# What becomes of lines that were never run, by how the batch ends.
UNFINISHED = {
    tables.EXPIRED: (
        "batch_expired",
        "This request could not be executed before the completion window expired.",
    ),
    tables.CANCELLED: (
        "batch_cancelled",
        "This request was not executed: the batch was cancelled.",
    ),
}


async def finish(worker: Worker, attempt: Attempt, spec: BatchSpec) -> None:
    """Bytes first, then one transaction for their rows, the batch's end and the fact that tells of it.

    An attempt that dies in between leaves bytes for the sweep; the next one writes its own.
    """
    async with worker.db.single() as session:
        batch = await session.get(Batch, spec.batch_id)
    if batch is None or batch.status not in (tables.FINALIZING, tables.CANCELLING):
        return
    kept: list[Kept] = []
    output = await _kept(worker, kept, output_lines(worker, batch), batch.completed)
    left = batch.total - batch.completed
    errors = await _kept(worker, kept, error_lines(worker, batch), left)
    # A transaction whose end is not known may have made the rows: then the bytes are the sweep's to judge.
    ended = await _ended(worker, attempt, batch, output, errors)
    if not ended:
        for one in kept:
            await worker.storage.delete(files.key_of(one.id))
    await worker.events.ring(batch.id)


async def _kept(
    worker: Worker, kept: list[Kept], chunks: AsyncIterator[bytes], count: int
) -> Kept | None:
    if not count:
        return None
    kept.append(
        await files.keep(worker.storage, chunks, limit=worker.settings.max_upload_bytes)
    )  # fmt: skip
    return kept[-1]


async def output_lines(worker: Worker, batch: Batch) -> AsyncIterator[bytes]:
    async for chunk in _done(worker, batch.id, "done"):
        yield chunk


async def error_lines(worker: Worker, batch: Batch) -> AsyncIterator[bytes]:
    """Those that failed, then those that were never run."""
    async for chunk in _done(worker, batch.id, "failed"):
        yield chunk
    code, message = UNFINISHED.get(batch.ending or "", ("not_executed", "Not executed."))
    if batch.stopped_by is not None:
        code = "budget_exhausted"
        message = f"This request was not executed: the batch reached its {batch.stopped_by}."
    error = orjson.dumps({"code": code, "message": message})
    after = 0
    while True:
        async with worker.db.single() as session:
            rows = await lines.pending(session, batch.id, after, 2**31 - 1, PAGE)
        if not rows:
            return
        yield b"".join(lines.shown(batch.id, row, error) + b"\n" for row in rows)
        after = rows[-1].line


async def _done(worker: Worker, batch_id: str, state: str) -> AsyncIterator[bytes]:
    after = 0
    while True:
        async with worker.db.single() as session:
            rows = await lines.done(session, batch_id, after, PAGE, [state])
        if not rows:
            return
        yield b"".join(lines.shown(batch_id, row) + b"\n" for row in rows)
        after = rows[-1].done_seq


async def _ended(
    worker: Worker, attempt: Attempt, seen: Batch, output: Kept | None, errors: Kept | None
) -> bool:
    claim = attempt.claim
    async with worker.db.begin() as session:
        batch = await moves.locked(session, seen.id)
        if batch is None or batch.status != seen.status:
            return False
        if not await moves.ours(session, claim.id, claim.attempt):
            return False
        batch.output_file_id = await _file(session, batch, output, "output")
        batch.error_file_id = await _file(session, batch, errors, "error")
        assert batch.ending is not None, "set with the status"
        await moves.end(session, batch, batch.ending)
    return True


async def _file(session: AsyncSession, batch: Batch, kept: Kept | None, what: str) -> str | None:
    if kept is None:
        return None
    name = f"{batch.id}_{what}.jsonl"
    file = await files.add(
        session, batch.tenant_id, kept, filename=name, purpose="batch_output", keep_s=batch.keep_s
    )
    return file.id
