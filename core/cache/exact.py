"""The exact cache: this process' memory in front of Redis. What goes wrong with it is a miss, never an error."""

import asyncio
import hashlib
import time
from dataclasses import dataclass, field
from typing import Any

import orjson
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from core.cache.memory import Memory
from core.cache.shared import Shared

log = structlog.get_logger(__name__)

# How long another process' purge may stay unnoticed here.
TURN_S = 1.0
# A Redis that takes longer is slower than many an answer; a job is then simply run.
PATIENCE_S = 0.25
_DIGEST = 16
DOWN = (RedisError, OSError, TimeoutError)


@dataclass
class Exact:
    """Entries are JSON objects. The caller's key says all that an answer depends on, the tenant apart."""

    memory: Memory
    shared: Shared
    _turns: dict[str, tuple[int, float]] = field(default_factory=dict)

    @classmethod
    def within(cls, redis: Redis, max_bytes: int) -> "Exact":
        return cls(Memory(max_bytes), Shared(redis, max_bytes))

    async def get(self, tenant: str, key: str) -> dict[str, Any] | None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                turn = await self._turn(tenant)
                if (near := self.memory.get((tenant, turn, key))) is not None:
                    return _read(near)
                found = await self.shared.get(tenant, key)
        except DOWN as error:
            log.debug("the cache is away; the job is run", error=repr(error))
            return None
        if found is None or (entry := _read(found[0])) is None:
            return None
        if "result" in entry:
            self.memory.put((tenant, turn, key), found[0], found[1])
        return entry

    async def put(self, tenant: str, key: str, entry: dict[str, Any], ttl_s: float) -> None:
        """Kept for every process. An entry without a result is a note, and not kept in this one."""
        value = _written(entry)
        try:
            async with asyncio.timeout(PATIENCE_S):
                if "result" in entry:
                    self.memory.put((tenant, await self._turn(tenant), key), value, ttl_s)
                await self.shared.put(tenant, key, value, ttl_s)
        except DOWN as error:
            log.debug("not kept in the cache", error=repr(error))

    async def purge(self, tenant: str) -> int:
        """Forget a tenant's entries: here now, in other processes within TURN_S. Raises what Redis raises."""
        gone = await self.shared.purge(tenant)
        self._turns.pop(tenant, None)
        return gone

    async def _turn(self, tenant: str) -> int:
        known = self._turns.get(tenant)
        now = time.monotonic()
        if known is not None and known[1] > now:
            return known[0]
        turn = await self.shared.turn(tenant)
        if len(self._turns) > 10_000:
            self._turns.clear()
        self._turns[tenant] = (turn, now + TURN_S)
        return turn


def _written(entry: dict[str, Any]) -> bytes:
    body = orjson.dumps(entry)
    return hashlib.sha256(body).digest()[:_DIGEST] + body


def _read(value: bytes) -> dict[str, Any] | None:
    """None for what is not what was written."""
    mark, body = value[:_DIGEST], value[_DIGEST:]
    if hashlib.sha256(body).digest()[:_DIGEST] != mark:
        log.warning("a cache entry is damaged; the job is run")
        return None
    entry: dict[str, Any] = orjson.loads(body)
    return entry
