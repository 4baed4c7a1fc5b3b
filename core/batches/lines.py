"""The lines of a batch in Postgres: put there, read by page, recorded once each."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import BigInteger, Integer, LargeBinary, Text

from core.batches import tables
from core.batches.moves import finalize, locked, ours
from core.batches.tables import Batch

# Over how many seconds the speed is averaged.
SPEED_S = 20.0
# Lines are read by the page, and a page ends early where its answers are as large as this: a line's vectors can
# be 16 MB.
PAGE_BYTES = 8 * 2**20
# What a line's usage adds to its batch's.
SPENT = ("prompt_tokens", "completion_tokens", "cached_tokens", "engine_seconds")


@dataclass(frozen=True, slots=True)
class NewLine:
    line: int
    custom_id: str
    start: int
    size: int
    hash: bytes
    tokens: int


_PUT = text(
    """INSERT INTO batch_lines (batch_id, line, custom_id, start, size, hash, tokens)
       SELECT :batch, v.line, v.custom_id, v.start, v.size, v.hash, v.tokens
       FROM unnest(:lines, :custom_ids, :starts, :sizes, :hashes, :tokens)
            AS v(line, custom_id, start, size, hash, tokens)
       ON CONFLICT DO NOTHING RETURNING line"""
).bindparams(
    bindparam("lines", type_=ARRAY(Integer)),
    bindparam("custom_ids", type_=ARRAY(Text)),
    bindparam("starts", type_=ARRAY(BigInteger)),
    bindparam("sizes", type_=ARRAY(Integer)),
    bindparam("hashes", type_=ARRAY(LargeBinary)),
    bindparam("tokens", type_=ARRAY(Integer)),
)


async def put(session: AsyncSession, batch_id: str, new: Sequence[NewLine]) -> list[NewLine]:
    """Add lines; returns those whose custom_id an earlier line has."""
    rows = await session.scalars(
        _PUT,
        {
            "batch": batch_id,
            "lines": [n.line for n in new],
            "custom_ids": [n.custom_id for n in new],
            "starts": [n.start for n in new],
            "sizes": [n.size for n in new],
            "hashes": [n.hash for n in new],
            "tokens": [n.tokens for n in new],
        },
    )
    there = set(rows)
    return [n for n in new if n.line not in there]


_PENDING = text(
    """SELECT line, custom_id, start, size FROM batch_lines
       WHERE batch_id = :batch AND line > :after AND line <= :last AND state = 'pending'
       ORDER BY line LIMIT :limit"""
)


async def pending(
    session: AsyncSession, batch_id: str, after: int, last: int, limit: int
) -> Sequence[Any]:
    """Rows (line, custom_id, start, size) still to be answered, in order."""
    found = {"batch": batch_id, "after": after, "last": last, "limit": limit}
    return (await session.execute(_PENDING, found)).all()


@dataclass(frozen=True, slots=True)
class Outcome:
    """A line's answer as JSON: `response` with a status below 400, else it failed. `usage`: what it took."""

    line: int
    status: int
    response: str | None
    error: str | None
    usage: dict[str, Any]

    @property
    def state(self) -> str:
        return "done" if self.error is None and self.status < 400 else "failed"


_RECORD = text(
    """UPDATE batch_lines l SET state = v.state, response = v.response, error = v.error,
              done_seq = :tip + v.nth
       FROM (SELECT u.*, row_number() OVER (ORDER BY u.line) AS nth
             FROM unnest(:lines, :states, :responses, :errors) AS u(line, state, response, error)
             JOIN batch_lines p ON p.batch_id = :batch AND p.line = u.line AND p.state = 'pending') v
       WHERE l.batch_id = :batch AND l.line = v.line
       RETURNING l.line, coalesce(l.held_tokens, 0) AS tokens, coalesce(l.held_cost, 0) AS cost"""
).bindparams(
    bindparam("lines", type_=ARRAY(Integer)),
    *(bindparam(n, type_=ARRAY(Text)) for n in ("states", "responses", "errors")),
)


async def record(
    session: AsyncSession, batch_id: str, job: tuple[str, int], outcomes: Sequence[Outcome]
) -> bool:
    """Keep these lines' ends under the next numbers, and the counts with them; the last line ends the batch.

    `job`: the shard's id and attempt. False when it may not record any more; nothing is changed then.
    """
    batch = await locked(session, batch_id)
    if batch is None or batch.status != tables.IN_PROGRESS or not await ours(session, *job):
        return False
    await keep(session, batch, outcomes)
    return True


