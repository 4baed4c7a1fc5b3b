"""The worker's verbs: claim, renew, finish, requeue. Each says which attempt it is; a stale one changes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import Integer, Text

from core.audits.publishing import PUBLISH as PUBLISH_AUDIT
from core.catalog.prices import FREE, Prices
from core.catalog.versions import PUBLISH
from core.events import outbox, types
from core.jobs.job import COUNTED, FAR, State
from core.ledger.entries import SETTLE, prices

# Numbers an attempt may use beyond the last one Postgres vouches for. At the shortest flush interval
# a worker says about 120 events a second, and it renews every few seconds.
SEQ_RESERVE = 4096

_FACT_OF = {
    State.SUCCEEDED: types.SUCCEEDED,
    State.FAILED: types.FAILED,
    State.CANCELLED: types.CANCELLED,
    State.EXPIRED: types.EXPIRED,
}


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that is ours until the lease runs out: what to do, and what earlier attempts did.

    `prices`: those of its ledger row, when it has a cap on its cost. `adapter`: the digest of the one that
    its model is served with; empty: none. `guard`: the digest of what its answers go by; `labels`: the client's own.
    """

    id: str
    worker_id: str
    tenant_id: str
    kind: str
    model: str
    attempt: int
    failures: int
    seq: int
    seq_ceiling: int
    spec: dict[str, Any]
    progress: dict[str, Any] | None
    started: datetime
    deadline_in_s: float | None
    waited_s: float
    priority: str = "interactive"
    prices: Prices = FREE
    adapter: str = ""
    guard: str = ""
    labels: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Renewal:
    """A running attempt's word: it lives, and this is what it has said up to `seq`."""

    id: str
    attempt: int
    seq: int
    progress: dict[str, Any] | None


@dataclass(slots=True)
class Outcome:
    """How an attempt ended. `seq` is the number of its last event. An audit's usage is what its row says."""

    id: str
    attempt: int
    state: State
    seq: int
    result: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Requeue:
    """An attempt that gives its job back. `charged`: it counts against max_attempts."""

    id: str
    attempt: int
    seq: int
    progress: dict[str, Any] | None
    reason: str
    charged: bool
    pause_s: float = 0.0


_CLAIM = outbox.recorded(
    f"""UPDATE jobs SET state = 'running', attempt = attempt + 1, worker_id = :worker,
            lease_until = now() + make_interval(secs => :lease), rung_at = NULL,
            started_at = coalesce(started_at, now()), seq = seq + 1, seq_ceiling = seq + 1 + {SEQ_RESERVE}
        WHERE id = ANY(:ids) AND state = 'queued' AND available_at <= now()
          AND (deadline IS NULL OR deadline > now())
        RETURNING {outbox.FACT}, model, adapter, guard, metadata AS labels, priority, spec, progress,
            failures, seq_ceiling,
            extract(epoch FROM deadline - now())::float8 AS deadline_in_s,
            extract(epoch FROM now() - created_at)::float8 AS waited_s,
            CASE WHEN spec ->> 'max_cost' IS NOT NULL THEN {prices("jobs.id")} END AS prices,
            'job.started' AS fact_type, jsonb_build_object('worker', :worker) AS fact_data"""  # noqa: S608 - only constants are formatted in
).bindparams(bindparam("ids", type_=ARRAY(Text)), bindparam("worker", type_=Text))


async def claim(
    session: AsyncSession, job_ids: Sequence[str], *, worker_id: str, lease_s: float
) -> list[Claim]:
    """Take what of `job_ids` is still to be had. A job that is missing here was a duplicate doorbell."""
    rows = await session.execute(
        _CLAIM, {"ids": list(job_ids), "worker": worker_id, "lease": lease_s}
    )
    return [
        Claim(
            r.id, worker_id, r.tenant_id, r.kind, r.model, r.attempt, r.failures, r.seq, r.seq_ceiling,
            r.spec, r.progress, r.at, r.deadline_in_s, r.waited_s,
            r.priority, FREE if r.prices is None else Prices(*r.prices), r.adapter or "",
            r.guard or "", r.labels,
        )
        for r in rows
    ]  # fmt: skip


_RENEW = text(
    f"""UPDATE jobs j SET lease_until = now() + make_interval(secs => :lease),
            seq = greatest(j.seq, v.seq), seq_ceiling = greatest(j.seq_ceiling, v.seq + {SEQ_RESERVE}),
            progress = CASE WHEN v.progress = 'null'::jsonb OR v.seq < j.seq
                            THEN j.progress ELSE v.progress END
        FROM unnest(:ids, :attempts, :seqs, cast(:progress AS jsonb[])) AS v(id, attempt, seq, progress)
        WHERE j.id = v.id AND j.attempt = v.attempt AND j.state = 'running'
        RETURNING j.id, j.cancel_requested_at IS NOT NULL AS cancel, j.seq_ceiling,
            j.pause_requested_at IS NOT NULL AS pause"""  # noqa: S608 - only constants are formatted in
).bindparams(
    bindparam("ids", type_=ARRAY(Text)),
    bindparam("attempts", type_=ARRAY(Integer)),
    bindparam("seqs", type_=ARRAY(Integer)),
    bindparam("progress", type_=ARRAY(Text)),
)


@dataclass(frozen=True, slots=True)
class Renewed:
    cancel: bool
    pause: bool
    seq_ceiling: int


