"""What time and lost steps do to batches: deadlines pass, and a batch that no job carries is carried on."""

import orjson
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.batches import lines, moves, tables
from core.batches.lines import Outcome
from core.batches.tables import Batch

LIMIT = 100
# Lines that get a shard of their own at once, after the one they shared was given up.
ALONE = 200

_ALONE = text(
    """UPDATE batch_lines SET alone = true
       WHERE batch_id = :batch AND line IN (
           SELECT line FROM batch_lines WHERE batch_id = :batch AND state = 'pending' AND NOT alone
           ORDER BY line LIMIT :limit)
       RETURNING line, tokens"""
)


async def expire(session: AsyncSession) -> list[str]:
    """End the batches whose window is over, with what they have. Returns their ids."""
    due = await session.scalars(
        select(Batch)
        .where(Batch.status.in_((tables.VALIDATING, tables.IN_PROGRESS)))
        .where(Batch.deadline <= func.now())
        .limit(LIMIT)
        .with_for_update(skip_locked=True)
    )
    ended = list(due)
    for batch in ended:
        await moves.finalize(session, batch, tables.EXPIRED)
    return [batch.id for batch in ended]


async def carry_on(session: AsyncSession) -> list[str]:
    """Batches whose last step was given up: go on with the next best thing. Returns their ids."""
    open_ = list(
        await session.scalars(
            select(Batch.id)
            .where(Batch.status.in_(tables.OPEN))
            .where(Batch.created_at < func.now() - text("interval '2 s'"))
        )
    )
    if not open_:
        return []
    lost = sorted(set(open_) - await moves.carried(session, open_))
    for batch_id in lost[:LIMIT]:
        batch = await moves.locked(session, batch_id)
        # Looked at again under the lock: each step is made in the transaction that ends the one before.
        if batch is not None and not await moves.carried(session, [batch_id]):
            await _next(session, batch)
    return lost[:LIMIT]


async def _next(session: AsyncSession, batch: Batch) -> None:
    match batch.status:
        case tables.VALIDATING:
            message = "The batch could not be validated: its worker failed on it again and again."
            error = {"code": "internal_error", "message": message, "param": None, "line": None}
            await moves.fail(session, batch, [error])
        case tables.IN_PROGRESS:
            await _alone(session, batch)
        case tables.FINALIZING | tables.CANCELLING:
            await moves.step(session, batch, "finish")


async def _alone(session: AsyncSession, batch: Batch) -> None:
    """A line that kills its workers fails alone: each that is left gets a shard of its own, once."""
    found = {"batch": batch.id, "limit": ALONE}
    fresh = sorted((r.line, r.line, r.tokens) for r in await session.execute(_ALONE, found))
    if fresh:
        await moves.step(session, batch, "shard", *fresh)
        return
    rows = await lines.pending(session, batch.id, 0, 2**31 - 1, ALONE)
    error = orjson.dumps(
        {"code": "attempts_exhausted", "message": "The worker was lost on this line repeatedly."}
    ).decode()
    await lines.keep(session, batch, [Outcome(row.line, 0, None, error, {}) for row in rows])
