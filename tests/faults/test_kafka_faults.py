"""The Kafka broker killed and back without its log, while jobs run and webhooks are due: it is a log, not the truth."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from kafka import KafkaConsumer
from sqlalchemy import text
from standardwebhooks import Webhook

from core.config import Settings
from core.db.session import Database
from core.events import bus
from core.ids import new_id
from core.jobs.kinds import KINDS
from infra.local import embedded
from tests.fakes.receiver import receiver
from tests.faults import load as loads
from tests.faults.invariants import REPORT, check, dump, ended
from tests.faults.load import Load
from tests.rig import Rig
from tests.waiting import eventually

GONE_S = 20.0


@pytest.fixture
async def client(rig: Rig) -> AsyncIterator[httpx.AsyncClient]:
    async with rig.client(await rig.key(new_id("t"))) as opened:
        yield opened


@pytest.fixture
async def db(rig: Rig) -> AsyncIterator[Database]:
    opened = Database(rig.settings(), name="test", pool=2)
    yield opened
    await opened.close()


async def test_jobs_run_and_webhooks_arrive_while_the_broker_is_gone(
    rig: Rig, load: Load, client: httpx.AsyncClient, db: Database
) -> None:
    """Gone for 20 s under a load, then back empty: what was said meanwhile is on it then."""
    await asyncio.to_thread(rig.start, "webhooks")
    async with receiver() as there:
        new = {"name": "kafka", "url": there.url, "event_types": ["job.succeeded"]}
        secret = (await client.post("/v1/webhook_endpoints", json=new)).json()["signing_secret"]
        before = await loads.submit(load, client, 10)
        await ended(db, before)
        await eventually(lambda: _told(db), "the broker has all of it")
        rig.stack.parts["kafka"].kill()
        load.kills += 1
        loop = asyncio.get_running_loop()
        back_at = loop.time() + GONE_S
        # Half at once, half spread over the outage: the broker's absence is not noticed at the API.
        during = await loads.submit(load, client, 30, follow_every=2)
        during += await loads.submit(load, client, 30, follow_every=2, at_once=1, pause_s=0.3)
        await ended(db, during)
        assert loop.time() < back_at, "the jobs waited for the broker"
        await there.until(len(load.bodies))
        async with db.begin() as session:
            held = await session.scalar(text("SELECT count(*) FROM outbox"))
        # Queued, started, succeeded of each: none of them could be told, none was thrown away.
        assert held == 3 * len(during)
        await asyncio.sleep(max(0.0, back_at - loop.time()))  # the outage is 20 s long
        await asyncio.to_thread(rig.stack.parts["kafka"].start)
        counts = await check(rig, load, client, kafka_kept=False)
        told = await asyncio.to_thread(dump, rig.settings().kafka_bootstrap_servers)
        facts = {(e["data"]["job_id"], e["data"]["seq"]) for e in told}
        assert {job for job, _ in facts} == set(during)
        assert len(facts) == 3 * len(during)
        assert counts.attempts == len(load.bodies)
        for request in there.requests:
            Webhook(secret).verify(request.body, request.headers)
        assert len(set(there.ids)) == len(load.bodies)
    REPORT.append(
        f"  Kafka gone {GONE_S:.0f} s: {len(during)} jobs ran, {held} facts were kept and told after it, "
        f"{len(there.ids)} webhooks for {len(load.bodies)} jobs"
    )


async def _told(db: Database) -> bool:
    async with db.begin() as session:
        return not await session.scalar(text("SELECT count(*) FROM outbox"))


async def test_a_broker_that_forgets_everything_is_filled_again(
    rig: Rig, load: Load, client: httpx.AsyncClient
) -> None:
    """Killed three times within a load; each time topics, groups and producer numbers are gone."""
    submitting = asyncio.create_task(loads.submit(load, client, 60, follow_every=3, pause_s=0.5))
    for _ in range(3):
        await asyncio.sleep(load.rng.uniform(0.3, 1.0))  # the moment of the kill is random
        await asyncio.to_thread(rig.stack.parts["kafka"].kill)
        await asyncio.to_thread(rig.stack.parts["kafka"].start)
        load.kills += 1
    await submitting
    await check(rig, load, client, kafka_kept=False)
    # The producer was rebuilt: a fact of now is on the broker of now.
    made = await loads.body(load)
    job_id = await loads.post(load, client, made, loads.key_of(load, made))
    servers = rig.settings().kafka_bootstrap_servers

    async def told() -> bool:
        events = await asyncio.to_thread(dump, servers)
        return {e["type"] for e in events if e["data"]["job_id"] == job_id} >= {"job.succeeded"}

    await eventually(told, "the facts of a new job are on the new broker")


async def test_a_producer_makes_the_topics_that_its_broker_lost(tmp_path: Path) -> None:
    """Also where the broker makes none by itself, and with our settings, not with its own."""
    stack = embedded(tmp_path, names=("kafka",))
    broker, servers = stack.parts["kafka"], stack.urls["kafka"]
    settings = Settings(_env_file=None, kafka_bootstrap_servers=servers)
    records = [bus.Record(bus.EVENTS, f"job {n}", b"{}", {}) for n in range(20)]
    try:
        for _ in range(2):
            await asyncio.to_thread(broker.start)
            producer = bus.Producer(settings, lambda: bus.create_topics(settings, KINDS))
            await producer.publish(records)
            await producer.close()
            partitions = await asyncio.to_thread(_partitions, servers)
            assert partitions == settings.kafka_partitions
            await asyncio.to_thread(broker.kill)
    finally:
        stack.kill()


def _partitions(servers: str) -> int:
    consumer = KafkaConsumer(bootstrap_servers=servers.split(","), enable_auto_commit=False)
    try:
        return len(consumer.partitions_for_topic(bus.EVENTS) or ())
    finally:
        consumer.close()


async def test_a_hung_broker_delays_only_its_own_log(
    rig: Rig, load: Load, client: httpx.AsyncClient, db: Database
) -> None:
    """Stopped, not dead: sends and polls hang until their time-outs, jobs do not."""
    rig.stack.parts["kafka"].stop()
    ids = await loads.submit(load, client, 30, follow_every=3)
    await ended(db, ids, timeout_s=20)
    rig.stack.parts["kafka"].cont()
    await check(rig, load, client)
