"""What a handler gets: the claim, the engine, and `say`; and the voice that carries what all attempts say.

handler --say(text)--> Attempt: pending text --seal--> numbered entries --Voice--> Redis, one
                                                                      round trip for all attempts
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import orjson
import structlog

from core.errors import Unavailable
from core.events import log as live
from core.events import types
from core.events.log import Append, Entry, EventLog
from core.jobs import kinds
from core.jobs.attempts import Claim

log = structlog.get_logger(__name__)


class Why(StrEnum):
    """Why an attempt was told to stop."""

    CANCELLED = "cancelled"
    EXPIRED = "expired"
    LOST = "lost"
    RELEASED = "released"
    PAUSED = "paused"
    PREEMPTED = "preempted"
    STALLED = "stalled"

    @property
    def saves(self) -> bool:
        """The attempt is still ours, and what it saves now is for the next one."""
        return self in (Why.RELEASED, Why.PAUSED, Why.PREEMPTED)


@dataclass(slots=True)
class Said:
    """What is still without a number of one answer."""

    text: list[str] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    finish: str | None = None
    raw: list[str] = field(default_factory=list)
    done: int | None = None
    pending: list[list[Any]] = field(default_factory=list)


class Attempt:
    """One claimed job while it runs here. Lives on the worker's event loop only."""

    def __init__(self, claim: Claim, voice: "Voice", lease_s: float) -> None:
        self.claim = claim
        self.voice = voice
        self.why: Why | None = None
        self.task: asyncio.Task[Any] | None = None
        now = time.monotonic()
        self.began = now
        self.last_progress = now
        self.renewed = now
        self.lease_ends = now + lease_s
        self.doubted: float | None = None
        self.deadline = now + claim.deadline_in_s if claim.deadline_in_s is not None else None
        self.ceiling = claim.seq_ceiling
        self.base = claim.seq
        self.appended = claim.seq - 1
        self.entries: list[Entry] = []
        self.said: list[dict[str, Any]] = []
        self._numbers: list[int] = []
        self._pending: dict[int, Said] = {}
        self._told: deque[tuple[str, datetime, dict[str, Any]]] = deque()
        self.first_say: float | None = None
        # What the job took so far, earlier attempts included; the handler tells, once it knows.
        before = (claim.progress or {}).get("took")
        self.took: Callable[[], dict[str, Any] | None] = lambda: before
        self._enter(types.STARTED, claim.started, {"worker": claim.worker_id})

    @property
    def seq(self) -> int:
        """The number of the last sealed event."""
        return self.base + len(self.entries) - 1

    def say(
        self,
        text: str,
        tokens: list[int],
        finish: str | None = None,
        *,
        index: int = 0,
        logprobs: Sequence[dict[str, Any]] = (),
    ) -> None:
        """Add to the answer, or to one of several. It is numbered and sent with the voice's next breath."""
        self.last_progress = time.monotonic()
        if self.first_say is None:
            self.first_say = self.last_progress
            self.voice.hurry()
        said = self._pending.setdefault(index, Said())
        said.text.append(text)
        said.tokens += tokens
        said.logprobs += logprobs
        said.finish = finish or said.finish
        self.voice.wake(self)

    def keep(self, index: int, raw: str, done: int, pending: list[list[Any]]) -> None:
        """What the next attempt alone may see of what is said next, of an answer that is guarded."""
        said = self._pending.setdefault(index, Said())
        said.raw.append(raw)
        said.done, said.pending = done, pending

    def tell(self, kind: str, data: dict[str, Any]) -> None:
        """Say something that is no text: progress, metrics, a checkpoint. Each becomes an event of its own."""
        self.last_progress = time.monotonic()
        self._told.append((kind, datetime.now(UTC), data))
        self.voice.wake(self)

    def seal(self) -> None:
        """Give what was said since the last seal its numbers, unless the numbers we may use are spent."""
        while self._told:
            if self.seq + 2 >= self.ceiling:
                return
            kind, at, data = self._told.popleft()
            self._enter(kind, at, data)
            self.said.append({"event": kind} | data)
            self._numbers.append(self.seq)
        for index in list(self._pending):
            if self.seq + 2 >= self.ceiling:
                return
            said = self._pending.pop(index)
            # How many, so that a client can show a rate; which ones is for the next attempt alone.
            public: dict[str, Any] = {"text": "".join(said.text), "tokens": len(said.tokens)}
            if index:
                public["index"] = index
            if said.logprobs:
                public["logprobs"] = said.logprobs
            # Whoever ends this job without us charges it from the log.
            private: dict[str, Any] = {
                "tokens": said.tokens, "finish": said.finish, "took": self.took()
            }  # fmt: skip
            if said.done is not None:
                private |= {"raw": "".join(said.raw), "done": said.done, "pending": said.pending}
            self._enter(types.OUTPUT_DELTA, datetime.now(UTC), public, private)
            self.said.append(public | private)
            self._numbers.append(self.seq)

    def end(self, kind: str, at: datetime, data: dict[str, Any]) -> None:
        """The last event, once Postgres holds the outcome under the number `seq + 1`."""
        self._enter(kind, at, data)
        # Postgres has just said that the job was ours, and nobody else can be told of it now.
        self.doubted, self.lease_ends = None, math.inf
        self.voice.hurry()
        self.voice.wake(self)

    def progress(self, upto: int | None = None) -> dict[str, Any] | None:
        """All that this job has said up to the number `upto`, earlier attempts included."""
        said = self.said
        if upto is not None:
            said = [s for s, number in zip(said, self._numbers, strict=True) if number <= upto]
        joined = kinds.join(self.claim.kind, self.claim.progress, said)
        took = self.took()
        return joined | {"took": took} if took is not None else joined

    def stop(self, why: Why) -> None:
        """End the handler from outside; the first reason stands."""
        if self.why is None and self.task is not None and not self.task.done():
            self.why = why
            self.task.cancel()

    def pending(self) -> Append:
        """What Redis has not acknowledged, sealed now; nothing while the job may be another's.

        A Redis that lost its fence refuses nobody: then only Postgres knows whose the numbers are, and
        the next heartbeat asks it. A process that was stopped past its lease is as silent.
        """
        self.seal()
        entries = self.entries[self.appended + 1 - self.base :]
        if self.doubted is not None or time.monotonic() >= self.lease_ends:
            entries = []
        return Append(self.claim.id, self.claim.attempt, self.base, entries)

    def _enter(
        self, kind: str, at: datetime, data: dict[str, Any], private: dict[str, Any] | None = None
    ) -> None:
        number = self.base + len(self.entries)
        event = types.event(number, kind, self.claim.id, self.claim.attempt, at, data)
        self.entries.append(Entry(event, orjson.dumps(private) if private else b""))


