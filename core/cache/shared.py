"""Answers kept in Redis for every API process, their bytes counted and bounded by one script.

Never by Redis' own maxmemory: the live logs and doorbells live in the same server, and must not be evicted.

    penstock:cache:e:<tenant>:<key>   an entry, with a time to live
    penstock:cache:used               the entries by when they were last used
    penstock:cache:sizes              the bytes of each
    penstock:cache:bytes              of all together
    penstock:cache:of:<tenant>        a tenant's entries
    penstock:cache:turn:<tenant>      how often the tenant had them all forgotten
"""

import time
from typing import Any

from redis.asyncio import Redis

P = "penstock:cache:"
# An entry's places in the four structures above, as Redis 6.2 and 7 keep them, roughly.
OVERHEAD = 600

_FORGET = """
local function forget(key)
  local size = redis.call('HGET', P .. 'sizes', key)
  if size then redis.call('DECRBY', P .. 'bytes', size) end
  redis.call('HDEL', P .. 'sizes', key)
  redis.call('ZREM', P .. 'used', key)
  redis.call('DEL', key)
  local tenant = string.match(key, '^' .. P .. 'e:(.*):%x+$')
  if tenant then redis.call('SREM', P .. 'of:' .. tenant, key) end
end
"""
_HEAD = f"local P = '{P}'\n{_FORGET}"
# An entry whose time is over is still counted until somebody asks for it or it is the least used: the
# count is never below the truth.
_GET = (
    _HEAD
    + """
local value = redis.call('GET', KEYS[1])
if value then redis.call('ZADD', P .. 'used', ARGV[1], KEYS[1]) else forget(KEYS[1]) end
return {value, redis.call('PTTL', KEYS[1])}
"""
)
_PUT = (
    _HEAD
    + """
forget(KEYS[1])
local size, most = tonumber(ARGV[3]), tonumber(ARGV[4])
if size > most then return 0 end
redis.call('SET', KEYS[1], ARGV[5], 'PX', ARGV[2])
redis.call('HSET', P .. 'sizes', KEYS[1], size)
redis.call('ZADD', P .. 'used', ARGV[1], KEYS[1])
redis.call('SADD', P .. 'of:' .. ARGV[6], KEYS[1])
local all = redis.call('INCRBY', P .. 'bytes', size)
while all > most do
  local oldest = redis.call('ZRANGE', P .. 'used', 0, 0)[1]
  if not oldest then redis.call('SET', P .. 'bytes', 0) break end
  forget(oldest)
  all = tonumber(redis.call('GET', P .. 'bytes'))
end
return 1
"""
)
_PURGE = (
    _HEAD
    + """
local keys = redis.call('SMEMBERS', P .. 'of:' .. ARGV[1])
for _, key in ipairs(keys) do forget(key) end
redis.call('INCR', P .. 'turn:' .. ARGV[1])
return #keys
"""
)


class Shared:
    """Raises what Redis raises; core/cache/exact.py makes a miss of it."""

    def __init__(self, redis: Redis, max_bytes: int) -> None:
        self._redis = redis
        self._max = max_bytes
        self._get: Any = redis.register_script(_GET)
        self._put: Any = redis.register_script(_PUT)
        self._purge: Any = redis.register_script(_PURGE)

    async def turn(self, tenant: str) -> int:
        return int(await self._redis.get(f"{P}turn:{tenant}") or 0)

    async def get(self, tenant: str, key: str) -> tuple[bytes, float] | None:
        """The entry and the seconds it has left."""
        value, left_ms = await self._get(keys=[_name(tenant, key)], args=[_now()])
        return None if value is None else (value, max(left_ms, 0) / 1000)

    async def put(self, tenant: str, key: str, value: bytes, ttl_s: float) -> None:
        name = _name(tenant, key)
        size = len(value) + 5 * len(name) + OVERHEAD
        args = [_now(), max(int(ttl_s * 1000), 1), size, self._max, value, tenant]
        await self._put(keys=[name], args=args)

    async def purge(self, tenant: str) -> int:
        """Forget all of a tenant's entries; returns how many there were."""
        return int(await self._purge(keys=[], args=[tenant]))

    async def bytes(self) -> int:
        """What the entries take, as counted."""
        return int(await self._redis.get(f"{P}bytes") or 0)


def _now() -> int:
    """Microseconds, for the order of use alone: clocks that differ only evict a little unfairly."""
    return time.time_ns() // 1000


def _name(tenant: str, key: str) -> str:
    return f"{P}e:{tenant}:{key}"
