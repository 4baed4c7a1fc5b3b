"""Random histories of one job's log on a real Redis and a real Postgres: what readers were told stays true.

A history is a chain of attempts that say words, while replies get lost, Redis loses a tail, a stream or
everything, dead attempts go on writing, and new ones take over. Readers look in between. Whatever happens:
no reader meets a number twice or a hole, two readers never hear different things under one number, and
at one number all of them hold the same text.
"""

import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from core.catalog.models import Served
from core.config import Settings
from core.db.session import Database
from core.events import types
from core.events.log import _EPOCH, Entry, EventLog, connect, fence_key, stream_key
from core.jobs import attempts, history, rescue, service
from core.jobs.attempts import Outcome, Renewal, Requeue
from core.jobs.job import State
from core.jobs.kinds import InferenceJob
from core.security.keys import Caller
from infra.folder import free_port
from tests.fakes import webhooks as given
from tests.reader import Reader
from tests.rig import Rig
from workers.context import Attempt, Voice

HISTORIES = int(os.environ.get("PENSTOCK_FUZZ_HISTORIES", "60"))
STEPS = 18
SEED = int(os.environ.get("PENSTOCK_SEED", random.SystemRandom().randrange(10**6)))


@dataclass
class Store:
    """The two stores, and a log whose Redis never answers."""

    config: Settings
    db: Database
    log: EventLog
    away: EventLog
    caller: Caller
    run_id: str


@pytest.fixture(scope="module")
async def store(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Store]:
    rig = Rig(tmp_path_factory.mktemp("fuzz"))
    try:
        rig.start_stack()
        config = rig.settings()
        db = Database(config, name="test", pool=4)
        redis = connect(config)
        nowhere = connect(
            config.model_copy(update={"redis_url": f"redis://127.0.0.1:{free_port()}/0"})
        )
        # Nothing here is about durable commits, and there are thousands of them.
        await given.run(db, "ALTER DATABASE penstock SET synchronous_commit = off")
        await db.engine.dispose()
        caller = await given.tenant(db)
        run_id = (await redis.info("server"))["run_id"]
        yield Store(config, db, EventLog(redis, config), EventLog(nowhere, config), caller, run_id)
        await redis.aclose()
        await nowhere.aclose()
        await db.close()
    finally:
        rig.end()


