"""Jobs that were answered before: recorded like any other, and ended in the transaction that made them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import bindparam
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import Text

from core.events import outbox
from core.jobs.job import Job, State


@dataclass(frozen=True, slots=True)
class Hit:
    """An answer from the cache: how it was found, and the job that it was made for."""

    mode: str
    job: str
    result: dict[str, Any]
    usage: dict[str, Any]
    similarity: float | None = None

    @property
    def shown(self) -> dict[str, Any]:
        """The job's `cache` field."""
        alike = {} if self.similarity is None else {"similarity": round(self.similarity, 4)}
        return {"hit": self.mode, "job": self.job, **alike}


# Nobody has seen the job queued: its insert is not committed yet. Both facts leave by the outbox.
_ANSWER = outbox.recorded(
    f"""UPDATE jobs SET state = 'succeeded', seq = 2, started_at = now(), finished_at = now(),
            result = v.result, usage = v.usage, cache = v.cache
        FROM unnest(:ids, cast(:results AS jsonb[]), cast(:usages AS jsonb[]), cast(:caches AS jsonb[]))
             AS v(job, result, usage, cache)
        WHERE id = v.job
        RETURNING {outbox.FACT}, finished_at, 'job.succeeded' AS fact_type,
            jsonb_build_object('result', v.result, 'usage', v.usage, 'cache', v.cache) AS fact_data"""  # noqa: S608 - only constants are formatted in
).bindparams(
    *(bindparam(name, type_=ARRAY(Text)) for name in ("ids", "results", "usages", "caches"))
)


async def answer(session: AsyncSession, jobs: Mapping[str, Job], hits: Mapping[str, Hit]) -> None:
    """End these jobs, which the same transaction made, with what the cache has for them."""
    if not hits:
        return
    rows = await session.execute(
        _ANSWER,
        {
            "ids": list(hits),
            "results": [orjson.dumps(hit.result).decode() for hit in hits.values()],
            "usages": [orjson.dumps(hit.usage).decode() for hit in hits.values()],
            "caches": [orjson.dumps(hit.shown).decode() for hit in hits.values()],
        },
    )
    for row in rows:
        job, hit = jobs[row.id], hits[row.id]
        job.state, job.seq, job.cache = State.SUCCEEDED.value, 2, hit.shown
        job.started_at = job.finished_at = row.finished_at
        job.result, job.usage = hit.result, hit.usage
