"""The course of a training: the facts of its job and what it told of itself, in one list, newest first."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import DateTime, Text

from core.errors import NotFound
from core.jobs.job import Job, State

_CURSOR = re.compile(r"([0-9a-z]{26})-([ft])(\d{1,18})")


@dataclass(frozen=True, slots=True)
class Cursor:
    """Which entry: `f`, a fact, by its number in the job's log; `t`, what was told, by the id of its row."""

    source: str
    number: int

    def of(self, job_id: str) -> str:
        """As text that names the job, too."""
        return f"{job_id.removeprefix('job_')}-{self.source}{self.number}"

    @classmethod
    def read(cls, job_id: str, said: str) -> Self | None:
        """None for what is no such text, or of another job."""
        found = _CURSOR.fullmatch(said)
        if found is None or found[1] != job_id.removeprefix("job_"):
            return None
        return cls(found[2], int(found[3]))


@dataclass(frozen=True, slots=True)
class Told:
    cursor: Cursor
    type: str
    at: datetime
    data: dict[str, Any]


_WHEN = text(
    """SELECT at FROM job_events WHERE :source = 'f' AND job_id = :job AND seq = :number
       UNION ALL
       SELECT created_at FROM training_events WHERE :source = 't' AND job_id = :job AND id = :number"""
).bindparams(bindparam("source", type_=Text))

# What a training tells is told in the order of its ids: the index gives a page of it without sorting all.
_PAGE = text(
    """SELECT * FROM (
           (SELECT 'f' AS source, seq::bigint AS number, type, at, data FROM job_events
            WHERE job_id = :job AND (:at IS NULL OR (at, 'f', seq::bigint) < (:at, :source, :number))
            ORDER BY seq DESC LIMIT :limit)
           UNION ALL
           (SELECT 't', id, type, created_at, data FROM training_events
            WHERE job_id = :job AND (:at IS NULL OR (created_at, 't', id) < (:at, :source, :number))
            ORDER BY id DESC LIMIT :limit)) AS course
       ORDER BY at DESC, source DESC, number DESC LIMIT :limit"""
).bindparams(bindparam("at", type_=DateTime(timezone=True)), bindparam("source", type_=Text))


# Few rows a job: what became known with each phase, and the last step.
_KNOWN = text(
    """SELECT w.id AS job_id, t.type, t.data FROM unnest(:jobs) AS w(id) CROSS JOIN LATERAL (
           (SELECT id, type, data FROM training_events
            WHERE job_id = w.id AND type = 'metrics' AND data ? 'loss' ORDER BY id DESC LIMIT 1)
           UNION ALL
           (SELECT id, type, data FROM training_events
            WHERE job_id = w.id AND type = 'progress' ORDER BY id)) t
       ORDER BY w.id, t.id"""
).bindparams(bindparam("jobs", type_=ARRAY(Text)))


async def known(session: AsyncSession, jobs: Sequence[Job]) -> dict[str, dict[str, Any]]:
    """What each of these trainings has found out, by the job's id: what its rows say at once and `progress` only with
    the next heartbeat, and how it ended."""
    found = {job.id: dict(job.progress or {}) for job in jobs}
    unsure = [job.id for job in jobs if job.state != State.SUCCEEDED]
    if unsure:
        for row in await session.execute(_KNOWN, {"jobs": unsure}):
            data = {"metrics": row.data} if row.type == "metrics" else row.data
            found[row.job_id] |= data
    return {job.id: found[job.id] | (job.result or {}) for job in jobs}


async def page(
    session: AsyncSession, job_id: str, *, after: Cursor | None = None, limit: int = 20
) -> tuple[list[Told], bool]:
    """From below `after`, and whether there is more. Raises NotFound when `after` is no entry of this job."""
    at = None
    if after is not None:
        which = {"job": job_id, "source": after.source, "number": after.number}
        at = await session.scalar(_WHEN, which)
        if at is None:
            raise NotFound("is no event of this job", param="after")
    rows = await session.execute(
        _PAGE,
        {
            "job": job_id, "at": at, "limit": limit + 1,
            "source": after.source if after is not None else "",
            "number": after.number if after is not None else 0,
        },
    )  # fmt: skip
    found = [Told(Cursor(r.source, r.number), r.type, r.at, r.data) for r in rows]
    return found[:limit], len(found) > limit
