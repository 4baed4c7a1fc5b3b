"""The line of a queue: who waits in it, how fast it moves, and so where a job stands and when it may end.

One look serves every job of the queue for about a second. Positions follow the order in which
core/jobs/shares.py takes jobs. What others are yet to submit is not known, and of other tenants' jobs only
their number and mean size: so a position is exact among jobs of one size, and an estimate among others.
"""

import math
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

# A speed is measured on the last ended jobs: at most so many, of so many minutes.
MEASURED_JOBS = 500
MEASURED_MIN = 10


@dataclass(frozen=True, slots=True)
class Share:
    """A tenant in the line. `fresh` jobs are yet to be charged `tokens` together; `paid` ones are not again;
    `rung` have their doorbell out. `head`: its first fresh job."""

    weight: float
    virtual: float
    taken: float
    fresh: int
    tokens: float
    paid: int
    rung: int
    head: str

    @property
    def waiting(self) -> int:
        return self.fresh + self.paid + self.rung


@dataclass(frozen=True, slots=True)
class Pace:
    """What ended lately: tokens a second of the whole queue, seconds a token of one job, tokens a job."""

    tokens_s: float
    token_s: float
    mean: float


@dataclass(frozen=True, slots=True)
class Ahead:
    """Jobs and tokens that a job waits for."""

    jobs: int
    tokens: float


@dataclass(frozen=True)
class Line:
    """A queue as it was at `at`, by the database's clock. `pace`: None while nothing has ended lately."""

    queue: str
    at: datetime
    virtual: float
    workers: int
    slots: int
    running: int
    rung: int
    pace: Pace | None
    shares: dict[str, Share] = field(default_factory=dict)

    @property
    def free(self) -> int:
        return max(self.slots - self.running, 0)

    def waiting(self, tenant: str | None = None) -> int:
        """Jobs that wait, of all tenants or of this one."""
        if tenant is None:
            return sum(share.waiting for share in self.shares.values())
        return self.shares[tenant].waiting if tenant in self.shares else 0

    def cost(self, tenant: str, reserved: int) -> float:
        """Tokens that a job of this tenant will be charged."""
        share = self.shares.get(tenant)
        return max(reserved * (share.taken if share else 1.0), 1.0)

    def ahead(self, tenant: str, job_id: str, own: Ahead, *, paid: bool) -> Ahead:
        """What is taken before a job without a doorbell, which has `own` of its tenant before it; `paid`: it was
        charged before."""
        mine = self.shares.get(tenant)
        begins = self.virtual
        if mine is not None and not paid:
            begins = max(mine.virtual, self.virtual) + own.tokens / mine.weight
        jobs = self.rung + own.jobs
        tokens = self._rung_tokens() + own.tokens
        for other, share in self.shares.items():
            if other == tenant:
                continue
            jobs += share.paid if begins > self.virtual else 0
            count = self._begun(share, begins, job_id)
            jobs += count
            tokens += count * share.tokens / max(share.fresh, 1)
        return Ahead(jobs, tokens)

    def _begun(self, share: Share, begins: float, job_id: str) -> int:
        """How many fresh jobs of another tenant begin before `begins`; as early, the lower id goes first."""
        if not share.fresh:
            return 0
        step = share.tokens / share.fresh / share.weight
        exact = (begins - max(share.virtual, self.virtual)) / step
        nearest = round(exact)
        tied = abs(exact - nearest) < 1e-6
        count = nearest + (share.head < job_id) if tied else math.ceil(exact)
        return min(max(count, 0), share.fresh)

    def _rung_tokens(self) -> float:
        return self.rung * (self.pace.mean if self.pace else 0.0)

    def starts_s(self, ahead: Ahead) -> float | None:
        """Seconds until a job with this ahead of it has a slot."""
        if self.pace is None or not self.workers:
            return None
        if ahead.jobs < self.free:
            return 0.0
        # As many must leave as it takes until a slot is its own; each is of the mean size of those.
        mean = ahead.tokens / ahead.jobs if ahead.jobs else self.pace.mean
        return (ahead.jobs + 1 - self.free) * mean / self.pace.tokens_s

    def lasts_s(self, tokens: float) -> float | None:
        """Seconds that a job of so many tokens runs."""
        return tokens * self.pace.token_s if self.pace is not None else None

    def drains_s(self, jobs: int) -> float | None:
        """Seconds in which so many jobs leave the queue."""
        if self.pace is None or not self.workers:
            return None
        return jobs * self.pace.mean / self.pace.tokens_s