@dataclass
class History:
    """One job, the attempt that owns it, those that owned it, and everything any reader was told."""

    store: Store
    chance: random.Random
    job_id: str
    counts: Counter[str]
    current: Attempt | None = None
    stale: list[Attempt] = field(default_factory=list)
    readers: list[Reader] = field(default_factory=list)
    told: dict[int, bytes] = field(default_factory=dict)
    texts: dict[int, str] = field(default_factory=dict)
    words: int = 0

    # What attempts do.

    async def claim(self) -> None:
        # Long enough after the last loss for a rescuer to have dated it before this attempt.
        mark = f"{self.store.run_id} 2020-01-01T00:00:00+00:00"
        await self.store.log.redis.set(_EPOCH, mark)
        async with self.store.db.begin() as session:
            claims = await attempts.claim(session, [self.job_id], worker_id="w", lease_s=3600)
        assert len(claims) == 1
        self.current = Attempt(claims[0], Voice(self.store.log, 0), 3600)
        await self.flush()

    async def say(self) -> None:
        if self.current is not None:
            self._say(self.current)
            await self.flush()

    def _say(self, attempt: Attempt) -> None:
        for _ in range(self.chance.randint(1, 3)):
            self.words += 1
            attempt.say(f" {attempt.claim.attempt}:{self.words}", [self.words])
            attempt.seal()

    async def flush(self) -> None:
        if self.current is not None:
            await self._flush(self.current)

    async def _flush(self, attempt: Attempt) -> None:
        sure = attempt.doubted is None
        await attempt.voice._flush([attempt])
        if sure and attempt.doubted is not None:
            self.counts["HAVE"] += 1

    async def lost_reply(self) -> None:
        """Redis did it, and nobody heard."""
        if self.current is not None:
            self._say(self.current)
            if (pending := self.current.pending()).entries:
                await self.store.log.append([pending])

    async def unsaid(self) -> None:
        """The attempt runs on while Redis is away."""
        if self.current is not None:
            self._say(self.current)

    async def renew(self) -> None:
        if (one := self.current) is not None:
            asked = time.monotonic()
            # As workers.pulse does: what Redis has, or all of it while Redis is away.
            seq = max(self.chance.choice([one.appended, one.seq]), one.base)
            renewal = Renewal(self.job_id, one.claim.attempt, seq, one.progress(seq))
            async with self.store.db.begin() as session:
                renewed = await attempts.renew(session, [renewal], lease_s=3600)
            one.ceiling = renewed[self.job_id].seq_ceiling
            if one.doubted is not None and one.doubted <= asked:
                one.doubted = None

    async def stale_says(self) -> None:
        """A dead attempt comes back to life: its process was stopped, or its lock was taken for free."""
        if self.stale:
            one = self.chance.choice(self.stale)
            if self.chance.random() < 0.5:
                one.lease_ends = 0.0
            one.appended = min(one.appended, one.seq)
            self._say(one)
            fenced = one.lease_ends and one.doubted is None
            await self._flush(one)
            self.counts["FENCED" if fenced and one.appended == one.seq else "stale silent"] += 1

    # How attempts are lost.

    async def rescued(self) -> None:
        """The lease runs out; the rescuer decides, with Redis or without it."""
        if (one := self.current) is None:
            return
        log = self.store.away if self.chance.random() < 0.15 else self.store.log
        await given.run(
            self.store.db,
            "UPDATE jobs SET lease_until = now() - interval '1 h' WHERE id = :id",
            id=self.job_id,
        )
        async with self.store.db.begin() as session:
            done = await rescue.rescue(session, log, dead_workers=[], max_attempts=1000)
        assert [(r.id, r.state) for r in done] == [(self.job_id, State.QUEUED)]
        self.stale.append(one)
        self.current = None
        self.counts["rescues"] += 1
        if self.chance.random() < 0.3:
            await self.lose()
        await self.take_over()

    async def released(self) -> None:
        """The worker hands the job back."""
        if (one := self.current) is None:
            return
        one.seal()
        back = Requeue(
            self.job_id, one.claim.attempt, one.seq + 1, one.progress(), "released", False
        )
        async with self.store.db.begin() as session:
            recorded = await attempts.requeue(session, back)
        assert recorded is not None
        self.current = None
        if self.chance.random() < 0.7:
            one.end(types.REQUEUED, recorded.at, recorded.data)
            await self._flush(one)
        await self.take_over()

    async def take_over(self) -> None:
        for _ in range(self.chance.randint(0, 3)):
            await self.chance.choice([self.read, self.read, self.stale_says, self.lose])()
        await self.claim()

    # What Redis does.

    async def lose(self) -> None:
        """A restart that lost the last second, or everything. Either shows: the mark is gone too."""
        stream, fence = stream_key(self.job_id), fence_key(self.job_id)
        redis = self.store.log.redis
        entries: Any = await redis.xrange(stream)
        async with redis.pipeline(transaction=True) as pipe:
            pipe.delete(_EPOCH)
            match self.chance.choice(["tail", "tail", "trimmed", "all", "all", "stream"]):
                case "tail":
                    # As the append-only file would have it: the stream never had them.
                    pipe.delete(stream)
                    for entry_id, fields in entries[: -self.chance.randint(1, 4)]:
                        pipe.xadd(stream, fields, entry_id)
                case "trimmed":
                    for entry_id, _ in entries[-self.chance.randint(1, 4) :]:
                        pipe.xdel(stream, entry_id)
                case "stream":
                    pipe.delete(stream)
                case "all":
                    pipe.delete(stream, fence)
            await pipe.execute()
        self.counts["losses"] += 1

    # What readers see.

    async def read(self) -> None:
        if not self.readers or (len(self.readers) < 4 and self.chance.random() < 0.3):
            self.readers.append(Reader(self.job_id))
        await self._read(self.chance.choice(self.readers), self.chance.choice([1, 3, 500]))

    async def _read(self, reader: Reader, limit: int) -> int:
        log = self.store.away if self.chance.random() < 0.05 else self.store.log
        events = await history.read(self.store.db, log, self.job_id, reader.cursor, limit)
        for event in events:
            body = orjson.loads(event.body)
            reader.take(body)
            if event.type == types.SNAPSHOT:
                self.counts["snapshots"] += 1
            else:
                assert self.told.setdefault(event.seq, event.body) == event.body
            assert self.texts.setdefault(event.seq, reader.text) == reader.text
        self.counts["events"] += len(events)
        return len(events)

    async def end(self) -> None:
        """The owner succeeds; then every reader, and a new one, gets to the same end."""
        one = self.current
        assert one is not None
        one.seal()
        result = {"text": (one.progress() or {})["text"], "finish_reason": "length"}
        outcome = Outcome(
            self.job_id, one.claim.attempt, State.SUCCEEDED, one.seq + 1, result=result
        )
        async with self.store.db.begin() as session:
            recorded = (await attempts.finish(session, [outcome]))[self.job_id]
        if self.chance.random() < 0.5:
            one.end(types.SUCCEEDED, recorded.at, recorded.data)
            await self._flush(one)
        if self.chance.random() < 0.5:
            await self.lose()
        for reader in [*self.readers, Reader(self.job_id)]:
            while await self._read(reader, 500):
                continue
            assert reader.ended
            assert reader.text == result["text"]


