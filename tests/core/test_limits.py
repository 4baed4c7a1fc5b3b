"""Buckets on a real Redis: exact at once, even over time, all or none, and forgotten without harm."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from core.config import MAX_RATE, Settings
from core.errors import TooLarge, Unavailable
from core.events.log import connect
from core.ids import new_id
from core.security.keys import BY_SETTINGS, Caller, Rate
from core.security.limits import (
    LIMITS_S,
    Buckets,
    Cost,
    Limit,
    check_size,
    limits_of,
    refusal,
    tally,
)
from infra.folder import free_port
from infra.local import embedded
from tests.waiting import eventually

ONE = Cost(requests=1)


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("limits")
    stack = embedded(folder, names=["redis"])
    stack.start()
    yield stack.env()["REDIS_URL"]
    stack.kill()


@pytest_asyncio.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    opened = connect(Settings(_env_file=None, redis_url=redis_url))
    yield opened
    await opened.aclose()


@pytest.fixture
def buckets(redis: Redis) -> Buckets:
    return Buckets(redis)


NO_DEFAULTS = Settings(_env_file=None)


def limits(
    key: Rate = BY_SETTINGS, tenant: Rate = BY_SETTINGS, config: Settings = NO_DEFAULTS
) -> list[Limit]:
    """Of a caller that nothing else knows."""
    return limits_of(Caller(new_id("ten"), new_id("key"), key, tenant), config)


async def microseconds(redis: Redis) -> int:
    seconds, rest = await redis.time()
    return int(seconds) * 1_000_000 + int(rest)


def test_a_row_goes_before_the_settings_and_zero_is_no_limit() -> None:
    assert limits() == []
    config = Settings(_env_file=None, key_requests_per_minute=5, tenant_tokens_per_minute=70)
    found = limits(config=config)
    assert [(x.of, x.unit, x.size) for x in found] == [
        ("key", "requests", 5),
        ("tenant", "tokens", 70),
    ]
    found = limits(Rate(requests=0, tokens=9), Rate(requests=3), config)
    assert [(x.of, x.unit, x.size) for x in found] == [
        ("key", "tokens", 9), ("tenant", "requests", 3), ("tenant", "tokens", 70),
    ]  # fmt: skip


async def test_a_minutes_worth_passes_at_once_and_not_one_more(buckets: Buckets) -> None:
    wanted = limits(Rate(requests=10))
    levels = await asyncio.gather(*(buckets.take(wanted, ONE) for _ in range(50)))
    passed = [level for (level,) in levels if not level.wait_ms]
    assert len(passed) == 10
    assert sorted(level.left for level in passed) == list(range(10))
    # Ten a minute: the next finds room within six seconds.
    assert all(0 < level.wait_ms <= 6000 for (level,) in levels if level.wait_ms)


async def test_when_one_has_no_room_none_is_charged(buckets: Buckets) -> None:
    wanted = limits(Rate(5, 1000), Rate(5, 100))
    assert [x.left for x in await buckets.take(wanted, Cost(1, 90))] == [4, 910, 4, 10]
    refused = await buckets.take(wanted, Cost(1, 20))
    assert [bool(x.wait_ms) for x in refused] == [False, False, False, True]
    after = await buckets.take(wanted, Cost())
    assert [x.left for x in after[:3]] == [4, pytest.approx(910, abs=20), 4]
    limit, error = refusal(refused, Cost(1, 20)) or (None, None)
    assert error is not None
    assert limit == wanted[3]
    assert f"tenant {limit.whose}: 100 tokens a minute" in error.message
    assert "this request may take 20" in error.message
    assert error.retry_after_s == refused[3].wait_ms / 1000


async def test_who_comes_back_as_told_finds_room(buckets: Buckets, redis: Redis) -> None:
    wanted = limits(Rate(requests=700))
    await buckets.take(wanted, Cost(requests=700))
    for _ in range(5):
        (level,) = await buckets.take(wanted, Cost(requests=7))
        until = await microseconds(redis) + level.wait_ms * 1000

        async def due(until: int = until) -> bool:
            return await microseconds(redis) >= until

        assert 0 < level.wait_ms <= 600
        await eventually(due, "the wait is over")
        (level,) = await buckets.take(wanted, Cost(requests=7))
        assert level.wait_ms == 0


async def test_over_time_it_lets_through_what_was_set(buckets: Buckets) -> None:
    """A minute's worth at once and then 100 a second, whatever the pace of those who ask."""
    wanted = limits(Rate(requests=6000))
    began = time.monotonic()
    await buckets.take(wanted, Cost(requests=6000))
    full = time.monotonic()
    passed = 0
    while time.monotonic() < full + 1.5:
        (level,) = await buckets.take(wanted, ONE)
        passed += not level.wait_ms
    asked = time.monotonic()
    ((_, _, left, _),) = await buckets.take(wanted, Cost())
    assert (asked - full) * 100 - 2 <= passed + left <= (time.monotonic() - began) * 100 + 1


