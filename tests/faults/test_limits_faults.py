"""Redis hung or dead: what has a limit is accepted all the same, and soon, unless a setting says otherwise."""

import asyncio
import time
from collections.abc import Callable

import httpx
import pytest

from core.ids import new_id
from core.security.keys import Rate
from infra.part import Part
from tests import asking
from tests.asking import JOBS, SPEC
from tests.rig import Rig
from tests.waiting import eventually

LEFT = "x-ratelimit-remaining-requests"


def hang(redis: Part) -> None:
    """Stopped, not dead: connections stay open and answer nothing."""
    redis.stop()


def kill(redis: Part) -> None:
    redis.kill()


def heal(redis: Part) -> None:
    redis.cont()
    if redis.exited() is not None:
        redis.spawn()
    redis.await_ready()


async def checked_again(client: httpx.AsyncClient) -> None:
    async def told() -> bool:
        return LEFT in (await client.post(JOBS, json=SPEC)).headers

    await eventually(told, "limits are checked again")


@pytest.mark.fault
@pytest.mark.parametrize("fault", [hang, kill])
async def test_without_redis_jobs_with_a_limit_are_accepted_at_once(
    rig: Rig, fault: Callable[[Part], None]
) -> None:
    key = await rig.key(new_id("t"), Rate(requests=50, tokens=5000))
    redis = rig.stack.parts["redis"]
    async with rig.client(key) as client:
        first = await asking.submit(client)
        await asyncio.to_thread(fault, redis)
        try:
            slowest = 0.0
            for _ in range(8):
                began = time.monotonic()
                answer = await client.post(JOBS, json=SPEC)
                slowest = max(slowest, time.monotonic() - began)
                assert answer.status_code == 202, answer.text
                assert LEFT not in answer.headers
            # Half a second for Redis, the rest for a busy machine.
            assert slowest < 1.5
            assert "penstock_rate_unchecked_total" in (await client.get("/metrics")).text
        finally:
            await asyncio.to_thread(heal, redis)
        await checked_again(client)
        assert (await asking.ended(client, first["id"]))["state"] == "succeeded"


@pytest.mark.fault
async def test_a_setting_refuses_what_cannot_be_checked(rig: Rig) -> None:
    strict = rig.process("api", 2)
    strict.env |= {"PENSTOCK_LIMITS_NEED_REDIS": "true"}
    await asyncio.to_thread(strict.start, 120)
    url = f"http://127.0.0.1:{rig.ports['api2']}"
    limited, free = await rig.key(new_id("t"), Rate(requests=500)), await rig.key(new_id("t"))
    redis = rig.stack.parts["redis"]
    async with rig.client(limited) as client, rig.client(free) as other:
        client.base_url = other.base_url = httpx.URL(url)
        key = {"idempotency-key": "a"}
        first = await client.post(JOBS, json=SPEC, headers=key)
        assert first.status_code == 202
        await asyncio.to_thread(hang, redis)
        try:
            refused = await client.post(JOBS, json=SPEC)
            assert asking.error(refused, 503)["code"] == "unavailable"
            assert refused.headers["retry-after"] == "1"
            # A replay takes nothing, and who has no limit asks Redis nothing.
            again = await client.post(JOBS, json=SPEC, headers=key)
            assert again.json()["id"] == first.json()["id"]
            assert (await other.post(JOBS, json=SPEC)).status_code == 202
        finally:
            await asyncio.to_thread(heal, redis)
        await eventually(lambda: _accepted(client), "jobs are accepted again")


async def _accepted(client: httpx.AsyncClient) -> bool:
    return (await client.post(JOBS, json=SPEC)).status_code == 202
