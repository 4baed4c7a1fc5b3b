"""Redis killed, emptied, hung, its connections cut, all while jobs run: it may lose everything and nothing is lost."""

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from core.events.log import connect
from core.ids import new_id
from tests.faults import load as loads
from tests.faults.conftest import LEASE_S
from tests.faults.invariants import REPORT, check
from tests.faults.load import Load
from tests.reader import Reader
from tests.rig import Rig
from tests.waiting import eventually

JOBS = 80
HUNG_S = 10.0


@pytest.fixture
async def client(rig: Rig) -> AsyncIterator[httpx.AsyncClient]:
    async with rig.client(await rig.key(new_id("t"))) as opened:
        yield opened


@pytest.fixture
async def redis(rig: Rig) -> AsyncIterator[Redis]:
    opened = connect(rig.settings())
    yield opened
    await opened.aclose()


async def kept(rig: Rig, redis: Redis) -> None:
    """SIGKILL, and back with what its file has."""
    await asyncio.to_thread(rig.stack.parts["redis"].kill)
    await asyncio.to_thread(rig.stack.parts["redis"].start)


async def lost(rig: Rig, redis: Redis) -> None:
    """SIGKILL, and back with nothing."""
    await asyncio.to_thread(rig.stack.parts["redis"].kill)
    rig.stack.parts["redis"].wipe()
    await asyncio.to_thread(rig.stack.parts["redis"].start)


async def emptied(rig: Rig, redis: Redis) -> None:
    """FLUSHALL: the server lives, its data and Celery's queues do not."""
    await redis.flushall()


async def watch(client: httpx.AsyncClient, down: list[float]) -> None:
    """Ask for the list of jobs, for ever; notes how long each stretch of 5xx or silence was, in seconds."""
    began: float | None = None
    while True:
        try:
            well = (await client.get("/v1/jobs?limit=1")).status_code < 500
        except httpx.TransportError:
            well = False
        now = time.monotonic()
        if well:
            began = None
        else:
            began = began or now
            down.append(now - began)
        await asyncio.sleep(0.1)  # how often the figure is taken


@pytest.mark.parametrize("fault", [kept, lost, emptied], ids=lambda fault: fault.__name__)
async def test_redis_comes_back_and_every_job_ends(
    rig: Rig,
    load: Load,
    client: httpx.AsyncClient,
    redis: Redis,
    fault: Callable[[Rig, Redis], Awaitable[None]],
) -> None:
    """Three times in a load. What was rung is rung again, what was streaming goes on."""
    down: list[float] = [0.0]
    watching = asyncio.create_task(watch(client, down))
    submitting = asyncio.create_task(loads.submit(load, client, JOBS, follow_every=2, pause_s=0.3))
    for _ in range(3):
        await asyncio.sleep(load.rng.uniform(0.3, 1.0))  # the moment of the fault is random
        await fault(rig, redis)
        load.kills += 1
    await submitting
    await check(rig, load, client)
    await loads.give_up([watching])
    assert max(down) <= 5.0
    REPORT.append(f"  Redis {fault.__name__}: the API was away for at most {max(down):.1f} s")


async def test_a_lost_doorbell_is_rung_again(
    rig: Rig, load: Load, client: httpx.AsyncClient, redis: Redis
) -> None:
    """Celery's queue is emptied while the worker stands still: no message is left, only the row."""
    rig.parts["inference"].stop()
    await loads.submit(load, client, 3, follow_every=1)
    await eventually(lambda: _queued(redis), "doorbells lie in the queue")
    await redis.flushall()
    rig.parts["inference"].cont()
    await check(rig, load, client)


async def _queued(redis: Redis) -> bool:
    keys = await redis.keys("penstock:celery:inference.*")
    return bool(keys)


async def test_a_hung_redis_delays_jobs_and_refuses_none(
    rig: Rig, load: Load, client: httpx.AsyncClient
) -> None:
    """Stopped, not dead: connections stay open and answer nothing."""
    submitting = asyncio.create_task(loads.submit(load, client, 30, follow_every=2, pause_s=0.2))
    await eventually(lambda: _many(load, 5), "the load has begun")
    rig.stack.parts["redis"].stop()
    until = time.monotonic() + HUNG_S
    accepted, slowest = 0, 0.0
    while time.monotonic() < until:
        made = await loads.body(load)
        began = time.monotonic()
        response = await client.post(
            "/v1/jobs", json=made, headers={"idempotency-key": loads.key_of(load, made)}
        )
        slowest = max(slowest, time.monotonic() - began)
        assert response.status_code == 202, response.text
        load.bodies[response.json()["id"]] = made
        accepted += 1
        await asyncio.sleep(0.2)  # the pace of the load
    rig.stack.parts["redis"].cont()
    await submitting
    await check(rig, load, client)
    # Postgres alone is in the way of a submission: it may not wait for Redis's own limit of 2 s.
    assert slowest < 2.0
    REPORT.append(
        f"  Redis hung {HUNG_S:.0f} s: {accepted} accepted, the slowest in {slowest:.2f} s"
    )


async def _many(load: Load, count: int) -> bool:
    return len(load.bodies) >= count


async def test_cut_connections_cost_nothing(
    rig: Rig, load: Load, client: httpx.AsyncClient, redis: Redis
) -> None:
    """Every connection to Redis, cut every 2 s: no job runs twice, no reader misses an event."""
    submitting = asyncio.create_task(loads.submit(load, client, JOBS, follow_every=2, pause_s=0.5))
    while not submitting.done():
        await asyncio.wait([submitting], timeout=2.0)
        for kind in ("normal", "pubsub"):
            try:
                await redis.client_kill_filter(_type=kind, skipme=True)
            except (RedisError, OSError):
                continue
            load.kills += 1
    counts = await check(rig, load, client)
    # Nothing of this is a reason to lose a lease: each job ran once.
    assert counts.attempts == len(load.bodies)


async def test_a_running_jobs_stream_goes_on_after_redis_was_emptied(
    rig: Rig, load: Load, client: httpx.AsyncClient, redis: Redis
) -> None:
    """The attempt lives and says again what Redis lost, under the same numbers: its reader sees no seam."""
    made = await loads.body(load, max_tokens=200, stop=[])
    job_id = await loads.post(load, client, made, loads.key_of(load, made))
    reader = loads.read(load, client, job_id)
    for number in (20, 60, 100):
        await eventually(functools.partial(_at, reader, number), f"event {number} is read")
        await redis.flushall()
        load.kills += 1
    counts = await check(rig, load, client, timeout_s=LEASE_S + 30)
    assert counts.attempts == 1


async def _at(reader: Reader, number: int) -> bool:
    return reader.cursor >= number