async def _history(store: Store, number: int, counts: Counter[str]) -> None:
    chance = random.Random(f"{SEED}-{number}")
    one = await _begun(store, chance, counts)
    steps = [one.say] * 8 + [one.read] * 8 + [one.renew] * 3 + [one.lose] * 2 + [one.stale_says] * 2
    steps += [one.lost_reply, one.unsaid, one.flush, one.rescued, one.released]
    for _ in range(STEPS):
        counts["steps"] += 1
        await chance.choice(steps)()
    await one.end()


async def test_no_history_tells_two_stories(store: Store) -> None:
    """PENSTOCK_SEED repeats a run; the number of the history that failed is in its error."""
    counts: Counter[str] = Counter()
    for number in range(HISTORIES):
        try:
            await _history(store, number, counts)
        except AssertionError as error:
            error.add_note(f"PENSTOCK_SEED={SEED}, history {number}")
            raise
    print(f"\nlog fuzz: seed {SEED}, {HISTORIES} histories, {dict(counts)}")
    for walked in ("HAVE", "FENCED", "stale silent", "rescues", "losses", "snapshots"):
        assert counts[walked] > 0, walked


async def test_a_stale_attempt_asks_before_it_speaks_to_a_redis_without_its_fence(
    store: Store,
) -> None:
    """Within its lease by its own clock, rescued by its lost lock, and the fence is gone with all of Redis."""
    one = await _begun(store)
    await one.say()
    stale = one.current
    assert stale is not None
    await given.run(
        store.db,
        "UPDATE jobs SET lease_until = now() - interval '1 h' WHERE id = :id",
        id=one.job_id,
    )
    async with store.db.begin() as session:
        await rescue.rescue(session, store.log, dead_workers=[], max_attempts=9)
    await store.log.redis.delete(stream_key(one.job_id), fence_key(one.job_id), _EPOCH)
    stale.say(" not mine any more", [1])
    await stale.voice._flush([stale])
    assert stale.doubted is not None
    await stale.voice._flush([stale])
    assert await store.log.read(one.job_id, 0) == []
    # The heartbeat that is due now tells it.
    async with store.db.begin() as session:
        renewal = Renewal(one.job_id, stale.claim.attempt, stale.seq, stale.progress())
        assert await attempts.renew(session, [renewal], lease_s=1) == {}


async def test_a_redis_emptied_during_the_rescue_costs_a_snapshot_and_no_number(
    store: Store,
) -> None:
    """The fence then finds nothing to read, though readers may have read it: no number is used again."""
    one = await _begun(store)
    await one.say()
    attempt = one.current
    assert attempt is not None

    class Emptied(EventLog):
        """Loses everything between being asked how whole it is and being fenced."""

        async def fence(self, job_id: str, attempt: int, after: int) -> list[Entry]:
            await self.redis.delete(stream_key(job_id), fence_key(job_id), _EPOCH)
            return await super().fence(job_id, attempt, after)

    await given.run(
        store.db,
        "UPDATE jobs SET lease_until = now() - interval '1 h' WHERE id = :id",
        id=one.job_id,
    )
    async with store.db.begin() as session:
        emptied = Emptied(store.log.redis, store.config)
        await rescue.rescue(session, emptied, dead_workers=[], max_attempts=9)
    row = await given.row(store.db, "jobs", one.job_id)
    assert row["seq"] > attempt.ceiling


async def _begun(
    store: Store, chance: random.Random | None = None, counts: Counter[str] | None = None
) -> History:
    spec = InferenceJob(kind="inference", prompt="fuzz")
    async with store.db.begin() as session:
        job = (await service.submit(session, store.caller, spec, Served("fuzz", "fuzz", 2048))).job
    one = History(
        store, chance or random.Random(1), job.id, Counter() if counts is None else counts
    )
    await one.claim()
    return one
