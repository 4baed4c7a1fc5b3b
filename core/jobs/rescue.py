"""The verbs for jobs whose worker is gone or whose time is up: find, requeue or end, ring again.

Every time in here is the database's: a worker or a rescuer with a wrong clock decides nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import Text

from core.errors import Unavailable
from core.events import log as live
from core.events import outbox, types
from core.events.log import EventLog
from core.jobs import attempts, kinds
from core.jobs.attempts import Outcome, Requeue
from core.jobs.job import PARTIAL, USAGE, State
from core.ledger.entries import SETTLE

# With Redis away no attempt can start anyway, and what was said may come back with it.
_WAIT_FOR_REDIS_S = 30

_DUE = text(
    """SELECT id, kind, attempt, failures, seq, seq_ceiling, progress, worker_id,
              cancel_requested_at IS NOT NULL AS cancel, deadline <= now() AS late,
              lease_until < now() AS ran_out,
              (SELECT e.at FROM job_events e WHERE e.job_id = jobs.id AND e.attempt = jobs.attempt
                AND e.type = 'job.started') AS began
       FROM jobs
       WHERE state = 'running' AND (lease_until < now() - make_interval(secs => :patience)
                                    OR worker_id = ANY(:dead))
       ORDER BY lease_until LIMIT :limit FOR UPDATE SKIP LOCKED"""
).bindparams(bindparam("dead", type_=ARRAY(Text)))


@dataclass(frozen=True, slots=True)
class Rescued:
    """What became of one abandoned job."""

    id: str
    kind: str
    state: State
    reason: str


async def rescue(
    session: AsyncSession,
    events: EventLog,
    *,
    dead_workers: Sequence[str],
    max_attempts: int,
    limit: int = 200,
) -> list[Rescued]:
    """Requeue or end the jobs of dead workers and run-out leases; any number of rescuers may run.

    The rows stay locked while the live log is fenced: the old attempt can neither renew nor append
    between the two, so the number after the last one it used is known, and so is what it said.
    """
    now = (await session.execute(text("SELECT now()"))).scalar_one()
    try:
        intact_since, patience, dead = await events.intact_since(now), 0, list(dead_workers)
    except Unavailable:
        intact_since, patience, dead = None, _WAIT_FOR_REDIS_S, []
    due = {"dead": dead, "limit": limit, "patience": patience}
    rows = (await session.execute(_DUE, due)).all()
    return [
        await _rescue_one(session, events, row, max_attempts, now, intact_since) for row in rows
    ]


async def _rescue_one(
    session: AsyncSession,
    events: EventLog,
    row: Any,
    max_attempts: int,
    now: datetime,
    intact_since: datetime | None,
) -> Rescued:
    if intact_since is None:
        seq, progress = row.seq_ceiling, row.progress
    else:
        seq, progress = await _said(events, row, now, intact_since)
    reason = "lease_expired" if row.ran_out else "worker_lost"
    state = _ending(row, max_attempts)
    if state is State.QUEUED:
        await attempts.requeue(
            session, Requeue(row.id, row.attempt, seq + 1, progress, reason, charged=True)
        )
    else:
        error = None
        if state is State.FAILED:
            error = {
                "code": "attempts_exhausted",
                "message": f"The job's worker was lost in {row.failures + 1} attempts; giving up.",
            }
        outcome = Outcome(
            row.id, row.attempt, state, seq + 1, error=error, data=error or {},
            result=kinds.partial(row.kind, progress), usage=kinds.usage(row.kind, progress),
        )  # fmt: skip
        await attempts.finish(session, [outcome])
    return Rescued(row.id, row.kind, state, reason)


def _ending(row: Any, max_attempts: int) -> State:
    if row.cancel:
        return State.CANCELLED
    if row.late:
        return State.EXPIRED
    return State.FAILED if row.failures + 1 >= max_attempts else State.QUEUED


async def _said(
    events: EventLog, row: Any, now: datetime, intact_since: datetime
) -> tuple[int, dict[str, Any] | None]:
    """The last number the lost attempt may have used, and all that is known of what it said.

    When Redis was restarted or emptied since the attempt began, numbers up to the ceiling may have
    been seen by readers, so none of them is used again; a snapshot covers the jump.
    """
    entries = await events.fence(row.id, row.attempt + 1, row.seq)
    said, last = [], row.seq
    for entry in entries:
        if entry.event.seq != last + 1:
            break
        last += 1
        if entry.event.type in types.SAID:
            data = orjson.loads(entry.event.body)["data"]
            said.append({"event": entry.event.type} | data | live.tokens(entry.private))
    progress = kinds.join(row.kind, row.progress, said) if said else row.progress
    # Asked again: Redis may have lost everything since, and then the fence found nothing to read.
    if intact_since < row.began and await events.intact_since(now) == intact_since:
        return max([last, *(e.event.seq for e in entries[-1:])]), progress
    return max([row.seq_ceiling, *(e.event.seq for e in entries[-1:])]), progress


_EXPIRE = outbox.recorded(
    f"""UPDATE jobs SET state = 'expired', finished_at = now(), seq = seq + 1, rung_at = NULL,
            result = {PARTIAL}, usage = {USAGE}
        WHERE id IN (SELECT id FROM jobs WHERE state = 'queued' AND deadline <= now()
                     ORDER BY deadline LIMIT 500 FOR UPDATE SKIP LOCKED) AND state = 'queued'
        RETURNING {outbox.FACT}, usage, 'job.expired' AS fact_type, '{{}}'::jsonb AS fact_data""",  # noqa: S608 - only constants are formatted in
    SETTLE,
)


async def expire_queued(session: AsyncSession) -> list[str]:
    """End queued jobs whose completion window is over, with what there is of them."""
    return [row.id for row in await session.execute(_EXPIRE)]


_STRAND = outbox.recorded(
    f"""UPDATE jobs SET state = 'failed', finished_at = now(), seq = seq + 1, rung_at = NULL,
            result = {PARTIAL}, usage = {USAGE}, error = cast(:error AS jsonb)
        WHERE queue = ANY(:queues) AND state = 'queued'
        RETURNING {outbox.FACT}, usage, 'job.failed' AS fact_type,
            jsonb_build_object('error', error) AS fact_data""",  # noqa: S608 - only constants are formatted in
    SETTLE,
).bindparams(bindparam("queues", type_=ARRAY(Text)))


async def strand(session: AsyncSession, queues: Sequence[str], error: dict[str, str]) -> int:
    """End what waits in these queues, for which there will be no worker. Returns how many jobs that were."""
    asked = {"queues": list(queues), "error": orjson.dumps(error).decode()}
    return len((await session.execute(_STRAND, asked)).all())


_DEAD = text(
    """SELECT w.id FROM workers w
       WHERE NOT EXISTS (
           SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.granted
              AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
              AND (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended(w.id, 0))
         AND pg_postmaster_start_time() < now() - make_interval(secs => :settle)"""
)


async def unlocked_workers(session: AsyncSession, settle_s: float) -> set[str]:
    """Workers whose advisory lock nobody holds; none for `settle_s` after Postgres itself started."""
    return set((await session.scalars(_DEAD, {"settle": settle_s})).all())


async def forget_workers(session: AsyncSession, worker_ids: Sequence[str]) -> None:
    """Drop the rows of dead workers that have no job left."""
    await session.execute(
        text(
            """DELETE FROM workers w WHERE id = ANY(:ids) AND last_seen < now() - interval '60 s'
               AND NOT EXISTS (SELECT FROM jobs j WHERE j.state = 'running' AND j.worker_id = w.id)"""
        ).bindparams(bindparam("ids", type_=ARRAY(Text))),
        {"ids": list(worker_ids)},
    )
