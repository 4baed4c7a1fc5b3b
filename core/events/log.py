"""The live log of a job: a Redis stream whose ids are the event numbers, written by compare-and-append.

    writer  --append(attempt, events)-->  one Lua call:  FENCED    a newer attempt owns the log
                                                         HAVE n    Redis lost events: send from n + 1
                                                         APPENDED  and the bell is rung
    reader  --read(after)-->  the entries with higher numbers; the reader checks that none is missing

Redis may lose everything at any moment: Postgres holds every state change and the text so far
(core/jobs/history.py puts both together). Plain XADD with explicit ids is not enough: after a wipe it
takes event 701 on an empty stream and the head is gone (facts: a trial lost it that way).
"""

import hashlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import orjson
from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import NoScriptError, RedisError

from core.config import Settings
from core.errors import Unavailable
from core.events.types import Event

CANCEL_CHANNEL = "penstock:cancel"
POKE_CHANNEL = "penstock:poke"
# A poke that only says that a worker has room again: news for the dispatcher, not for the relay.
ROOM = "room"
_EPOCH = "penstock:epoch"
_EPOCH_MARGIN_S = 1.0
APPENDED, HAVE, FENCED = 1, 0, -1

# KEYS: stream, fence. ARGV: attempt, base, ttl (s), bell, then seq, body, private for each event.
# `base` is the first number this writer holds: what Redis lacks below it, Postgres has.
_APPEND = """
local attempt, base = tonumber(ARGV[1]), tonumber(ARGV[2])
local fence = tonumber(redis.call('GET', KEYS[2]) or '0')
if fence > attempt then return {-1, fence} end
local tip = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local last = 0
if tip[1] then
  local seq, owner = string.match(tip[1][1], '(%d+)-(%d+)')
  last = tonumber(seq)
  if tonumber(owner) > attempt then return {-1, tonumber(owner)} end
  -- What an older attempt said under our numbers was never vouched for.
  if tonumber(owner) < attempt and last >= base then redis.call('DEL', KEYS[1]); last = 0 end
end
local first = tonumber(ARGV[5])
-- A lost fence may have been a newer attempt's: let this one ask Postgres before it says more.
if fence == 0 and first > base then return {0, base - 1} end
if fence < attempt then redis.call('SET', KEYS[2], attempt) end
if first > last + 1 and first > base then return {0, math.max(last, base - 1)} end
for i = 5, #ARGV, 3 do
  local seq = tonumber(ARGV[i])
  if seq > last then
    local id = redis.pcall('XADD', KEYS[1], seq .. '-' .. attempt, 'e', ARGV[i + 1], 'p', ARGV[i + 2])
    -- A stream that was trimmed by hand takes no number twice: begin it anew.
    if type(id) == 'table' and id.err then redis.call('DEL', KEYS[1]); return {0, base - 1} end
    last = seq
  end
end
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[3])
redis.call('PUBLISH', ARGV[4], last)
return {1, last}
"""


class Entry(NamedTuple):
    """An event in the log, with what only the next attempt may see of it (token ids)."""

    event: Event
    private: bytes


@dataclass(slots=True)
class Append:
    """What one attempt has to say: contiguous entries, none yet known to be in Redis."""

    job_id: str
    attempt: int
    base: int
    entries: Sequence[Entry] = field(default_factory=list)


class Appended(NamedTuple):
    status: int
    last: int


def connect(settings: Settings, *, timeout_s: float = 2.0) -> Redis:
    """A client that never waits longer than `timeout_s` on a hung server."""
    pool = BlockingConnectionPool.from_url(
        settings.redis_url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        socket_keepalive=True,
        health_check_interval=10,
        max_connections=64,
        timeout=timeout_s,
    )
    # from_pool: closing the client closes its connections too.
    return Redis.from_pool(pool)


def stream_key(job_id: str) -> str:
    return f"penstock:log:{job_id}"


def fence_key(job_id: str) -> str:
    return f"penstock:fence:{job_id}"


def bell(job_id: str) -> str:
    return f"penstock:bell:{job_id}"


