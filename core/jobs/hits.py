"""Jobs that were answered before: recorded like any other, and ended in the transaction that made them.

    1 job.queued   2 job.started   3 output.delta (one a choice)   4 job.succeeded

The same log that a worker would have made, but for its text: that is an event in Postgres, since no worker was
there to say it in Redis. Nobody sees the states in between.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson
from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import Integer, Text

from core.events import outbox, types
from core.jobs.job import Job, State
from core.ledger.entries import SETTLE


@dataclass(frozen=True, slots=True)
class Hit:
    """An answer from the cache: how it was found, the job that it was made for, and the guard that it went by."""

    mode: str
    job: str
    result: dict[str, Any]
    usage: dict[str, Any]
    similarity: float | None = None
    guard: str = ""

    @property
    def shown(self) -> dict[str, Any]:
        """The job's `cache` field."""
        alike = {} if self.similarity is None else {"similarity": round(self.similarity, 4)}
        return {"hit": self.mode, "job": self.job, **alike}

    @property
    def counted(self) -> dict[str, Any]:
        """The job's usage: the tokens of the answer, and that no engine made them this time."""
        return {**self.usage, "engine_seconds": 0, "cache": self.mode}

    @property
    def deltas(self) -> list[dict[str, Any]]:
        """The text as events tell it; `tokens` are those that were made, which is none."""
        whole = [{"index": 0, "text": self.result.get("text", "")}]
        out = []
        for choice in self.result.get("choices") or whole:
            if choice["text"]:
                kept = {name: choice[name] for name in ("index", "logprobs") if choice.get(name)}
                out.append({"text": choice["text"], "tokens": 0, **kept})
        return out


_START = outbox.recorded(
    f"""UPDATE jobs SET state = 'running', attempt = 1, seq = 2, started_at = now(), lease_until = now()
        WHERE id = ANY(:ids)
        RETURNING {outbox.FACT}, 'job.started' AS fact_type,
            jsonb_build_object('worker', 'cache') AS fact_data"""  # noqa: S608 - only constants are formatted in
).bindparams(bindparam("ids", type_=ARRAY(Text)))
_SAY = text(
    """INSERT INTO job_events (job_id, seq, type, attempt, at, data)
       SELECT job, seq, :type, 1, now(), data
       FROM unnest(:ids, :seqs, cast(:deltas AS jsonb[])) AS v(job, seq, data)"""
).bindparams(
    bindparam("ids", type_=ARRAY(Text)),
    bindparam("seqs", type_=ARRAY(Integer)),
    bindparam("deltas", type_=ARRAY(Text)),
)
_END = outbox.recorded(
    f"""UPDATE jobs SET state = 'succeeded', seq = v.last, finished_at = now(), lease_until = NULL,
            result = v.result, usage = v.usage, cache = v.cache
        FROM unnest(:ids, :seqs, cast(:results AS jsonb[]), cast(:usages AS jsonb[]), cast(:caches AS jsonb[]))
             AS v(job, last, result, usage, cache)
        WHERE id = v.job
        RETURNING {outbox.FACT}, finished_at, jobs.usage, 'job.succeeded' AS fact_type,
            jsonb_build_object('result', v.result, 'usage', v.usage, 'cache', v.cache) AS fact_data""",  # noqa: S608 - only constants are formatted in
    SETTLE,
).bindparams(
    *(bindparam(name, type_=ARRAY(Text)) for name in ("ids", "results", "usages", "caches")),
    bindparam("seqs", type_=ARRAY(Integer)),
)


async def answer(session: AsyncSession, jobs: Mapping[str, Job], hits: Mapping[str, Hit]) -> None:
    """End these jobs, which the same transaction made, with what the cache has for them."""
    if not hits:
        return
    await session.execute(_START, {"ids": list(hits)})
    last = await _say(session, hits)
    rows = await session.execute(
        _END,
        {
            "ids": list(hits),
            "seqs": [last[job_id] + 1 for job_id in hits],
            "results": [_json(hit.result) for hit in hits.values()],
            "usages": [_json(hit.counted) for hit in hits.values()],
            "caches": [_json(hit.shown) for hit in hits.values()],
        },
    )
    for row in rows:
        job, hit = jobs[row.id], hits[row.id]
        job.state, job.attempt, job.seq = State.SUCCEEDED.value, 1, row.seq
        job.started_at = job.finished_at = row.finished_at
        job.result, job.usage, job.cache = hit.result, hit.counted, hit.shown
        job.cost = Decimal(0)


async def _say(session: AsyncSession, hits: Mapping[str, Hit]) -> dict[str, int]:
    """The number of each job's last event."""
    said = [
        (job_id, seq, delta)
        for job_id, hit in hits.items()
        for seq, delta in enumerate(hit.deltas, 3)
    ]
    if said:
        await session.execute(
            _SAY,
            {
                "type": types.OUTPUT_DELTA,
                "ids": [job_id for job_id, _, _ in said],
                "seqs": [seq for _, seq, _ in said],
                "deltas": [_json(delta) for _, _, delta in said],
            },
        )
    return {job_id: 2 + len(hit.deltas) for job_id, hit in hits.items()}


def _json(value: dict[str, Any]) -> str:
    return orjson.dumps(value).decode()
