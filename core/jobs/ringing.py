"""How many queued jobs get a doorbell now, and how the doorbells travel; which ones is core/jobs/shares.py.

The backlog stays in Postgres. Only about twice the free slots of a queue are rung at once, so order,
fairness and cancelling are one ORDER BY there and not a surgery on broker lists.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import Text

from core.jobs import batch, shares

# A queue without a living worker: a few doorbells wait for it, so that the first one starts at once.
NO_WORKER_ROOM = 4
# Jobs that one message may ring for: it costs Celery about the same CPU whatever it carries
# (docs/decisions/0002).
TOGETHER = 8
# Of those that wait for a slot: a worker that takes one with one slot free is over its limit by three, and
# its engine lets them wait.
WAITING_TOGETHER = 4


def suspect_after(max_attempts: int) -> int:
    """Lost attempts after which a job may be what kills its worker: of such jobs that share a worker, one
    runs at a time. Below max_attempts, so that a neighbour is never ended for the culprit's deeds."""
    return max(1, min(3, max_attempts - 1))


_QUEUES = text(
    """WITH RECURSIVE waiting AS (
           (SELECT queue FROM jobs WHERE state = 'queued' AND rung_at IS NULL ORDER BY queue LIMIT 1)
           UNION ALL
           SELECT (SELECT j.queue FROM jobs j WHERE j.state = 'queued' AND j.rung_at IS NULL
                     AND j.queue > w.queue ORDER BY j.queue LIMIT 1)
           FROM waiting w WHERE w.queue IS NOT NULL)
       SELECT w.queue, k.slots, k.workers, (SELECT turn FROM queue_clocks q WHERE q.queue = w.queue),
              (SELECT count(*) FROM jobs j WHERE j.queue = w.queue AND j.state = 'running')::int AS running,
              (SELECT count(*) FROM jobs j WHERE j.queue = w.queue AND j.state = 'queued'
                 AND j.rung_at IS NOT NULL)::int AS rung
       FROM waiting w
       CROSS JOIN LATERAL (
           SELECT coalesce(sum(slots), 0)::int AS slots, count(*)::int AS workers FROM workers
           WHERE w.queue = ANY (queues) AND NOT draining AND last_seen > now() - interval '10 s') k
       WHERE w.queue IS NOT NULL"""
)

# Shards that a worker answers at once: their lines share its engine (workers/seats.py), and a second one
# fills it while the first runs out. More would only take slots from interactive jobs.
SHARDS = 3


@dataclass(frozen=True, slots=True)
class Depth:
    """A queue with waiting jobs: its workers and their slots, and what is running or rung of it."""

    queue: str
    workers: int
    slots: int
    running: int
    rung: int

    @property
    def room(self) -> int:
        """How many more jobs may be rung for: twice its free slots, less those that are out."""
        if self.slots == 0:
            return max(NO_WORKER_ROOM - self.rung, 0)
        if self.queue.startswith(f"{batch.KIND}."):
            return max(SHARDS * self.workers - self.running - self.rung, 0)
        # At least a few beyond the slots: a freed slot must find its next job already rung.
        return max(2 * max(self.slots - self.running, 0) + min(self.slots, 16) - self.rung, 0)

    def doorbells(self, ids: Sequence[str]) -> list["Doorbell"]:
        """Those that find a free slot share messages, a share small enough that every worker gets one;
        those that must wait for a slot share fewer, since one worker takes all of a message."""
        free = max(self.slots - self.running - self.rung, 0)
        out: list[Doorbell] = []
        for part, most in ((ids[:free], TOGETHER), (ids[free:], WAITING_TOGETHER)):
            size = max(1, min(most, len(part) // (2 * max(self.workers, 1))))
            out += [(self.queue, part[at : at + size]) for at in range(0, len(part), size)]
        return out


# A queue, and the jobs that one message on it rings for.
Doorbell = tuple[str, Sequence[str]]


@dataclass(slots=True)
class Chosen:
    """The doorbells in the order to ring them. `again`: another dispatcher was quicker; look again."""

    doorbells: list[Doorbell] = field(default_factory=list)
    again: bool = False


async def choose(session: AsyncSession, suspect: int = 3) -> Chosen:
    """Mark the next jobs of every queue as rung. Until the transaction ends no other dispatcher chooses there:
    best each statement is its own."""
    chosen = Chosen()
    for row in (await session.execute(_QUEUES)).all():
        depth = Depth(row.queue, row.workers, row.slots, row.running, row.rung)
        if depth.room:
            ids = await shares.pick(
                session, depth.queue, row.turn, room=depth.room, suspect=suspect
            )
            if ids is None:
                chosen.again = True
            else:
                chosen.doorbells += depth.doorbells(ids)
    return chosen


_RUNG = text(
    """SELECT queue, count(*)::int AS rung FROM jobs WHERE state = 'queued' AND rung_at IS NOT NULL
       GROUP BY queue HAVING min(rung_at) < now() - make_interval(secs => :after)"""
)


async def unanswered(session: AsyncSession, after_s: float) -> dict[str, int]:
    """Queues with a doorbell that is older than `after_s`, and how many doorbells each has out."""
    return {row.queue: row.rung for row in await session.execute(_RUNG, {"after": after_s})}


_SILENT = text(
    """UPDATE jobs SET rung_at = NULL
       WHERE id IN (SELECT id FROM jobs WHERE state = 'queued' AND queue = :queue
                      AND rung_at < now() - make_interval(secs => :after)
                    ORDER BY rung_at LIMIT 1000 FOR UPDATE SKIP LOCKED)
       RETURNING id"""
)


async def unring(session: AsyncSession, queue: str, after_s: float) -> int:
    """Forget the doorbells of `queue` that nobody answered within `after_s`, so that they ring again."""
    return len((await session.execute(_SILENT, {"queue": queue, "after": after_s})).all())


_TAKEN_ALONG = text(
    """UPDATE jobs SET rung_at = NULL
       WHERE id IN (SELECT id FROM jobs WHERE state = 'queued' AND rung_at IS NOT NULL
                      AND queue IN (SELECT unnest(queues) FROM workers WHERE id = ANY (:workers))
                    FOR UPDATE SKIP LOCKED)
       RETURNING id"""
).bindparams(bindparam("workers", type_=ARRAY(Text)))


async def unring_with(session: AsyncSession, dead_workers: Collection[str]) -> int:
    """Forget the doorbells of these workers' queues: which of them a worker took along is not known.

    Without it they would fill the queue's window until each is found unanswered, and what the rescuer
    requeued would wait behind them.
    """
    rows = await session.execute(_TAKEN_ALONG, {"workers": list(dead_workers)})
    return len(rows.all())


async def depths(session: AsyncSession) -> dict[str, int]:
    """Queued jobs by queue, for the gauge."""
    rows = await session.execute(
        text("SELECT queue, count(*) AS n FROM jobs WHERE state = 'queued' GROUP BY queue")
    )
    return {row.queue: row.n for row in rows}