async def test_what_is_given_back_can_be_taken_again_and_no_more(buckets: Buckets) -> None:
    wanted = limits(Rate(3, 30))
    await buckets.take(wanted, Cost(3, 30))
    assert [x.left for x in await buckets.take(wanted, -Cost(1, 10))] == [1, 10]
    assert [x.left for x in await buckets.take(wanted, -Cost(9, 99))] == [3, 30]
    (first, _) = await buckets.take(wanted, Cost(4, 0))
    assert first.wait_ms


async def test_a_changed_limit_keeps_what_was_taken(buckets: Buckets) -> None:
    (small,) = limits(Rate(requests=10))
    await buckets.take([small], Cost(requests=8))
    wide = Limit(small.of, small.unit, small.whose, 100, small.bucket)
    narrow = Limit(small.of, small.unit, small.whose, 5, small.bucket)
    assert (await buckets.take([wide], Cost()))[0].left == pytest.approx(92, abs=1)
    level = (await buckets.take([narrow], ONE))[0]
    assert level.left == 0
    assert level.wait_ms == pytest.approx(48_000, rel=0.1)
    # Nothing asked, nothing refused: so a replay reads how things stand.
    assert (await buckets.take([narrow], Cost()))[0].wait_ms == 0


async def test_the_largest_limit_counts_rightly(buckets: Buckets, redis: Redis) -> None:
    wanted = limits(Rate(MAX_RATE, MAX_RATE))
    first = await buckets.take(wanted, Cost(1, MAX_RATE))
    assert first[0].left == MAX_RATE - 1
    assert first[1].left == 0
    assert first[1].reset_ms == 60_000
    assert 0 < await redis.pttl(wanted[1].bucket) <= 60_000
    (_, level) = await buckets.take(wanted, Cost(0, MAX_RATE))
    assert 0 < level.wait_ms <= 60_000


async def test_a_bucket_at_rest_is_gone(buckets: Buckets, redis: Redis) -> None:
    wanted = limits(Rate(requests=6000))
    (level,) = await buckets.take(wanted, Cost(requests=20))
    assert level.reset_ms == 200

    async def gone() -> bool:
        return not await redis.exists(wanted[0].bucket)

    await eventually(gone, "the bucket is empty", timeout_s=2)
    assert (await buckets.take(wanted, Cost()))[0].left == 6000


async def test_a_clock_set_back_stops_nobody_for_long(buckets: Buckets, redis: Redis) -> None:
    wanted = limits(Rate(requests=6000))
    hour = 3_600_000_000
    await redis.set(wanted[0].bucket, f"6000.000000 {await microseconds(redis) + hour}")
    assert (await buckets.take(wanted, ONE))[0].wait_ms == 10
    await buckets.take(wanted, -ONE)

    async def passes() -> bool:
        return not (await buckets.take(wanted, ONE))[0].wait_ms

    await eventually(passes, "it leaks again", timeout_s=2)


async def test_an_emptied_redis_or_one_without_the_script_starts_anew(
    buckets: Buckets, redis: Redis
) -> None:
    wanted = limits(Rate(requests=1))
    await buckets.take(wanted, ONE)
    await redis.script_flush()
    assert (await buckets.take(wanted, ONE))[0].wait_ms
    await redis.flushall()
    assert not (await buckets.take(wanted, ONE))[0].wait_ms


async def test_a_refused_try_is_remembered_once(buckets: Buckets, redis: Redis) -> None:
    wanted = limits(Rate(requests=1))
    mark = tally("ten_x", new_id("m"))
    await buckets.take(wanted, ONE, mark)
    assert not await buckets.spend(mark), "that one passed"
    await buckets.take(wanted, ONE, mark)
    assert 0 < await redis.ttl(mark) <= 120
    assert [await buckets.spend(mark) for _ in range(2)] == [True, False]


async def test_nobody_waits_for_a_redis_that_is_away() -> None:
    nowhere = connect(Settings(_env_file=None, redis_url=f"redis://127.0.0.1:{free_port()}/0"))
    began = time.monotonic()
    with pytest.raises(Unavailable):
        await Buckets(nowhere).take(limits(Rate(1)), ONE)
    assert time.monotonic() - began < LIMITS_S + 0.5
    await nowhere.aclose()


def test_what_can_never_pass_is_told_so() -> None:
    wanted = limits(Rate(5, 100))
    check_size(wanted, Cost(1, 100))
    with pytest.raises(TooLarge, match=r"may take 101 tokens .* 100 a minute: it can never pass"):
        check_size(wanted, Cost(1, 101))