async def renew(
    session: AsyncSession, renewals: Sequence[Renewal], *, lease_s: float
) -> dict[str, Renewed]:
    """Prolong these leases and keep what was said so far. A job missing from the answer is lost to us."""
    rows = await session.execute(
        _RENEW,
        {
            "lease": lease_s,
            "ids": [r.id for r in renewals],
            "attempts": [r.attempt for r in renewals],
            "seqs": [r.seq for r in renewals],
            "progress": [orjson.dumps(r.progress).decode() for r in renewals],
        },
    )
    return {r.id: Renewed(r.cancel, r.pause, r.seq_ceiling) for r in rows}


_WISHES = text(
    """SELECT id, cancel_requested_at IS NOT NULL AS cancel FROM jobs
       WHERE id = ANY(:ids) AND (cancel_requested_at IS NOT NULL OR pause_requested_at IS NOT NULL)"""
).bindparams(bindparam("ids", type_=ARRAY(Text)))


async def wishes(session: AsyncSession, job_ids: Sequence[str]) -> dict[str, bool]:
    """Which of these a client wants stopped, True: cancelled, False: paused. The slow path beside the hint."""
    rows = await session.execute(_WISHES, {"ids": list(job_ids)})
    return {r.id: r.cancel for r in rows}


_BEFORE_US = text(
    """SELECT EXISTS (SELECT FROM jobs WHERE queue = ANY(:queues) AND state = 'queued' AND rank < :rank
                        AND available_at <= now() - interval '1 s')"""
).bindparams(bindparam("queues", type_=ARRAY(Text)))


async def outranked(session: AsyncSession, queues: Sequence[str], rank: int) -> bool:
    """Whether a job of a higher priority than `rank` waits in one of these queues: for a second, within which
    a worker with a free slot would have taken it."""
    return bool(await session.scalar(_BEFORE_US, {"queues": list(queues), "rank": rank}))


_FINISH = outbox.recorded(
    f"""UPDATE jobs j SET state = v.state, finished_at = now(), lease_until = NULL, seq = v.seq,
            result = nullif(v.result, 'null'::jsonb),
            usage = CASE WHEN j.kind = 'audit' THEN {COUNTED.format(job="j.")}
                    ELSE nullif(v.usage, 'null'::jsonb) END,
            error = nullif(v.error, 'null'::jsonb), progress = NULL
        FROM unnest(:ids, :attempts, :states, :seqs, cast(:results AS jsonb[]), cast(:usages AS jsonb[]),
                    cast(:errors AS jsonb[]), :facts, cast(:data AS jsonb[]))
             AS v(id, attempt, state, seq, result, usage, error, fact_type, fact_data)
        WHERE j.id = v.id AND j.attempt = v.attempt AND j.state = 'running'
        RETURNING {", ".join("j." + name for name in outbox.FACT.split(", "))},
            v.fact_type, j.usage, CASE WHEN j.kind = 'audit'
                THEN v.fact_data || jsonb_build_object('usage', j.usage) ELSE v.fact_data END AS fact_data""",  # noqa: S608 - only constants are formatted in
    SETTLE + PUBLISH + PUBLISH_AUDIT,
).bindparams(
    *(bindparam(n, type_=ARRAY(Text)) for n in ("ids", "states", "facts")),
    *(bindparam(n, type_=ARRAY(Text)) for n in ("results", "usages", "errors", "data")),
    *(bindparam(n, type_=ARRAY(Integer)) for n in ("attempts", "seqs")),
)


def _json(values: Sequence[Any]) -> list[str]:
    return [orjson.dumps(value).decode() for value in values]


@dataclass(frozen=True, slots=True)
class Recorded:
    """When a move was recorded, and what its last event says."""

    at: datetime
    data: dict[str, Any]


async def finish(session: AsyncSession, outcomes: Sequence[Outcome]) -> dict[str, Recorded]:
    """Record terminal states. Returns each that was ours to end; the others are not there."""
    rows = await session.execute(
        _FINISH,
        {
            "ids": [o.id for o in outcomes],
            "attempts": [o.attempt for o in outcomes],
            "states": [o.state.value for o in outcomes],
            "seqs": [o.seq for o in outcomes],
            "results": _json([o.result for o in outcomes]),
            "usages": _json([o.usage for o in outcomes]),
            "errors": _json([o.error for o in outcomes]),
            "facts": [_FACT_OF[o.state] for o in outcomes],
            "data": _json([o.data for o in outcomes]),
        },
    )
    return {r.id: Recorded(r.at, r.fact_data) for r in rows}


_REQUEUE = outbox.recorded(
    f"""UPDATE jobs SET state = 'queued', lease_until = NULL, worker_id = NULL, rung_at = NULL,
            -- A pause that was asked for holds, whatever ended the attempt.
            available_at = CASE WHEN pause_requested_at IS NULL OR cancel_requested_at IS NOT NULL
                                THEN now() + make_interval(secs => :pause)
                                ELSE {FAR} END, seq = :seq,
            seq_ceiling = :seq, failures = failures + :charge, progress = :progress
        WHERE id = :id AND attempt = :attempt AND state = 'running'
        RETURNING {outbox.FACT}, 'job.requeued' AS fact_type,
            jsonb_build_object('reason', cast(:reason AS text)) AS fact_data"""  # noqa: S608 - only constants are formatted in
).bindparams(bindparam("progress", type_=JSONB(none_as_null=True)))


async def requeue(session: AsyncSession, job: Requeue) -> Recorded | None:
    """Give a job back to the queue; None when it was not ours any more."""
    row = (
        await session.execute(
            _REQUEUE,
            {
                "id": job.id,
                "attempt": job.attempt,
                "seq": job.seq,
                "progress": job.progress,
                "reason": job.reason,
                "charge": int(job.charged),
                "pause": job.pause_s,
            },
        )
    ).one_or_none()
    return Recorded(row.at, row.fact_data) if row is not None else None
