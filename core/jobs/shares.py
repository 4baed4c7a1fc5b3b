"""Whose turn it is in a queue: tenants share it by their weights, in tokens (docs/decisions/0014).

Start-time fair queueing. Each tenant's line has a virtual time: the tokens it was served, divided by its
weight. A job begins at its tenant's virtual time or at the queue's own, whichever is later; the job that
begins first is next; and the queue's time is the beginning of the job served last. So a tenant that was
away comes back at the queue's time: it has saved nothing up, and waits behind no backlog.

All of it moves in the statement that marks jobs as rung, once a job: a job that was charged for is served
at the queue's time however often it is rung for again.
"""

from sqlalchemy import ForeignKey, String, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import BigInteger

from core.db.base import Base


class QueueClock(Base):
    """A queue's virtual time, and how often its next jobs were chosen: one choice is made at a time."""

    __tablename__ = "queue_clocks"
    queue: Mapped[str] = mapped_column(primary_key=True)
    virtual: Mapped[float] = mapped_column(server_default="0")
    turn: Mapped[int] = mapped_column(BigInteger, server_default="0")


class TenantShare(Base):
    """A tenant's virtual time in a queue, and how its reservations there compare with what they take."""

    __tablename__ = "tenant_shares"
    queue: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(40), ForeignKey("tenants.id"), primary_key=True)
    virtual: Mapped[float] = mapped_column(server_default="0")
    taken: Mapped[float] = mapped_column(
        server_default="1", comment="of what is reserved, the part that its ended jobs took"
    )


# What a job is charged: nothing a second time, and else what its tenant's jobs take of what they reserve.
# At least one token: jobs for nothing would go before everybody else's for ever.
COST = """CASE WHEN {job}.charged_tokens IS NULL
          THEN greatest({job}.reserved_tokens * coalesce({share}.taken, 1), 1) ELSE 0 END"""

# The first job of each tenant that waits, found by as many steps through ix_jobs_queued as there are tenants.
HEADS = """heads AS (
    (SELECT tenant_id, id, rank, available_at, charged_tokens, failures FROM jobs
     WHERE queue = :queue AND state = 'queued' AND rung_at IS NULL
     ORDER BY tenant_id, rank, id LIMIT 1)
    UNION ALL
    SELECT j.* FROM heads h CROSS JOIN LATERAL (
        SELECT tenant_id, id, rank, available_at, charged_tokens, failures FROM jobs
        WHERE queue = :queue AND state = 'queued' AND rung_at IS NULL AND tenant_id > h.tenant_id
        ORDER BY tenant_id, rank, id LIMIT 1) j)"""

# May be rung for now. Of those that may be what kills their worker one is out at a time.
_READY = """{job}.available_at <= now()
            AND ({job}.failures < :suspect OR (SELECT out FROM suspects) = 0)"""