class EventLog:
    """The logs of all jobs in one Redis. Every method raises Unavailable when Redis does not answer."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self.redis = redis
        self._ttl = int(settings.log_ttl_h * 3600)
        self._sha = hashlib.sha1(_APPEND.encode()).hexdigest()  # noqa: S324 - how Redis names a script

    async def append(self, batch: Sequence[Append]) -> list[Appended]:
        """One round trip for all jobs of a worker; each answer is independent of the others."""
        async with self._errors():
            try:
                answers = await self._appended(batch)
            except NoScriptError:
                # It was restarted, or is new: nothing of the batch was run. redis-py's own way, asking
                # before each pipeline whether the script is there, doubles the round trips.
                await self.redis.script_load(_APPEND)
                answers = await self._appended(batch)
        return [Appended(int(status), int(last)) for status, last in answers]

    async def _appended(self, batch: Sequence[Append]) -> list[Any]:
        async with self.redis.pipeline(transaction=False) as pipe:
            for item in batch:
                arguments: list[Any] = [item.attempt, item.base, self._ttl, bell(item.job_id)]
                for event, private in item.entries:
                    arguments += (event.seq, event.type.encode() + b"\n" + event.body, private)
                keys = (stream_key(item.job_id), fence_key(item.job_id))
                pipe.execute_command("EVALSHA", self._sha, 2, *keys, *arguments)
            return await pipe.execute()

    async def read(self, job_id: str, after: int, limit: int = 500) -> list[Entry]:
        """Entries numbered above `after`, in order; a missing number shows as a jump."""
        async with self._errors():
            rows: Any = await self.redis.xrange(
                stream_key(job_id), f"{after + 1}-0", "+", count=limit
            )
        return [_entry(row) for row in rows]

    async def read_many(self, wanted: Sequence[tuple[str, int]], limit: int) -> list[list[Entry]]:
        """`read` for many (job, after) pairs in one round trip."""
        async with self._errors(), self.redis.pipeline(transaction=False) as pipe:
            for job_id, after in wanted:
                pipe.xrange(stream_key(job_id), f"{after + 1}-0", "+", count=limit)
            return [[_entry(row) for row in rows] for rows in await pipe.execute()]

    async def tip(self, job_id: str) -> int:
        """The highest number in the log; 0 when it is empty."""
        async with self._errors():
            rows: Any = await self.redis.xrevrange(stream_key(job_id), "+", "-", count=1)
        return _entry(rows[0]).event.seq if rows else 0

    async def fence(self, job_id: str, attempt: int, after: int) -> list[Entry]:
        """Refuse all attempts below `attempt` from now on; returns what was said after `after`."""
        async with self._errors(), self.redis.pipeline(transaction=True) as pipe:
            pipe.set(fence_key(job_id), attempt, ex=self._ttl)
            pipe.xrange(stream_key(job_id), f"{after + 1}-0", "+")
            _, rows = await pipe.execute()
        return [_entry(row) for row in rows]

    async def intact_since(self, now: datetime) -> datetime:
        """Since when this Redis has lost nothing: its last start or emptying, as the callers noticed it.

        `now` is the database's time; callers ask every second or so, so that a loss is dated late,
        never early.
        """
        asked = time.monotonic()
        async with self._errors():
            server: Any = await self.redis.info("server")
            run_id = server["run_id"]
            stored: Any = await self.redis.get(_EPOCH)
            mark = (stored or b"").decode()
            seen, _, since = mark.partition(" ")
            if seen == run_id:
                return datetime.fromisoformat(since)
            # The loss may be younger than the caller's `now`, by as long as this has taken so far.
            marked = now + timedelta(seconds=time.monotonic() - asked + _EPOCH_MARGIN_S)
            await self.redis.set(_EPOCH, f"{run_id} {marked.isoformat()}")
            return marked

    async def ring(self, *job_ids: str) -> None:
        """Tell the readers of these jobs to look again."""
        async with self._errors(), self.redis.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.publish(bell(job_id), b"")
            await pipe.execute()

    async def publish(self, channel: str, message: str) -> None:
        async with self._errors():
            await self.redis.publish(channel, message)

    @asynccontextmanager
    async def _errors(self) -> AsyncIterator[None]:
        try:
            yield
        except (RedisError, OSError) as error:
            raise Unavailable(f"Redis did not answer: {error!r}") from error


def _entry(row: Any) -> Entry:
    (stream_id, fields) = row
    seq = int(stream_id.partition(b"-")[0])
    kind, _, body = fields[b"e"].partition(b"\n")
    return Entry(Event(seq, kind.decode(), body), fields[b"p"])


def tokens(private: bytes) -> dict[str, Any]:
    """What an entry says only to the next attempt; {} when it says nothing."""
    return orjson.loads(private) if private else {}
