"""The moves of a batch: begin its shards, end it, make its next step. Each is part of its caller's transaction."""

from typing import Any

from sqlalchemy import bindparam, func, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import Text

from core.batches import tables
from core.batches.tables import Batch
from core.catalog.models import Served
from core.events import outbox
from core.jobs.batch import KIND, Step
from core.jobs.kinds import BatchStep
from core.jobs.submission import Wish, submit_all
from core.ledger import entries
from core.security.keys import Caller

# Lines a shard has: few enough that workers share a small batch, many enough that its job costs nothing.
MIN_SHARD, MAX_SHARD = 64, 500
SHARES = 16

_OURS = text(
    "SELECT 1 FROM jobs WHERE id = :job AND attempt = :attempt AND state = 'running' FOR SHARE"
)


async def locked(session: AsyncSession, batch_id: str) -> Batch | None:
    """The batch, held against every other change of it until the transaction ends."""
    found: Batch | None = await session.scalar(
        select(Batch).where(Batch.id == batch_id).with_for_update()
        .execution_options(populate_existing=True)
    )  # fmt: skip
    return found


async def ours(session: AsyncSession, job_id: str, attempt: int) -> bool:
    """Whether this attempt still owns its job; held so until the transaction ends."""
    row = await session.execute(_OURS, {"job": job_id, "attempt": attempt})
    return row.one_or_none() is not None


async def step(
    session: AsyncSession, batch: Batch, what: Step, *ranges: tuple[int, int, int]
) -> None:
    """Make the job, or one a range (first line, last line, tokens), that carries the batch on."""
    caller = Caller(batch.tenant_id, batch.key_id or "")
    served = Served(batch.model, "", 0, runs_on=batch.runs_on or "", adapter=batch.adapter or "")
    wishes = [
        Wish(
            caller,
            BatchStep(
                model=batch.model, step=what, batch_id=batch.id, first=first, last=last,
                tokens=tokens, metadata={"batch_id": batch.id},
            ),
            served,
        )
        for first, last, tokens in ranges or ((0, 0, 0),)
    ]  # fmt: skip
    await submit_all(session, wishes)


_BOUNDS = text(
    """SELECT min(line) AS first, max(line) AS last, sum(tokens) AS tokens FROM (
           SELECT line, tokens, (row_number() OVER (ORDER BY line) - 1) / :size AS shard
           FROM batch_lines WHERE batch_id = :batch AND state = 'pending') l
       GROUP BY shard ORDER BY first"""
)


async def begin(session: AsyncSession, batch: Batch) -> None:
    """Its lines are there: shard what of them is pending. With none pending it is finished already."""
    batch.status, batch.in_progress_at = tables.IN_PROGRESS, func.now()
    batch.recorded_at = func.now()
    pending = batch.total - batch.completed - batch.failed
    size = max(MIN_SHARD, min(MAX_SHARD, pending // SHARES))
    rows = await session.execute(_BOUNDS, {"batch": batch.id, "size": size})
    ranges = [(row.first, row.last, int(row.tokens)) for row in rows]
    await session.flush()
    await entries.reserve_batch(session, batch.id, sum(tokens for _, _, tokens in ranges))
    if ranges:
        await step(session, batch, "shard", *ranges)
    else:
        await finalize(session, batch, tables.COMPLETED)


_STOP_QUEUED = outbox.recorded(
    f"""UPDATE jobs SET state = 'cancelled', finished_at = now(), seq = seq + 1, rung_at = NULL,
            cancel_requested_at = now()
        WHERE kind = 'batch' AND spec ->> 'batch_id' = :batch AND state = 'queued'
        RETURNING {outbox.FACT}, 'job.cancelled' AS fact_type, '{{}}'::jsonb AS fact_data"""  # noqa: S608 - only constants are formatted in
)
_STOP_RUNNING = text(
    """UPDATE jobs SET cancel_requested_at = coalesce(cancel_requested_at, now())
       WHERE kind = 'batch' AND spec ->> 'batch_id' = :batch AND state = 'running'"""
)


async def finalize(session: AsyncSession, batch: Batch, ending: str) -> None:
    """No more lines are recorded from here on. Shards that still run are stopped, the files made next."""
    batch.status = tables.CANCELLING if ending == tables.CANCELLED else tables.FINALIZING
    batch.ending = ending
    if ending == tables.CANCELLED:
        batch.cancelling_at = func.now()
    else:
        batch.finalizing_at = func.now()
    await session.flush()
    if ending != tables.COMPLETED or batch.stopped_by is not None:
        await session.execute(_STOP_QUEUED, {"batch": batch.id})
        await session.execute(_STOP_RUNNING, {"batch": batch.id})
    await step(session, batch, "finish")


async def end(session: AsyncSession, batch: Batch, status: str) -> None:
    """The last move, and the fact that tells of it."""
    batch.status = status
    setattr(batch, f"{status}_at", func.now())
    await session.flush()
    await entries.settle_batch(session, batch.id)
    await outbox.tell(session, batch.tenant_id, kind=KIND, subject=batch.id, state=status)


async def fail(session: AsyncSession, batch: Batch, errors: list[dict[str, Any]]) -> None:
    """The input cannot be run: nothing of it is kept but what is wrong with it."""
    await session.execute(
        text("DELETE FROM batch_lines WHERE batch_id = :batch"), {"batch": batch.id}
    )
    batch.errors = {"object": "list", "data": errors}
    batch.total = 0
    await end(session, batch, tables.FAILED)


_LIVE = text(
    """SELECT DISTINCT spec ->> 'batch_id' AS batch FROM jobs
       WHERE kind = 'batch' AND state IN ('queued', 'running') AND spec ->> 'batch_id' = ANY(:ids)"""
).bindparams(bindparam("ids", type_=ARRAY(Text)))


async def carried(session: AsyncSession, ids: list[str]) -> set[str]:
    """Those of these batches that a job carries on."""
    return set((await session.scalars(_LIVE, {"ids": ids})).all())
