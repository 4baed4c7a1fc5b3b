"""How many jobs are rung for at once, which of them share a message, and what a dead worker takes along."""

from itertools import chain

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from core.db.session import Database
from core.ids import new_id
from core.jobs import ringing
from core.jobs.ringing import NO_WORKER_ROOM, TOGETHER, WAITING_TOGETHER, Depth


def ids(count: int) -> list[str]:
    return [f"job_{n:02}" for n in range(count)]


@pytest.mark.parametrize(
    ("depth", "room"),
    [
        (Depth("q", workers=0, slots=0, running=0, rung=0), NO_WORKER_ROOM),
        (Depth("q", workers=0, slots=0, running=9, rung=NO_WORKER_ROOM), 0),
        (Depth("q", workers=1, slots=8, running=0, rung=0), 24),
        (Depth("q", workers=1, slots=8, running=8, rung=0), 8),
        (Depth("q", workers=1, slots=64, running=80, rung=16), 0),
    ],
)
def test_the_room_of_a_queue_is_twice_its_free_slots_and_a_few(depth: Depth, room: int) -> None:
    assert depth.room == room


def test_every_id_is_rung_for_once_and_in_order() -> None:
    for workers, slots, running, count in (
        (1, 64, 0, 80),
        (3, 9, 8, 20),
        (0, 0, 0, 4),
        (2, 4, 4, 1),
    ):
        made = Depth("q", workers, slots, running, rung=0).doorbells(ids(count))
        assert list(chain.from_iterable(jobs for _, jobs in made)) == ids(count)


def test_jobs_that_find_a_slot_share_messages_and_every_worker_gets_some() -> None:
    sizes = [len(jobs) for _, jobs in Depth("q", 4, 64, 0, 0).doorbells(ids(64))]
    assert max(sizes) <= TOGETHER
    assert len(sizes) >= 2 * 4


def test_jobs_that_must_wait_for_a_slot_share_few() -> None:
    sizes = [len(jobs) for _, jobs in Depth("q", 1, 64, 64, 0).doorbells(ids(64))]
    assert max(sizes) <= WAITING_TOGETHER


def test_a_few_jobs_come_singly() -> None:
    assert [len(jobs) for _, jobs in Depth("q", 2, 64, 0, 0).doorbells(ids(3))] == [1, 1, 1]


_WORKER = text(
    """INSERT INTO workers (id, role, queues, slots, host, pid)
       VALUES (:id, 'inference', ARRAY[:queue], 1, 'here', 1)"""
)
_JOB = text(
    """INSERT INTO jobs (id, tenant_id, kind, model, priority, rank, queue, spec, metadata, rung_at)
       SELECT :id, id, 'inference', 'm', 'batch', 1, :queue, '{}', '{}', now() FROM tenants LIMIT 1"""
)


async def test_doorbells_of_a_dead_workers_queues_are_forgotten(db: Database, key: str) -> None:
    """And of no other queue."""
    mine, other, worker = new_id("q"), new_id("q"), new_id("wrk")
    async with db.engine.connect() as connection, connection.begin() as transaction:
        await connection.execute(_WORKER, {"id": worker, "queue": mine})
        for queue in (mine, other):
            await connection.execute(_JOB, {"id": new_id("job"), "queue": queue})
        session = AsyncSession(bind=connection)
        assert await ringing.unring_with(session, [worker]) == 1
        rung = text("SELECT queue FROM jobs WHERE queue = ANY (:q) AND rung_at IS NOT NULL")
        left = (await connection.execute(rung, {"q": [mine, other]})).scalars().all()
        assert left == [other]
        await transaction.rollback()
