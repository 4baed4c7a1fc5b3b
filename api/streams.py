"""Live streams: one Redis subscription and one fetch a job for all the readers this process has.

    bell --> Hub: which jobs rang? --> one round trip for all of them --> each job's Topic
    Topic: the newest events, rendered once --> every reader takes from its own cursor

A reader that falls behind the Topic's tail reads from the log itself; it slows nobody. What the bell
missed, a sweep finds within a second; what Redis lost, Postgres tells (core/jobs/history.py).
"""

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError
from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.types import Text

from core import telemetry
from core.config import Settings
from core.db.session import Database
from core.errors import TooMany, Unavailable
from core.events.log import EventLog, bell
from core.events.types import Event
from core.jobs import history

log = structlog.get_logger(__name__)

TAIL = 256
SWEEP_S = 1.0

_SEQS = text("SELECT id, seq FROM jobs WHERE id = ANY(:ids)").bindparams(
    bindparam("ids", type_=ARRAY(Text))
)


class Tailed(NamedTuple):
    """An event and the number it follows: a reader anywhere in between may take it."""

    follows: int
    event: Event


class Topic:
    """One job that is being read."""

    def __init__(self) -> None:
        self.tip = 0
        self.tail: deque[Tailed] = deque(maxlen=TAIL)
        self.readers = 0
        self._changed = asyncio.Event()

    def add(self, events: list[Event]) -> None:
        for event in events:
            if event.seq > self.tip:
                self.tail.append(Tailed(self.tip, event))
                self.tip = event.seq
        self._changed.set()
        self._changed = asyncio.Event()

    def after(self, cursor: int) -> list[Event] | None:
        """What follows `cursor`; None when the tail does not reach back that far."""
        if cursor >= self.tip:
            return []
        ahead: list[Tailed] = []
        for entry in reversed(self.tail):
            if entry.event.seq <= cursor:
                break
            ahead.append(entry)
        found: list[Event] = []
        # The tail has a gap where a reader joined beyond it.
        for follows, event in reversed(ahead):
            if follows > cursor:
                break
            found.append(event)
            cursor = event.seq
        return found or None

    async def changed(self, timeout_s: float) -> bool:
        waiting = self._changed
        try:
            async with asyncio.timeout(timeout_s):
                await waiting.wait()
        except TimeoutError:
            return False
        return True


