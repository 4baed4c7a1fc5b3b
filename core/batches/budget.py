"""The cap of a batch: a line starts once what it may take at most is set aside, so the cap is never passed.

    spent by recorded lines + held by running ones + this line  <=  cap    it starts
    over, and others run                                                   it waits for what they leave
    over, and none runs                                                    the batch ends with what it has

All under the batch's lock, so that any number of shards on any number of workers keep one account.
"""

from decimal import Decimal
from enum import Enum, auto

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.batches import tables
from core.batches.moves import finalize, locked, ours
from core.batches.tables import Batch
from core.catalog.prices import Prices
from core.ledger import entries
from core.ledger.caps import MAX_COST, MAX_TOKENS_TOTAL


class Fit(Enum):
    TAKEN = auto()
    WAIT = auto()
    ENDED = auto()


_HOLD = text(
    """UPDATE batch_lines SET held_tokens = :tokens, held_cost = :cost
       WHERE batch_id = :batch AND line = :line AND state = 'pending'"""
)
_FREE = text(
    """UPDATE batch_lines SET held_tokens = NULL, held_cost = NULL
       WHERE batch_id = :batch AND line BETWEEN :first AND :last AND state = 'pending'
         AND held_tokens IS NOT NULL"""
)
# A shard that waits in the queue, or was given up, runs no line.
_FREE_LOST = text(
    """UPDATE batch_lines l SET held_tokens = NULL, held_cost = NULL
       WHERE l.batch_id = :batch AND l.state = 'pending' AND l.held_tokens IS NOT NULL AND NOT EXISTS (
           SELECT FROM jobs j WHERE j.kind = 'batch' AND j.state = 'running'
             AND j.spec ->> 'batch_id' = :batch AND j.spec ->> 'step' = 'shard'
             AND l.line BETWEEN (j.spec ->> 'first')::int AND (j.spec ->> 'last')::int)"""
)
_HELD = text(
    """SELECT coalesce(sum(held_tokens), 0)::bigint AS tokens, coalesce(sum(held_cost), 0) AS cost
       FROM batch_lines WHERE batch_id = :batch AND state = 'pending' AND held_tokens IS NOT NULL"""
)


async def release(
    session: AsyncSession, batch_id: str, job: tuple[str, int], first: int, last: int
) -> None:
    """Give back what an earlier attempt of this shard held: its lines begin anew."""
    batch = await locked(session, batch_id)
    if batch is not None and await ours(session, *job):
        await session.execute(_FREE, {"batch": batch_id, "first": first, "last": last})
        await _recount(session, batch)


async def take(
    session: AsyncSession,
    batch_id: str,
    job: tuple[str, int],
    line: int,
    tokens: int,
    cost: Decimal,
) -> Fit:
    """Set aside what a line may take. ENDED: no line of the batch starts any more, perhaps since just now."""
    batch = await locked(session, batch_id)
    if batch is None or batch.status != tables.IN_PROGRESS or not await ours(session, *job):
        return Fit.ENDED
    prices = await entries.prices_of(session, batch_id)
    over = _over(batch, prices, tokens, cost)
    if over is not None and batch.held_tokens:
        await session.execute(_FREE_LOST, {"batch": batch_id})
        await _recount(session, batch)
        over = _over(batch, prices, tokens, cost)
    if over is None:
        held = {"batch": batch_id, "line": line, "tokens": tokens, "cost": cost}
        await session.execute(_HOLD, held)
        batch.held_tokens += tokens
        batch.held_cost += cost
        await session.flush()
        return Fit.TAKEN
    if batch.held_tokens:
        await session.flush()
        return Fit.WAIT
    batch.stopped_by = over
    await finalize(session, batch, tables.COMPLETED)
    return Fit.ENDED


def _over(batch: Batch, prices: Prices, tokens: int, cost: Decimal) -> str | None:
    """The cap that this much more would pass."""
    spent = batch.prompt_tokens + batch.completion_tokens + batch.held_tokens
    if batch.max_tokens_total is not None and spent + tokens > batch.max_tokens_total:
        return MAX_TOKENS_TOTAL
    paid = prices.cost(batch.prompt_tokens, batch.completion_tokens, batch.cached_tokens)
    if batch.max_cost is not None and paid + batch.held_cost + cost > batch.max_cost:
        return MAX_COST
    return None


async def _recount(session: AsyncSession, batch: Batch) -> None:
    row = (await session.execute(_HELD, {"batch": batch.id})).one()
    batch.held_tokens, batch.held_cost = row.tokens, row.cost
    await session.flush()