_SHARES = text(
    """SELECT n.*, t.weight, coalesce(s.virtual, 0) AS virtual, coalesce(s.taken, 1) AS taken
       FROM (SELECT tenant_id,
                    count(*) FILTER (WHERE NOT rung AND charged_tokens IS NULL)::int AS fresh,
                    count(*) FILTER (WHERE NOT rung AND charged_tokens IS NOT NULL)::int AS paid,
                    count(*) FILTER (WHERE rung)::int AS rung,
                    coalesce(sum(reserved_tokens) FILTER (WHERE NOT rung AND charged_tokens IS NULL), 0)::float8
                        AS reserved,
                    coalesce(min(id) FILTER (WHERE NOT rung AND charged_tokens IS NULL), '') AS head
             FROM (SELECT tenant_id, id, reserved_tokens, charged_tokens, false AS rung FROM jobs
                   WHERE queue = :queue AND state = 'queued' AND rung_at IS NULL
                   UNION ALL
                   SELECT tenant_id, id, reserved_tokens, charged_tokens, true FROM jobs
                   WHERE queue = :queue AND state = 'queued' AND rung_at IS NOT NULL) waiting
             GROUP BY tenant_id) n
       JOIN tenants t ON t.id = n.tenant_id
       LEFT JOIN tenant_shares s ON s.queue = :queue AND s.tenant_id = n.tenant_id"""
)

# `busy`: seconds in which at least one of the measured jobs ran. A queue that was idle is not slow. Of the oldest
# jobs only the time since the first of them ended: before, others that are not measured ran beside them.
_PACE = text(
    """WITH newest AS (
           SELECT started_at, finished_at, extract(epoch FROM finished_at - started_at)::float8 AS ran,
                  coalesce((usage ->> 'total_tokens')::float8, charged_tokens, reserved_tokens)::float8 AS tokens
           FROM jobs WHERE queue = :queue AND finished_at > now() - make_interval(mins => :minutes)
             AND started_at IS NOT NULL AND state = 'succeeded'
           ORDER BY finished_at DESC LIMIT :most),
       since AS (SELECT CASE WHEN count(*) = :most THEN min(finished_at)
                        ELSE now() - make_interval(mins => :minutes) END AS at FROM newest),
       spans AS (
           SELECT greatest(started_at, at) AS began, finished_at AS ended, max(finished_at) OVER (
                      ORDER BY greatest(started_at, at), finished_at
                      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
           FROM newest, since)
       SELECT now() AS at,
              coalesce((SELECT virtual FROM queue_clocks WHERE queue = :queue), 0) AS virtual,
              (SELECT count(*) FROM jobs WHERE queue = :queue AND state = 'running')::int AS running,
              k.workers, k.slots, p.jobs, p.tokens, p.ran,
              (SELECT sum(extract(epoch FROM greatest(ended - greatest(began, before), interval '0')))::float8
               FROM spans) AS busy
       FROM (SELECT count(*)::int AS jobs, sum(tokens) AS tokens, sum(ran) AS ran FROM newest, since
             WHERE finished_at > since.at) p,
            (SELECT coalesce(sum(slots), 0)::int AS slots, count(*)::int AS workers FROM workers
             WHERE :queue = ANY (queues) AND NOT draining AND last_seen > now() - interval '10 s') k"""
)


async def look(session: AsyncSession, queue: str) -> Line:
    """The line of `queue` as it is now. Costs a walk over its waiting jobs: keep it for a second."""
    shares = {
        row.tenant_id: Share(
            row.weight, row.virtual, row.taken, row.fresh,
            max(row.reserved * row.taken, float(row.fresh)), row.paid, row.rung, row.head,
        )
        for row in await session.execute(_SHARES, {"queue": queue})
    }  # fmt: skip
    measured = {"queue": queue, "minutes": MEASURED_MIN, "most": MEASURED_JOBS}
    row = (await session.execute(_PACE, measured)).one()
    rung = sum(share.rung for share in shares.values())
    return Line(
        queue, row.at, row.virtual, row.workers, row.slots, row.running, rung, _pace(row), shares
    )


def _pace(row: Any) -> Pace | None:
    if not row.jobs or not row.busy or not row.tokens:
        return None
    return Pace(row.tokens / row.busy, row.ran / row.tokens, row.tokens / row.jobs)
