"""The layers of the exact cache on a real Redis: bounded, apart by tenant, and a miss when Redis is away."""

import pytest
from redis.asyncio import Redis

from core.cache import exact, memory
from core.cache.exact import Exact
from core.cache.memory import Memory
from core.cache.shared import OVERHEAD, P, Shared
from core.events.log import EventLog
from core.ids import new_id
from infra.folder import free_port

KEY = "ab" * 32


def test_memory_forgets_the_least_used_when_its_bytes_pass_the_bound() -> None:
    kept = Memory(3 * (memory.OVERHEAD + 10))
    for name in "abc":
        kept.put(name, b"x" * 10, 60)
    assert kept.get("a") == b"x" * 10
    kept.put("d", b"x" * 10, 60)
    assert [kept.get(name) is not None for name in "abcd"] == [True, False, True, True]
    kept.put("d", b"y" * 5, 60)
    assert kept.bytes == 3 * memory.OVERHEAD + 25
    kept.put("huge", b"x" * 10_000, 60)
    assert kept.get("huge") is None
    assert kept.get("a") is not None


def test_memory_forgets_what_is_out_of_date() -> None:
    kept = Memory(10_000)
    kept.put("a", b"x", 0)
    assert kept.get("a") is None
    assert kept.bytes == 0


async def test_redis_never_holds_more_than_the_bound(log: EventLog) -> None:
    await log.redis.delete(*[k async for k in log.redis.scan_iter(f"{P}*")] or ["nothing"])
    tenant = new_id("t")
    most = 20 * (OVERHEAD + 1500)
    shared = Shared(log.redis, most)
    for number in range(100):
        await shared.put(tenant, f"{number:064x}", b"x" * 1000, 60)
        if number == 90:
            assert await shared.get(tenant, f"{75:064x}") is not None
        assert await shared.bytes() <= most
    there = [k async for k in log.redis.scan_iter(f"{P}e:{tenant}:*")]
    assert 10 <= len(there) <= 25
    held = [await log.redis.memory_usage(key) or 0 for key in there]
    # What Redis says it takes is within what we counted.
    assert sum(held) <= await shared.bytes()
    assert await shared.purge(tenant) == len(there)
    assert await shared.bytes() == 0
    assert not [k async for k in log.redis.scan_iter(f"{P}e:{tenant}:*")]
    assert await log.redis.zcard(f"{P}used") == await log.redis.hlen(f"{P}sizes") == 0


async def test_too_large_an_entry_is_not_kept_and_evicts_nobody(log: EventLog) -> None:
    tenant = new_id("t")
    shared = Shared(log.redis, 100_000)
    await shared.put(tenant, KEY, b"small", 60)
    await shared.put(tenant, "cd" * 32, b"x" * 200_000, 60)
    assert await shared.get(tenant, "cd" * 32) is None
    assert await shared.get(tenant, KEY) is not None


async def test_another_process_notices_a_purge(log: EventLog) -> None:
    tenant, entry = new_id("t"), {"job": "job_1", "result": {"text": "x"}}
    one, other = (Exact.within(log.redis, 10**6) for _ in range(2))
    await one.put(tenant, KEY, entry, 60)
    assert await one.get(tenant, KEY) == await other.get(tenant, KEY) == entry
    assert await other.get(new_id("t"), KEY) is None
    # Now from its own memory, without Redis having it.
    await log.redis.delete(f"{P}e:{tenant}:{KEY}")
    assert await other.get(tenant, KEY) == entry
    assert await one.purge(tenant) == 1
    assert await one.get(tenant, KEY) is None
    other._turns.clear()
    assert await other.get(tenant, KEY) is None


@pytest.mark.parametrize("bound", [0, 100])
async def test_a_bound_of_nothing_keeps_nothing(log: EventLog, bound: int) -> None:
    kept = Exact.within(log.redis, bound)
    await kept.put("t", KEY, {"job": "j", "result": {}}, 60)
    assert await kept.get("t", KEY) is None


async def test_without_redis_everything_is_a_miss() -> None:
    away = Redis(port=free_port(), socket_connect_timeout=0.1)
    kept = Exact.within(away, 10**6)
    await kept.put("t", KEY, {"job": "j", "result": {}}, 60)
    assert await kept.get("t", KEY) is None
    await away.aclose()


def test_only_what_was_written_is_read() -> None:
    value = exact._written({"job": "j"})
    assert exact._read(value) == {"job": "j"}
    for place in (0, len(value) - 1):
        damaged = bytearray(value)
        damaged[place] ^= 1
        assert exact._read(bytes(damaged)) is None