async def keep(session: AsyncSession, batch: Batch, outcomes: Sequence[Outcome]) -> None:
    """`record` for one who holds the batch and may. Lines that are recorded already stay as they are."""
    found = await session.execute(
        _RECORD,
        {
            "batch": batch.id,
            "tip": batch.tip,
            "lines": [o.line for o in outcomes],
            "states": [o.state for o in outcomes],
            "responses": [o.response for o in outcomes],
            "errors": [o.error for o in outcomes],
        },
    )
    rows = {row.line: row for row in found}
    batch.held_tokens -= sum(row.tokens for row in rows.values())
    batch.held_cost -= sum(row.cost for row in rows.values())
    made = [o for o in outcomes if o.line in rows]
    batch.tip += len(made)
    batch.completed += sum(o.state == "done" for o in made)
    batch.failed += sum(o.state == "failed" for o in made)
    for name in SPENT:
        setattr(batch, name, getattr(batch, name) + sum(o.usage.get(name, 0) for o in made))
    _measure(batch, len(made))
    if batch.completed + batch.failed == batch.total:
        await finalize(session, batch, tables.COMPLETED)
    await session.flush()


def _measure(batch: Batch, count: int) -> None:
    """Lines a second, the last SPEED_S seconds weighing most."""
    now = datetime.now(UTC)
    took = max((now - (batch.recorded_at or now)).total_seconds(), 0.001)
    first = batch.speed == 0
    weight = 1.0 if first else 1 - math.exp(-took / SPEED_S)
    batch.speed += weight * (count / took - batch.speed)
    batch.recorded_at = now


_REUSE = text(
    """WITH old AS (
           SELECT DISTINCT ON (o.hash) o.hash, o.response FROM batch_lines o
           WHERE o.batch_id = :old AND o.state = 'done' ORDER BY o.hash, o.line),
       fit AS (
           SELECT n.line, old.response, row_number() OVER (ORDER BY n.line) AS nth
           FROM batch_lines n JOIN old ON old.hash = n.hash
           WHERE n.batch_id = :batch AND n.state = 'pending')
       UPDATE batch_lines l SET state = 'done', response = fit.response, done_seq = :tip + fit.nth
       FROM fit WHERE l.batch_id = :batch AND l.line = fit.line RETURNING l.line"""
)


async def reuse(session: AsyncSession, batch: Batch, old_id: str) -> None:
    """Take over what an earlier batch of the same tenant and model has answered to the same requests."""
    found = {"batch": batch.id, "old": old_id, "tip": batch.tip}
    count = len((await session.execute(_REUSE, found)).all())
    batch.tip += count
    batch.completed += count
    batch.reused = count


_DONE = text(
    f"""SELECT done_seq, line, custom_id, response, error FROM (
           SELECT *, sum(coalesce(octet_length(response), 0)) OVER (ORDER BY done_seq ROWS BETWEEN
                     UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
           FROM (SELECT done_seq, line, custom_id, response, error FROM batch_lines
                 WHERE batch_id = :batch AND done_seq > :after AND state = ANY(:states)
                 ORDER BY done_seq LIMIT :limit) page) measured
       WHERE coalesce(before, 0) < {PAGE_BYTES} ORDER BY done_seq"""  # noqa: S608 - only constants are formatted in
).bindparams(bindparam("states", type_=ARRAY(Text)))


async def done(
    session: AsyncSession,
    batch_id: str,
    after: int,
    limit: int,
    states: Sequence[str] = ("done", "failed"),
) -> Sequence[Any]:
    """Rows in the order in which they were finished; fewer than there are, but one at least."""
    found = {"batch": batch_id, "after": after, "limit": limit, "states": list(states)}
    return (await session.execute(_DONE, found)).all()


def shown(batch_id: str, row: Any, error: bytes | None = None) -> bytes:
    """A line as files and streams have it: {"id", "custom_id", "response", "error"}."""
    return b'{"id":"batch_req_%s_%d","custom_id":%s,"response":%s,"error":%s}' % (
        batch_id.removeprefix("batch_").encode(),
        row.line,
        orjson.dumps(row.custom_id),
        (getattr(row, "response", None) or "null").encode(),
        error or (getattr(row, "error", None) or "null").encode(),
    )
