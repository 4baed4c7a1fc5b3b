"""Rate limits: what a key and its tenant may take a minute, in buckets that Redis looks at in one step.

A bucket holds a minute's worth of requests or of tokens. What is taken leaks out of it evenly, so a caller may
take a minute's worth at once and then as fast as it leaks; after a minute at rest the bucket is gone. Up to four
buckets stand in the way of a request: each must have room, or nothing is taken from any.

Redis may lose the buckets: then everybody starts with full allowance, and no job is refused or lost by it.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from core.config import Settings
from core.errors import TooLarge, TooMany, Unavailable
from core.security.keys import Caller, Rate

# A request waits no longer for Redis than this, whatever is the matter with it.
LIMITS_S = 0.5
# A refused client is told to come back within a minute; one that has not by then begins anew.
TALLY_S = 120

# KEYS: a bucket each limit, then perhaps the tally of refused tries.
# ARGV: how long a tally is kept (s), then for each limit its size and what to take (below 0: to give back).
# Answers for each limit: wait until this fits (ms; 0: it does), what is left, until the bucket is empty (ms).
#
# A bucket is 'used at': what is in it, and when (microseconds) that was so. Kept as an amount, not as a time to
# be empty by (GCRA): whole requests then add up without rounding, and a changed limit keeps what was taken.
# Redis tells the time: API processes need not agree. Set back, it stops the leak for a moment, no longer.
# The millionth is for the rounding of a float: who comes back as told must find room.
_TAKE = """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local count = (#ARGV - 1) / 2
local used, wait, fits = {}, {}, true
for i = 1, count do
  local size, cost = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local u, at = string.match(redis.call('GET', KEYS[i]) or '0 0', '(%S+) (%S+)')
  used[i] = math.max(0, tonumber(u) - math.max(0, now - tonumber(at)) * (size / 60000000))
  wait[i] = 0
  if cost > 0 and used[i] + cost > size + 0.000001 then
    wait[i] = math.max(1, math.ceil((used[i] + cost - size) * 60000 / size))
    fits = false
  end
end
local answer = {}
for i = 1, count do
  local size, cost = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  if fits and cost ~= 0 then
    used[i] = math.max(0, used[i] + cost)
    local empty = math.ceil(used[i] * 60000 / size)
    if empty > 0 then
      redis.call('SET', KEYS[i], string.format('%.6f %.0f', used[i], now), 'PX', empty)
    else
      redis.call('DEL', KEYS[i])
    end
  end
  table.insert(answer, wait[i])
  table.insert(answer, math.max(0, math.floor(size - used[i] + 0.000001)))
  table.insert(answer, math.ceil(used[i] * 60000 / size))
end
if not fits and KEYS[count + 1] then
  redis.call('INCR', KEYS[count + 1])
  redis.call('EXPIRE', KEYS[count + 1], ARGV[1])
end
return answer
"""

# KEYS: a tally of refused tries, which gets one more. ARGV: how long it is kept (s).
_REMEMBER = """
redis.call('INCR', KEYS[1])
return redis.call('EXPIRE', KEYS[1], ARGV[1])
"""

# KEYS: a tally of refused tries. Answers 1 when there was one, which is then spent.
_SPEND = """
if tonumber(redis.call('GET', KEYS[1]) or '0') <= 0 then return 0 end
redis.call('DECR', KEYS[1])
return 1
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a request takes. `tokens`: what its jobs may take, told before they run."""

    requests: int = 0
    tokens: int = 0

    def __neg__(self) -> "Cost":
        return Cost(-self.requests, -self.tokens)


FREE = Cost()


@dataclass(frozen=True, slots=True)
class Limit:
    """`size`: so many `unit`s a minute, of the key or the tenant named by `whose`."""

    of: Literal["key", "tenant"]
    unit: Literal["requests", "tokens"]
    whose: str
    size: int
    bucket: str

    def cost(self, cost: Cost) -> int:
        return cost.requests if self.unit == "requests" else cost.tokens


class Level(NamedTuple):
    """How a limit stands. `wait_ms`: until what was asked for fits; 0 when it did."""

    limit: Limit
    wait_ms: int
    left: int
    reset_ms: int


def limits_of(caller: Caller, settings: Settings) -> list[Limit]:
    """The limits that a caller has: its own, where it has none the settings', and none where that is 0."""
    room = _room(caller.tenant_id)
    own: list[tuple[Literal["key", "tenant"], str, str, Rate, int, int]] = [
        (
            "key", caller.key_id, f"{room}:{caller.key_id}", caller.rate,
            settings.key_requests_per_minute, settings.key_tokens_per_minute,
        ),
        (
            "tenant", caller.tenant_id, room, caller.tenant_rate,
            settings.tenant_requests_per_minute, settings.tenant_tokens_per_minute,
        ),
    ]  # fmt: skip
    found = []
    for of, whose, name, rate, requests, tokens in own:
        if size := requests if rate.requests is None else rate.requests:
            found.append(Limit(of, "requests", whose, size, f"{name}:requests"))
        if size := tokens if rate.tokens is None else rate.tokens:
            found.append(Limit(of, "tokens", whose, size, f"{name}:tokens"))
    return found


def _room(tenant_id: str) -> str:
    # In braces: a Redis cluster keeps all that one step touches in one place.
    return f"penstock:rate:{{{tenant_id}}}"


def tally(tenant_id: str, mark: str) -> str:
    """Where the refused tries of one request are counted."""
    return f"{_room(tenant_id)}:refused:{mark}"


def check_size(limits: Sequence[Limit], cost: Cost) -> None:
    """Raises TooLarge for what would find no room in an empty bucket: trying again cannot help."""
    for limit in limits:
        if limit.cost(cost) > limit.size:
            raise TooLarge(
                f"This request may take {limit.cost(cost)} {limit.unit} (its prompt, and max_tokens for each "
                f"answer), and {limit.of} {limit.whose} may take {limit.size} a minute: it can never pass. "
                f"Ask for fewer, or have the limit raised: penstock {limit.of}s limit",
                code="over_rate_limit",
            )


def refusal(levels: Sequence[Level], cost: Cost) -> tuple[Limit, TooMany] | None:
    """The limit that is to be waited for longest, and its error; None when everything fitted."""
    worst = max(levels, key=lambda level: level.wait_ms)
    if not worst.wait_ms:
        return None
    limit, wait_s = worst.limit, worst.wait_ms / 1000
    asked = f" and this request may take {limit.cost(cost)}" if limit.unit == "tokens" else ""
    return limit, TooMany(
        f"Rate limit of {limit.of} {limit.whose}: {limit.size} {limit.unit} a minute. "
        f"{worst.left} left{asked}; try again in {wait_s:g} s.",
        retry_after_s=wait_s,
    )


class Buckets:
    """The buckets in one Redis. Every method raises Unavailable when Redis has not answered in LIMITS_S."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def take(
        self, limits: Sequence[Limit], cost: Cost, refused: str | None = None
    ) -> list[Level]:
        """Take `cost` from each bucket, or from none when one has no room. One round trip.

        `refused`: the tally that a refusal adds to.
        """
        arguments: list[int] = [TALLY_S]
        for limit in limits:
            arguments += (limit.size, limit.cost(cost))
        keys = [limit.bucket for limit in limits]
        if refused is not None:
            keys.append(refused)
        told = await self._run(_TAKE, keys, arguments)
        return [Level(limit, *told[3 * i : 3 * i + 3]) for i, limit in enumerate(limits)]

    async def remember(self, refused: str) -> None:
        """One more refused try."""
        await self._run(_REMEMBER, [refused], [TALLY_S])

    async def spend(self, refused: str) -> bool:
        """Whether the tally knew of a refused try, which it now forgets."""
        return bool(await self._run(_SPEND, [refused], []))

    async def _run(self, script: str, keys: list[str], arguments: list[int]) -> Any:
        sha = hashlib.sha1(script.encode()).hexdigest()  # noqa: S324 - how Redis names a script
        run: Callable[..., Awaitable[Any]] = self._redis.execute_command
        try:
            async with asyncio.timeout(LIMITS_S):
                try:
                    return await run("EVALSHA", sha, len(keys), *keys, *arguments)
                except NoScriptError:
                    # It was restarted, or is new: nothing was run.
                    return await run("EVAL", script, len(keys), *keys, *arguments)
        except (RedisError, OSError) as error:
            raise Unavailable(f"Redis did not answer: {error!r}") from error
