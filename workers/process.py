"""What one worker process holds: its connections, its engine, the attempts it runs."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from core import telemetry
from core.catalog.models import Served
from core.catalog.tokenizer import Text
from core.config import Settings
from core.db.gather import Gather
from core.db.session import Database
from core.events.log import POKE_CHANNEL, ROOM, EventLog
from core.guard import vectors
from core.jobs import attempts, audit, batch, dataset, explain, finetune, kinds
from core.jobs.attempts import Claim, Outcome, Recorded
from core.jobs.kinds import RANKS, queue_name
from core.storage.seam import Storage
from workers.adapters import Adapters
from workers.answering.guards import Guards
from workers.context import Attempt, Voice, Why
from workers.engine import Embedder, Engine, Loaded
from workers.seats import Governor, Seats

# One statement for as many doorbells or endings as arrived together.
TOGETHER = 64
# Pieces of so many tokens go through the embedding model together, one at least (workers/answering/vectors.py):
# about two forward passes of its engine, so that texts of like lengths find each other. More would hold up
# whoever comes next for longer.
PASS_TOKENS = 2048
# Wishes for vectors of sentences that are answered at once, beside the jobs.
SENTENCES = 4
# Half of the doorbells that are out beyond the slots last longer than this.
ROOM_EVERY_S = 0.01


@dataclass(kw_only=True)
class Worker(ABC):
    """Lives on one event loop; Celery's thread only hands job ids to it."""

    id: str
    kind: str
    settings: Settings
    db: Database
    events: EventLog
    storage: Storage
    running: dict[str, Attempt] = field(default_factory=dict)
    draining: bool = False
    dead: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._empty = asyncio.Event()
        self._empty.set()
        self._freed = asyncio.Event()
        self.limits = kinds.limits(self.kind, self.settings)
        self.voice = Voice(self.events, self.settings.flush_ms / 1000)
        self.claim: Gather[str, Claim | None] = Gather(self._claim, TOGETHER)
        self.finish: Gather[Outcome, Recorded | None] = Gather(self._finish, TOGETHER)

    @abstractmethod
    def queues(self) -> list[str]:
        """Where its doorbells come from, in the order in which they are taken."""

    @property
    @abstractmethod
    def slots(self) -> int:
        """Jobs that run at once."""

    @property
    def drain_s(self) -> float:
        """How long its jobs may go on when it is told to stop."""
        return self.settings.drain_s

    async def give_way(self) -> None:  # noqa: B027 - most have nothing that could
        """Called each second: stop what should make room for a job of a higher priority."""

    def idle_s(self) -> float:
        """Seconds since what it drives last made progress; 0 when it has nothing to do, or sees to that itself."""
        return 0.0

    def loops(self) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
        """What runs beside its attempts for ever, by name."""
        return {}

    async def close(self) -> None:  # noqa: B027 - those without an engine drive nothing
        """End what it drives; nothing runs any more."""

    def start(self, attempt: Attempt) -> None:
        """An attempt runs here from now on."""
        self.running[attempt.claim.id] = attempt
        telemetry.RUNNING.set(len(self.running))
        self._empty.clear()

    def end(self, attempt: Attempt) -> None:
        """It was recorded, given back or lost."""
        self.running.pop(attempt.claim.id, None)
        telemetry.RUNNING.set(len(self.running))
        self._freed.set()
        if not self.running:
            self._empty.set()

    async def room(self) -> None:
        """Tell the dispatcher of free slots, for ever; many at once are one message.

        Without it a backlog would wait for the dispatcher's sweep each time its doorbells are used up.
        """
        while True:
            await self._freed.wait()
            self._freed.clear()
            await self.events.publish(POKE_CHANNEL, ROOM)
            await asyncio.sleep(ROOM_EVERY_S)

    async def emptied(self, timeout_s: float) -> bool:
        """Wait until nothing runs; False when something still does after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    async def _claim(self, job_ids: Sequence[str]) -> list[Claim | None]:
        async with self.db.single() as session:
            claims = await attempts.claim(
                session, job_ids, worker_id=self.id, lease_s=self.limits.lease_s
            )
        # The same doorbell twice in one batch is still one claim.
        ours = {c.id: c for c in claims}
        return [ours.pop(job_id, None) for job_id in job_ids]

    async def _finish(self, outcomes: Sequence[Outcome]) -> list[Recorded | None]:
        async with self.db.single() as session:
            ended = await attempts.finish(session, outcomes)
        return [ended.get(o.id) for o in outcomes]


@dataclass(kw_only=True)
class ModelWorker(Worker):
    """One with a model in it, for jobs and for lines of batches."""

    engine: Loaded
    model: Served
    text: Text

    def __post_init__(self) -> None:
        super().__post_init__()
        self.seats = Seats(Governor(self.slots), self._interactive)

    def queues(self) -> list[str]:
        """Jobs of its kind, then steps of its model's batches."""
        own = [queue_name(self.kind, priority, self.model.name) for priority in RANKS]
        return [*own, queue_name(batch.KIND, "batch", self.model.name)]

    @property
    def slots(self) -> int:
        """Jobs that run at once; lines of batches, too."""
        return self.settings.engine_max_sequences

    def idle_s(self) -> float:
        return self.engine.idle_s()

    async def close(self) -> None:
        await self.engine.close()

    def start(self, attempt: Attempt) -> None:
        super().start(attempt)
        self.seats.adjust()

    def end(self, attempt: Attempt) -> None:
        super().end(attempt)
        self.seats.adjust()

    def _interactive(self) -> int:
        """Only of its own kind: the lines of a batch and the items of an audit take seats, whatever its priority."""
        return sum(
            a.claim.kind == self.kind and a.claim.priority == "interactive"
            for a in self.running.values()
        )


