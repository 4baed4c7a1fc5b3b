"""The feeder: what is due gets a doorbell, whatever Kafka or the queue does."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from prometheus_client import REGISTRY

from core.db.session import Database
from core.errors import Unavailable
from core.events.bus import EVENTS, Record
from core.security.keys import Caller
from core.webhooks import tries
from tests.fakes import webhooks as given
from workers.webhooks import feed
from workers.webhooks.feed import once

SOMEWHERE = "https://example.com/"


class Bus:
    """A Subscription fed by hand. While `away` it says "nothing" at once, as the real one does."""

    def __init__(self, *, away: bool = False) -> None:
        self.away = away
        self.records: asyncio.Queue[Record] = asyncio.Queue()
        self.committed: asyncio.Queue[int] = asyncio.Queue()
        self.polls = 0

    async def poll(self, timeout_s: float) -> list[Record]:
        self.polls += 1
        if self.away:
            return []
        try:
            async with asyncio.timeout(timeout_s):
                return [await self.records.get()]
        except TimeoutError:
            return []

    async def commit(self) -> None:
        self.committed.put_nowait(self.polls)

    async def close(self) -> None: ...


class Queue:
    """The Celery queue, as far as the feeder sees it."""

    def __init__(self) -> None:
        self.rung: list[str] = []
        self.down = False
        self.heard = asyncio.Condition()

    async def ring(self, ids: list[str]) -> None:
        if self.down:
            raise Unavailable("Redis did not take a doorbell")
        async with self.heard:
            self.rung += ids
            self.heard.notify_all()

    async def until(self, *ids: str) -> None:
        async with asyncio.timeout(30), self.heard:
            await self.heard.wait_for(lambda: set(ids) <= set(self.rung))


@pytest.fixture
async def caller(database: Database) -> Caller:
    # The feeder looks at every tenant's deliveries.
    await given.run(database, "TRUNCATE webhook_deliveries, webhook_endpoints")
    return await given.tenant(database)


@pytest.fixture
async def endpoint(database: Database, caller: Caller) -> str:
    return await given.endpoint(database, caller, SOMEWHERE)


@pytest.fixture
async def running(database: Database) -> AsyncIterator[tuple[Bus, Queue]]:
    bus, queue, stop = Bus(), Queue(), asyncio.Event()
    task = asyncio.create_task(feed.feed(database, bus, queue.ring, stop))
    yield bus, queue
    stop.set()
    await task


async def test_what_is_due_is_rung_once(database: Database, endpoint: str) -> None:
    one = await given.delivery(database, endpoint)
    queue = Queue()
    assert await once(database, queue.ring, per_endpoint=4) == 1
    assert await once(database, queue.ring, per_endpoint=4) == 0
    assert queue.rung == [one]


async def test_a_lost_doorbell_rings_again(database: Database, endpoint: str) -> None:
    one = await given.delivery(database, endpoint)
    queue = Queue()
    await once(database, queue.ring, per_endpoint=4)
    await given.run(
        database, "UPDATE webhook_deliveries SET rung_at = now() - interval '31 s' WHERE id = :id",
        id=one,
    )  # fmt: skip
    await once(database, queue.ring, per_endpoint=4)
    assert queue.rung == [one, one]


async def test_a_queue_that_is_away_leaves_nothing_marked(
    database: Database, endpoint: str
) -> None:
    one = await given.delivery(database, endpoint)
    queue = Queue()
    queue.down = True
    with pytest.raises(Unavailable):
        await once(database, queue.ring, per_endpoint=4)
    assert (await given.row(database, "webhook_deliveries", one))["rung_at"] is None
    queue.down = False
    assert await once(database, queue.ring, per_endpoint=4) == 1


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE webhook_deliveries SET next_at = now() + interval '1 min'",
        "UPDATE webhook_deliveries SET lease_until = now() + interval '1 min', rung_at = now()",
        "UPDATE webhook_deliveries SET state = 'delivered'",
        "UPDATE webhook_endpoints SET enabled = false",
        "UPDATE webhook_endpoints SET next_probe_at = now() + interval '1 min'",
    ],
)
async def test_what_is_not_due_is_not_rung(database: Database, endpoint: str, change: str) -> None:
    await given.delivery(database, endpoint)
    await given.run(database, change)
    assert await once(database, Queue().ring, per_endpoint=4) == 0


async def test_an_abandoned_try_is_rung_when_its_lease_is_over(
    database: Database, endpoint: str
) -> None:
    one = await given.delivery(database, endpoint)
    async with database.begin() as session:
        await tries.claim(session, one, lease_s=60, per_endpoint=4)
    await given.run(
        database,
        "UPDATE webhook_deliveries SET lease_until = now(), rung_at = now() - interval '1 min'",
    )
    queue = Queue()
    await once(database, queue.ring, per_endpoint=4)
    assert queue.rung == [one]


async def test_an_endpoint_has_only_its_places_of_doorbells_out(
    database: Database, caller: Caller, endpoint: str
) -> None:
    for _ in range(10):
        await given.delivery(database, endpoint)
    other = await given.delivery(database, await given.endpoint(database, caller, SOMEWHERE))
    queue = Queue()
    assert await once(database, queue.ring, per_endpoint=4) == 5
    assert other in queue.rung


async def test_an_open_circuit_gets_one_probe(database: Database, caller: Caller) -> None:
    failing = await given.endpoint(database, caller, SOMEWHERE, consecutive_failures=10)
    for _ in range(5):
        await given.delivery(database, failing)
    assert await once(database, Queue().ring, per_endpoint=4) == 1


async def test_the_window_of_doorbells_is_bounded(
    database: Database, caller: Caller, endpoint: str
) -> None:
    await given.run(
        database,
        """INSERT INTO webhook_deliveries (id, tenant_id, endpoint_id, event_id, event_type, body)
           SELECT 'wd_' || n, :tenant, :endpoint, 'evt_' || n, 'job.succeeded', '{}'
           FROM generate_series(1, 500) n""",
        tenant=caller.tenant_id,
        endpoint=endpoint,
    )
    queue = Queue()
    assert await once(database, queue.ring, per_endpoint=1000) == tries.RING_WINDOW
    assert await once(database, queue.ring, per_endpoint=1000) == 0


async def test_many_feeders_ring_each_delivery_once(database: Database, caller: Caller) -> None:
    ids = [
        await given.delivery(database, await given.endpoint(database, caller, SOMEWHERE))
        for _ in range(20)
    ]
    queue = Queue()
    await asyncio.gather(*(once(database, queue.ring, per_endpoint=4) for _ in range(6)))
    assert sorted(queue.rung) == sorted(ids)


async def test_a_record_is_committed_after_its_deliveries_were_rung(
    database: Database, endpoint: str, running: tuple[Bus, Queue]
) -> None:
    bus, queue = running
    one = await given.delivery(database, endpoint)
    bus.records.put_nowait(Record(EVENTS, "job_1", b"{}", {}))
    await asyncio.wait_for(bus.committed.get(), 30)
    assert queue.rung == [one]


async def test_deliveries_are_found_without_kafka(database: Database, endpoint: str) -> None:
    bus, queue, stop = Bus(away=True), Queue(), asyncio.Event()
    task = asyncio.create_task(feed.feed(database, bus, queue.ring, stop))
    await queue.until(await given.delivery(database, endpoint))
    await queue.until(await given.delivery(database, endpoint))
    assert bus.polls < 50  # a broker that is away is not asked in a tight loop
    stop.set()
    await task


async def test_a_feed_whose_queue_is_away_ends_with_the_error(
    database: Database, endpoint: str
) -> None:
    await given.delivery(database, endpoint)
    queue = Queue()
    queue.down = True
    with pytest.raises(Unavailable):
        await feed.feed(database, Bus(), queue.ring, asyncio.Event())


async def test_a_feed_whose_listener_broke_ends_with_its_error(
    database: Database, endpoint: str
) -> None:
    class Broken(Bus):
        async def poll(self, timeout_s: float) -> list[Record]:  # noqa: ARG002 - a Subscription
            raise Unavailable("kafka")

    with pytest.raises(Unavailable):
        await feed.feed(database, Broken(), Queue().ring, asyncio.Event())


async def test_what_waits_is_counted(
    database: Database, endpoint: str, running: tuple[Bus, Queue]
) -> None:
    _, queue = running
    await queue.until(await given.delivery(database, endpoint))
    assert REGISTRY.get_sample_value("penstock_webhook_pending") is not None


async def test_tidying_cancels_orphans_and_forgets_the_old(
    database: Database, caller: Caller, endpoint: str
) -> None:
    gone = await given.endpoint(database, caller, SOMEWHERE)
    await given.delivery(database, gone)
    await given.run(
        database,
        """UPDATE webhook_endpoints SET enabled = false, deleted_at = now() - interval '2 hours'
           WHERE id = :id""",
        id=gone,
    )
    disabled = await given.endpoint(database, caller, SOMEWHERE, enabled=False)
    orphan = await given.delivery(database, disabled)
    old, fresh, waiting = [await given.delivery(database, endpoint) for _ in range(3)]
    await given.run(
        database, "UPDATE webhook_deliveries SET state = 'dead' WHERE id = ANY(:ids)",
        ids=[old, fresh],
    )  # fmt: skip
    await given.run(
        database,
        """UPDATE webhook_deliveries SET created_at = now() - interval '31 days'
           WHERE id = ANY(:ids)""",
        ids=[old, waiting],
    )
    async with database.begin() as session:
        await tries.tidy(session)
        assert await tries.pending(session) == 1
    left = {}
    for one in (fresh, waiting, orphan):
        left[one] = (await given.row(database, "webhook_deliveries", one))["state"]
    assert left == {fresh: "dead", waiting: "pending", orphan: "cancelled"}
    for table, one in (("webhook_endpoints", gone), ("webhook_deliveries", old)):
        with pytest.raises(Exception, match="No row was found"):
            await given.row(database, table, one)