class Hub:
    """The streams of one API process."""

    def __init__(self, settings: Settings, database: Database, events: EventLog, redis: Redis):
        self._settings = settings
        self._db = database
        self._log = events
        self._redis = redis
        self._channel: PubSub | None = None
        self._topics: dict[str, Topic] = {}
        # By job, the number that its bell named; a bell without one is about something only Postgres knows.
        self._rang: dict[str, float] = {}
        self._work = asyncio.Event()
        # Of what has a bell and no log, such as a batch: its readers look in Postgres.
        self._watched: dict[str, set[asyncio.Event]] = {}
        self._open: dict[str, int] = {}

    def take_seat(self, tenant_id: str) -> Callable[[], None]:
        """A place among the open streams; call what it returns to leave it.

        Raises TooMany when the process or the tenant has its fill.
        """
        settings, held = self._settings, self._open.get(tenant_id, 0)
        if sum(self._open.values()) >= settings.sse_max_connections:
            raise TooMany(
                "This server's event streams are all taken; poll, or try later.",
                retry_after_s=5,
                code="too_many_streams",
            )
        if held >= settings.sse_max_connections_per_tenant:
            raise TooMany(
                "Your tenant's event streams are all taken; close some, or poll.",
                retry_after_s=5,
                code="too_many_streams",
            )
        self._open[tenant_id] = held + 1
        telemetry.STREAMS.inc()
        return lambda: self._leave(tenant_id)

    def _leave(self, tenant_id: str) -> None:
        telemetry.STREAMS.dec()
        self._open[tenant_id] -= 1
        if not self._open[tenant_id]:
            del self._open[tenant_id]

    async def follow(
        self, job_id: str, cursor: int, keepalive_s: float, *, known: int = 0
    ) -> AsyncIterator[list[Event]]:
        """Batches of what follows `cursor`, [] as a sign of life, until the job's last event.

        `known`: a number that Postgres vouches for, so that nobody need ask for a cursor up to it.
        """
        async with self._topic(job_id) as topic:
            # Unknown numbers are behind us until history says there is nothing more.
            behind = True
            while True:
                found = None if behind else topic.after(cursor)
                if found is None:
                    found = await history.read(self._db, self._log, job_id, cursor)
                    if behind and not found:
                        ended = False
                        if cursor > known:
                            known, ended = await history.reached(self._db, self._log, job_id)
                        if cursor > max(known, topic.tip):
                            # Redis lost this number, or nobody ever said it: such a reader waits alone,
                            # so that it takes nothing from the others.
                            if ended:
                                return
                            yield []
                            await asyncio.sleep(SWEEP_S)
                            continue
                        # From here on the topic looks ahead of us; what came meanwhile, it looks for now.
                        behind = False
                        topic.tip = max(topic.tip, cursor)
                        self._ring(job_id)
                if found:
                    yield found
                    cursor = found[-1].seq
                    if found[-1].terminal:
                        return
                elif not await topic.changed(keepalive_s if topic.tip <= cursor else SWEEP_S):
                    yield []

    @asynccontextmanager
    async def _topic(self, job_id: str) -> AsyncIterator[Topic]:
        topic = self._topics.get(job_id)
        if topic is None:
            topic = self._topics[job_id] = Topic()
            await self._subscribe(job_id)
        topic.readers += 1
        try:
            yield topic
        finally:
            topic.readers -= 1
            if not topic.readers:
                self._topics.pop(job_id, None)
                await self._unsubscribe(job_id)

    @asynccontextmanager
    async def watch(self, subject: str) -> AsyncIterator[asyncio.Event]:
        """An event that is set whenever the bell of `subject` rings; readers look each second in any case."""
        rang = asyncio.Event()
        watching = self._watched.setdefault(subject, set())
        watching.add(rang)
        try:
            if len(watching) == 1:
                await self._subscribe(subject)
            yield rang
        finally:
            watching.discard(rang)
            if not watching:
                self._watched.pop(subject, None)
                await self._unsubscribe(subject)

    async def _subscribe(self, job_id: str) -> None:
        try:
            if self._channel is not None:
                await self._channel.subscribe(bell(job_id))
        except (RedisError, OSError):
            log.debug("no bell for now; the sweep looks", job=job_id)

    async def _unsubscribe(self, job_id: str) -> None:
        try:
            if (
                self._channel is not None
                and job_id not in self._topics
                and job_id not in self._watched
            ):
                await self._channel.unsubscribe(bell(job_id))
        except (RedisError, OSError):
            log.debug("bell was already silent", job=job_id)

    async def listen(self) -> None:
        """The one subscription; raises when it breaks, and is then run again."""
        async with self._redis.pubsub() as channel:
            # A channel of our own keeps the connection in subscribed mode when nobody reads.
            await channel.subscribe(
                "penstock:hub", *(bell(j) for j in (*self._topics, *self._watched))
            )
            self._channel = channel
            for job_id in self._topics:
                self._ring(job_id)
            prefix = len(bell(""))
            try:
                while True:
                    message = await channel.get_message(
                        ignore_subscribe_messages=True, timeout=30.0
                    )
                    if message is not None:
                        said = message["data"]
                        self._ring(
                            message["channel"][prefix:].decode(), int(said) if said else math.inf
                        )
            finally:
                self._channel = None

    def _ring(self, job_id: str, number: float = math.inf) -> None:
        if job_id in self._watched:
            for rang in self._watched[job_id]:
                rang.set()
            return
        self._rang[job_id] = max(number, self._rang.get(job_id, 0))
        self._work.set()

    async def fetch(self) -> None:
        """Get what rang, for ever; everything that arrives meanwhile shares the next round trip."""
        while True:
            await self._work.wait()
            self._work.clear()
            rang, self._rang = self._rang, {}
            # Of several bells in a row the first look finds all that they tell of.
            news = [j for j, n in rang.items() if (t := self._topics.get(j)) and n > t.tip]
            await self._look(news, ask_postgres=True)
            # One turn of the loop for the readers before the next round trip.
            await asyncio.sleep(0)

    async def sweep(self) -> None:
        """Look at every job that is read, each second, in Postgres and then in Redis."""
        while True:
            await asyncio.sleep(SWEEP_S)
            watched = list(self._topics)
            if not watched:
                continue
            async with self._db.single() as session:
                rows = (await session.execute(_SEQS, {"ids": watched})).all()
            vouched = {row.id: row.seq for row in rows}
            await self._look(watched, ask_postgres=False)
            late = [j for j in watched if (t := self._topics.get(j)) and vouched.get(j, 0) > t.tip]
            await self._ask_postgres(late)

    async def _look(self, jobs: list[str], *, ask_postgres: bool) -> None:
        wanted = [(job_id, self._topics[job_id].tip) for job_id in jobs]
        silent: list[str] = []
        try:
            found = await self._log.read_many(wanted, 500) if wanted else []
        except Unavailable:
            found = [[] for _ in wanted]
        for (job_id, tip), entries in zip(wanted, found, strict=True):
            topic = self._topics.get(job_id)
            if topic is None or topic.tip != tip:
                continue
            if events := history.contiguous(entries, tip):
                topic.add(events)
            else:
                silent.append(job_id)
        if ask_postgres:
            await self._ask_postgres(silent)

    async def _ask_postgres(self, jobs: list[str]) -> None:
        for job_id in jobs:
            topic = self._topics.get(job_id)
            if topic is None or topic.tip == 0:
                continue
            try:
                async with self._db.single() as session:
                    events = await history.vouched(session, job_id, topic.tip)
            except (SQLAlchemyError, OSError) as error:
                log.warning("stream could not ask postgres; again on the sweep", error=repr(error))
                return
            if events:
                topic.add(events)