@dataclass(kw_only=True)
class InferenceWorker(ModelWorker):
    """Its engine writes, many answers at once."""

    engine: Engine

    def __post_init__(self) -> None:
        super().__post_init__()
        self.adapters = Adapters(self.engine, self.settings, self.db, self.storage)
        self.guards = Guards(self.db, self.events)

    def loops(self) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
        return {"guards": self.guards.write}

    async def close(self) -> None:
        await self.guards.close()
        await super().close()

    def queues(self) -> list[str]:
        """Explanations and audits of its model last: what they ask takes seats as lines of batches do."""
        studies = [
            queue_name(kind, priority, self.model.name)
            for kind in (explain.KIND, audit.KIND)
            for priority in RANKS
        ]
        return [*super().queues(), *studies]


@dataclass(kw_only=True)
class EmbeddingWorker(ModelWorker):
    """Its engine makes vectors, of the texts of many jobs and lines at once."""

    engine: Embedder

    def __post_init__(self) -> None:
        super().__post_init__()
        self.embed: Gather[list[list[int]], list[bytes]] = Gather(
            self._embed, PASS_TOKENS, lambda piece: sum(map(len, piece))
        )
        # Held by a line of more than one piece (workers/batch/measuring.py).
        self.long = asyncio.Lock()

    @property
    def slots(self) -> int:
        return self.settings.embedding_slots

    def loops(self) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
        serve = partial(vectors.serve, self.events.redis, self.model.digest, self._measured)
        return {f"sentences-{number}": serve for number in range(SENTENCES)}

    async def _measured(self, texts: Sequence[str]) -> list[bytes | None]:
        """For who guards: no vector of a text that is longer than the model reads."""
        ids = [self.text.encode(one) for one in texts]
        whole = [one for one in ids if 0 < len(one) <= self.model.context]
        made = iter(await self.embed(whole))
        return [next(made) if 0 < len(one) <= self.model.context else None for one in ids]

    async def _embed(self, pieces: Sequence[list[list[int]]]) -> list[list[bytes]]:
        vectors = iter(await self.engine.embed([ids for piece in pieces for ids in piece]))
        return [[next(vectors) for _ in piece] for piece in pieces]


@dataclass(kw_only=True)
class FinetuneWorker(Worker):
    """It trains: each job in processes of its own, which it starts and watches (workers/finetune)."""

    def queues(self) -> list[str]:
        """Trainings before datasets, of any model."""
        kinds_ = (finetune.KIND, dataset.KIND)
        return [queue_name(kind, priority, "") for kind in kinds_ for priority in RANKS]

    @property
    def slots(self) -> int:
        return self.settings.finetune_slots

    @property
    def drain_s(self) -> float:
        """None: they save and go on elsewhere, which is no loss."""
        return 0.0

    async def give_way(self) -> None:
        """A training saves and makes room when no slot is free and a job of a higher priority waits."""
        if len(self.running) < self.slots:
            return
        lowest = max(self.running.values(), key=lambda a: (RANKS[a.claim.priority], a.began))
        rank = RANKS[lowest.claim.priority]
        if lowest.claim.kind not in kinds.PAUSABLE or not rank:
            return
        async with self.db.single() as session:
            if await attempts.outranked(session, self.queues(), rank):
                lowest.stop(Why.PREEMPTED)

    @property
    def folder(self) -> Path:
        """Scratch of its jobs, one folder each: nothing in there is needed after a crash."""
        return Path(self.settings.training_dir)
