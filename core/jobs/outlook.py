"""Where a job stands: its place in the line, what it waits for, and when it may have ended."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import Text

from core.events.types import rfc3339
from core.jobs import kinds
from core.jobs.job import Job, State
from core.jobs.line import Ahead, Line

# Counting further costs more than the number is worth to a client.
POSITION_CAP = 10_000
WaitingFor = Literal["worker", "slot", "backoff", "turn", "paused"]


@dataclass(frozen=True, slots=True)
class Outlook:
    """`position`: 1 is next, POSITION_CAP stands for it and all beyond. `eta_s`: seconds until the job has ended."""

    position: int | None = None
    waiting_for: WaitingFor | None = None
    note: str | None = None
    eta_s: float | None = None


NONE = Outlook()

_BEFORE = text(
    """SELECT j.id, p.jobs, p.tokens FROM jobs j LEFT JOIN (
           SELECT id, (row_number() OVER line - 1)::int AS jobs,
                  coalesce(sum(tokens) OVER (line ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)::float8
                      AS tokens
           FROM (SELECT id, rank, CASE WHEN charged_tokens IS NULL THEN reserved_tokens ELSE 0 END AS tokens
                 FROM jobs
                 WHERE queue = :queue AND tenant_id = :tenant AND state = 'queued' AND rung_at IS NULL
                   AND (rank, id) <= (:rank, :last)
                 ORDER BY rank, id LIMIT :most) mine
           WINDOW line AS (ORDER BY rank, id)) p ON p.id = j.id
       WHERE j.id = ANY (:ids) AND j.state = 'queued' AND j.rung_at IS NULL
       UNION ALL
       SELECT id, (SELECT count(*) FROM jobs j WHERE j.queue = :queue AND j.state = 'queued'
                     AND j.rung_at < rung.rung_at)::int, 0
       FROM jobs rung WHERE id = ANY (:ids) AND state = 'queued' AND rung_at IS NOT NULL"""
).bindparams(bindparam("ids", type_=ARRAY(Text)), bindparam("last", type_=Text))


async def outlooks(
    session: AsyncSession, jobs: Sequence[Job], lines: Mapping[str, Line]
) -> dict[str, Outlook]:
    """By id, for those of these jobs of one tenant that have not ended; `lines` has each one's queue."""
    found = {
        job.id: Outlook(eta_s=_rounded(_left_s(lines[job.queue], job)))
        for job in jobs
        if job.state == State.RUNNING
    }
    queues: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        if job.state == State.QUEUED:
            queues[job.queue].append(job)
    for queue, queued in queues.items():
        found |= await _placed(session, lines[queue], queued)
    return found


async def _placed(session: AsyncSession, line: Line, jobs: Sequence[Job]) -> dict[str, Outlook]:
    last = max(jobs, key=lambda job: (job.rank, job.id))
    by_id = {job.id: job for job in jobs}
    rows = await session.execute(
        _BEFORE,
        {
            "queue": line.queue, "tenant": last.tenant_id, "rank": last.rank, "last": last.id,
            "ids": list(by_id), "most": POSITION_CAP,
        },
    )  # fmt: skip
    # One that is missing was claimed or ended since it was read.
    return {row.id: _queued(line, by_id[row.id], row) for row in rows}


def _ahead(line: Line, job: Job, row: Any) -> Ahead | None:
    """What is taken before it; None beyond the cap."""
    if row.jobs is None:
        return None
    if job.rung_at is not None:
        return Ahead(row.jobs, row.jobs * (line.pace.mean if line.pace else 1.0))
    # Tenants' jobs are charged for what such jobs take of what they reserve.
    own = Ahead(row.jobs, max(line.cost(job.tenant_id, row.tokens), row.jobs) if row.jobs else 0.0)
    return line.ahead(job.tenant_id, job.id, own, paid=job.charged_tokens is not None)


def _queued(line: Line, job: Job, row: Any) -> Outlook:
    if job.paused:
        return Outlook(None, "paused", "It goes on once it is resumed.")
    ahead = _ahead(line, job, row)
    backoff_s = (job.available_at - line.at).total_seconds()
    position = POSITION_CAP if ahead is None else min(ahead.jobs + 1, POSITION_CAP)
    eta_s = None
    if ahead is not None and (starts_s := line.starts_s(ahead)) is not None:
        runs_s = line.lasts_s(line.cost(job.tenant_id, job.reserved_tokens)) or 0.0
        eta_s = _rounded(max(starts_s, backoff_s) + runs_s)
    if not line.workers:
        note = f"No worker that lives serves {job.model!r}. The job starts when one does."
        return Outlook(position, "worker", note)
    if backoff_s > 0:
        at = rfc3339(line.at + timedelta(seconds=backoff_s))
        return Outlook(
            position, "backoff", f"An attempt failed; the next starts after {at}.", eta_s
        )
    if position == 1 or job.rung_at is not None:
        return Outlook(position, "slot", "It is next: a worker's slot takes it.", eta_s)
    more = " or more" if position == POSITION_CAP else ""
    return Outlook(position, "turn", f"{position - 1}{more} jobs are taken before it.", eta_s)


def _left_s(line: Line, job: Job) -> float | None:
    """Seconds that a running job is still at it: for what such jobs take less what it has said; once it has
    said that, for all that it may say."""
    said = kinds.said_tokens(job.kind, job.progress)
    may_say = int(job.spec.get("max_tokens", 0)) * int(job.spec.get("n", 1))
    asked = max(job.reserved_tokens - may_say, 0)
    usual = line.cost(job.tenant_id, job.reserved_tokens)
    if not said:
        runs_s = line.lasts_s(usual)
        if runs_s is None or job.started_at is None or job.attempt > 1:
            return runs_s
        return max(runs_s - (line.at - job.started_at).total_seconds(), 0.0)
    whole = usual if asked + said < usual else float(job.reserved_tokens)
    return line.lasts_s(max(whole - asked - said, 0.0))


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(max(seconds, 0.0), 1)