class Voice:
    """Appends what all attempts of this worker said, together, a few milliseconds after it was said."""

    def __init__(self, events: EventLog, flush_s: float) -> None:
        self._events = events
        self._flush_s = flush_s
        self._dirty: dict[Attempt, None] = {}
        self._work = asyncio.Event()
        self._hurry = asyncio.Event()
        self._quiet: dict[Attempt, asyncio.Event] = {}
        self.healthy = True

    def wake(self, attempt: Attempt) -> None:
        self._dirty[attempt] = None
        self._work.set()

    def hurry(self) -> None:
        """A first token or a last event: do not gather, send now."""
        self._hurry.set()

    async def drained(self, attempt: Attempt, timeout_s: float) -> bool:
        """Wait until Redis has all of it; False when it does not within `timeout_s`."""
        done = self._quiet.setdefault(attempt, asyncio.Event())
        self.wake(attempt)
        try:
            async with asyncio.timeout(timeout_s):
                await done.wait()
        except TimeoutError:
            return False
        finally:
            self._quiet.pop(attempt, None)
            self._dirty.pop(attempt, None)
        return True

    async def run(self) -> None:
        """Flush for ever; errors of Redis make it wait, nothing makes it end."""
        pause = 0.02
        while True:
            await self._work.wait()
            await self._breathe()
            self._work.clear()
            self._hurry.clear()
            batch, self._dirty = list(self._dirty), {}
            try:
                await self._flush(batch)
                self.healthy, pause = True, 0.02
            except Unavailable as error:
                if self.healthy:
                    log.warning("live log is away; jobs go on", error=str(error))
                self.healthy = False
                for attempt in batch:
                    self.wake(attempt)
                # A cut connection is mended at once; what is away longer is asked four times a second.
                await asyncio.sleep(pause)
                pause = min(pause * 2, 0.25)

    async def _breathe(self) -> None:
        # Many attempts at once share each round trip longer: the cost of an append is a worker's limit.
        pause = self._flush_s * max(1.0, len(self._dirty) / 8)
        try:
            async with asyncio.timeout(min(pause, 0.2)):
                await self._hurry.wait()
        except TimeoutError:
            return

    async def _flush(self, batch: list[Attempt]) -> None:
        appends = [a.pending() for a in batch]
        full = [(a, p) for a, p in zip(batch, appends, strict=True) if p.entries]
        for attempt, pending in zip(batch, appends, strict=True):
            if not pending.entries and (quiet := self._quiet.get(attempt)):
                quiet.set()
        if not full:
            return
        answers = await self._events.append([p for _, p in full])
        for (attempt, _), (status, last) in zip(full, answers, strict=True):
            if status == live.FENCED:
                attempt.appended = attempt.seq
                attempt.stop(Why.LOST)
            else:
                attempt.appended = max(last, attempt.base - 1)
            if status == live.HAVE and attempt.lease_ends < math.inf:
                # Redis lost some of it, perhaps a newer attempt's fence. After the next heartbeat, which
                # is now due, all of it is sent from there.
                attempt.doubted, attempt.renewed = time.monotonic(), -math.inf
            elif attempt.appended < attempt.seq:
                self.wake(attempt)
            elif quiet := self._quiet.get(attempt):
                quiet.set()
