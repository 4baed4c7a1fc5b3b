"""The numbered log of a job as readers see it: live entries from Redis, facts and text from Postgres.

Redis     2 started  3 delta  4 delta ... (may be empty, or lack its head)
Postgres  1 queued   2 started                      9 succeeded   text up to 8
a reader at 0 with Redis empty gets   1, 2, snapshot 8, 9
"""

import asyncio
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.db.session import Database
from core.errors import Unavailable
from core.events import types
from core.events.log import Entry, EventLog
from core.events.types import Event, event
from core.jobs import kinds
from core.jobs.job import TERMINAL, Job, JobEvent, State

LAST_DELTAS_S = 0.1


def contiguous(entries: list[Entry], after: int) -> list[Event]:
    """The events that follow `after` without a missing number."""
    out: list[Event] = []
    for entry in entries:
        if entry.event.seq != after + 1 + len(out):
            break
        out.append(entry.event)
    return out


async def read(
    database: Database, log: EventLog, job_id: str, after: int, limit: int = 500
) -> list[Event]:
    """What follows `after`: live where Redis has it, else from Postgres. [] when nothing does yet."""
    try:
        live = contiguous(await log.read(job_id, after, limit), after)
    except Unavailable:
        live = []
    if live:
        return live
    async with database.single() as session:
        events = await vouched(session, job_id, after, limit)
    if not events or events[0].type != types.SNAPSHOT:
        return events
    # An outcome is recorded a moment before its last deltas reach Redis: they are worth that moment.
    await asyncio.sleep(LAST_DELTAS_S)
    try:
        return contiguous(await log.read(job_id, after, limit), after) or events
    except Unavailable:
        return events


async def reached(database: Database, log: EventLog, job_id: str) -> tuple[int, bool]:
    """The highest number that Redis or Postgres holds, and whether the job has ended."""
    try:
        said = await log.tip(job_id)
    except Unavailable:
        said = 0
    async with database.single() as session:
        job = (await session.execute(select(Job.seq, Job.state).where(Job.id == job_id))).one()
    return max(said, job.seq), State(job.state) in TERMINAL


async def vouched(session: AsyncSession, job_id: str, after: int, limit: int = 500) -> list[Event]:
    """What Postgres knows beyond `after`: the facts that follow it, or one snapshot across a gap."""
    rows = (await session.execute(_FACTS, {"id": job_id, "after": after, "limit": limit})).all()
    if not rows or rows[0].upto <= after:
        return []
    out: list[Event] = []
    for row in rows:
        if row.seq != after + 1 + len(out):
            break
        out.append(event(row.seq, row.type, job_id, row.attempt, row.at, row.data))
    return out or await _across(session, job_id, after)


_FACTS = text(
    """SELECT j.seq AS upto, e.seq, e.type, e.attempt, e.at, e.data
       FROM jobs j LEFT JOIN job_events e ON e.job_id = j.id AND e.seq > :after AND e.seq <= j.seq
       WHERE j.id = :id ORDER BY e.seq LIMIT :limit"""
)


async def _across(session: AsyncSession, job_id: str, after: int) -> list[Event]:
    """One snapshot from `after` to where Postgres knows everything."""
    job = await session.scalar(select(Job).where(Job.id == job_id))
    if job is None or job.seq <= after:
        return []
    fact = await session.scalar(
        select(JobEvent)
        .where(JobEvent.job_id == job_id, JobEvent.seq > after, JobEvent.seq <= job.seq)
        .order_by(JobEvent.seq.desc())
        .limit(1)
    )
    ended = State(job.state) in TERMINAL
    return [_snapshot(job, fact, job.seq - 1 if ended else job.seq)]


def _snapshot(job: Job, fact: JobEvent | None, seq: int) -> Event:
    """Everything so far in one event, numbered like the last one that it stands for."""
    data: dict[str, Any] = {"state": job.state if seq == job.seq else State.RUNNING.value}
    so_far = job.result if job.progress is None else kinds.partial(job.kind, job.progress)
    data |= so_far or {}
    at = fact.at if fact is not None else job.started_at or job.created_at
    return event(seq, types.SNAPSHOT, job.id, job.attempt, at, data)