_PICK = text(
    f"""WITH RECURSIVE clock AS MATERIALIZED (
           -- One choice at a time, and none on numbers that another has changed meanwhile.
           SELECT virtual FROM queue_clocks WHERE queue = :queue AND turn = :turn
           FOR UPDATE SKIP LOCKED),
       {HEADS},
       -- Queues that share a worker share its death.
       beside AS (SELECT unnest(k.queues) AS queue FROM workers k WHERE :queue = ANY (k.queues)
                  UNION SELECT :queue),
       suspects AS MATERIALIZED (
           SELECT count(*) AS out FROM jobs WHERE failures >= :suspect
             AND queue IN (SELECT queue FROM beside)
             AND (state = 'running' OR (state = 'queued' AND rung_at IS NOT NULL))),
       -- A line whose first job is not among the first :room of these has none among the first :room of all.
       lines AS (
           SELECT h.tenant_id, t.weight, s.taken, c.virtual AS clock,
                  greatest(s.virtual, c.virtual) AS virtual,
                  row_number() OVER (ORDER BY h.rank, CASE WHEN h.charged_tokens IS NULL
                                     THEN greatest(s.virtual, c.virtual) ELSE c.virtual END, h.id) AS nth
           FROM clock c CROSS JOIN heads h
           -- Looked up one by one: a plan made while the table was small would compare each with each.
           CROSS JOIN LATERAL (SELECT weight FROM tenants WHERE id = h.tenant_id OFFSET 0) t
           LEFT JOIN LATERAL (SELECT virtual, taken FROM tenant_shares
                              WHERE queue = :queue AND tenant_id = h.tenant_id OFFSET 0) s ON true
           WHERE ({_READY.format(job="h")}) OR EXISTS (
               SELECT FROM jobs j WHERE j.queue = :queue AND j.tenant_id = h.tenant_id
                 AND j.state = 'queued' AND j.rung_at IS NULL AND {_READY.format(job="j")})
           ORDER BY nth LIMIT :room),
       candidates AS (
           SELECT j.id, j.rank, j.failures, j.cost, j.tenant_id, l.virtual, l.weight,
                  CASE WHEN j.charged THEN l.clock ELSE l.virtual + (sum(j.cost) OVER (
                      PARTITION BY j.tenant_id ORDER BY j.rank, j.id) - j.cost) / l.weight END AS begins
           FROM lines l CROSS JOIN LATERAL (
               SELECT j.id, j.tenant_id, j.rank, j.failures, j.charged_tokens IS NOT NULL AS charged,
                      {COST.format(job="j", share="l")} AS cost
               FROM jobs j
               WHERE j.queue = :queue AND j.tenant_id = l.tenant_id AND j.state = 'queued'
                 AND j.rung_at IS NULL AND {_READY.format(job="j")}
               ORDER BY j.rank, j.id LIMIT :room + 1 - l.nth) j),
       fit AS (
           SELECT *, row_number() OVER (PARTITION BY failures >= :suspect
                                        ORDER BY rank, begins, id) AS nth
           FROM candidates),
       chosen AS (
           SELECT *, row_number() OVER (ORDER BY rank, begins, id) AS place FROM fit
           WHERE failures < :suspect OR nth = 1
           ORDER BY place LIMIT :room),
       free AS (
           SELECT id FROM jobs WHERE id IN (SELECT id FROM chosen) AND state = 'queued'
             AND rung_at IS NULL FOR UPDATE SKIP LOCKED),
       rung AS (
           -- Microseconds keep the order in which they were chosen.
           UPDATE jobs j SET rung_at = now() + c.place * interval '1 microsecond',
                  charged_tokens = coalesce(j.charged_tokens, ceil(c.cost))
           FROM chosen c JOIN free USING (id) WHERE j.id = c.id
           RETURNING j.id, c.place, c.tenant_id, c.cost / c.weight AS cost, c.virtual, c.begins),
       charged AS (
           INSERT INTO tenant_shares AS s (queue, tenant_id, virtual)
           SELECT :queue, tenant_id, max(virtual) + sum(cost) FROM rung GROUP BY tenant_id
           ON CONFLICT (queue, tenant_id) DO UPDATE SET virtual = excluded.virtual),
       told AS (
           UPDATE queue_clocks k SET turn = k.turn + 1, virtual = greatest(k.virtual, r.last)
           FROM (SELECT max(begins) AS last FROM rung) r WHERE k.queue = :queue AND r.last IS NOT NULL)
       SELECT r.id FROM clock LEFT JOIN rung r ON true ORDER BY r.place"""  # noqa: S608 - only constants are formatted in
)


async def pick(
    session: AsyncSession, queue: str, turn: int | None, *, room: int, suspect: int
) -> list[str] | None:
    """Mark the next jobs of a queue as rung, at most `room`, and charge for them; in the order of their turns.

    `turn`: of the queue's clock, as it was read together with the room. None: somebody else has chosen since,
    or is about to.
    """
    if turn is None:
        await session.execute(insert(QueueClock).values(queue=queue).on_conflict_do_nothing())
        turn = 0
    rows = await session.execute(
        _PICK, {"queue": queue, "turn": turn, "room": room, "suspect": suspect}
    )
    found = rows.all()
    return [row.id for row in found if row.id is not None] if found else None


# The newest jobs say how a tenant's reservations compare with what its jobs take.
LEARN_FROM = 2000

_LEARN = text(
    """UPDATE tenant_shares s SET taken = least(greatest(n.taken, 0.001), 1)
       FROM (SELECT queue, tenant_id,
                    sum((usage ->> 'total_tokens')::float8) / greatest(sum(reserved_tokens), 1) AS taken
             FROM (SELECT q.queue, j.tenant_id, j.usage, j.reserved_tokens
                   FROM queue_clocks q CROSS JOIN LATERAL (
                       SELECT tenant_id, usage, reserved_tokens FROM jobs
                       WHERE queue = q.queue AND finished_at > now() - interval '5 min'
                       ORDER BY finished_at DESC LIMIT :most) j) newest
             WHERE usage ? 'total_tokens' AND reserved_tokens > 0 GROUP BY queue, tenant_id) n
       WHERE s.queue = n.queue AND s.tenant_id = n.tenant_id AND abs(s.taken - n.taken) > 0.02 * n.taken"""
)


async def learn(session: AsyncSession) -> None:
    """Charge from now on for what tenants' jobs take: a client that names no limit reserves a whole context."""
    await session.execute(_LEARN, {"most": LEARN_FROM})
