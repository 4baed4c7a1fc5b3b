"""The guards of a worker: each read and compiled once, and what they met written down every second."""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy.exc import DBAPIError

from core import telemetry
from core.classifiers import listed
from core.db.session import Database
from core.errors import Refused
from core.events.log import EventLog
from core.forever import stopped
from core.guard import counting, service
from core.guard.counting import Note
from core.guard.guard import Guard, compiled
from core.guard.judging import Judging, Looks
from core.guard.routing import Similarity
from core.guard.settings import Router
from core.guard.vectors import Vectors

log = structlog.get_logger(__name__)

# Guards that are kept ready; one of many thousand terms takes some megabytes.
KEPT = 64
EVERY_S = 1.0
# For what is still judged when the worker stops.
LAST_S = 2.0
# Names of groups are the tenants' own, and a metric must not have more values than this.
GROUPS = 32


@dataclass(frozen=True)
class Guarding:
    """What answers of one request go by. `note(hits)`: an answer is finished, and this was met in it. `beside(work)`:
    have that done while the answer goes on."""

    guard: Guard
    judging: Judging | None
    note: Callable[[Counter[tuple[str, str]]], None]
    beside: Callable[[Coroutine[Any, Any, None]], object] = asyncio.ensure_future


@dataclass
class Guards:
    """Of one worker process."""

    db: Database
    events: EventLog
    _ready: OrderedDict[tuple[str, str], tuple[Guard, Judging | None]] = field(
        default_factory=OrderedDict
    )
    _notes: list[Note] = field(default_factory=list)
    _groups: set[str] = field(default_factory=set)
    _vectors: dict[str, Vectors] = field(default_factory=dict)
    _beside: set["asyncio.Task[None]"] = field(default_factory=set)

    async def of(
        self, tenant_id: str, digest: str, labels: Mapping[str, object]
    ) -> Guarding | None:
        """The guard that a job was accepted with; None: none. Raises Refused for one that is not there: a job
        must not be answered unguarded."""
        if not digest:
            return None
        guard, judging = await self._made(tenant_id, digest)
        monitor = guard.settings.monitor
        group = str(labels.get(monitor.group, ""))[:64] if monitor is not None else ""
        alpha = monitor.alpha if monitor is not None else 0.0

        def note(hits: Counter[tuple[str, str]]) -> None:
            self._notes.append(Note(tenant_id, group, dict(hits), alpha))
            for (category, action), count in hits.items():
                telemetry.GUARD_HITS.labels(category, self._label(group), action).inc(count)

        return Guarding(guard, judging, note, self._do)

    async def _made(self, tenant_id: str, digest: str) -> tuple[Guard, Judging | None]:
        key = (tenant_id, digest)
        if key in self._ready:
            self._ready.move_to_end(key)
            return self._ready[key]
        async with self.db.single() as session:
            settings = await service.version(session, tenant_id, digest)
        guard = None if settings is None else await asyncio.to_thread(compiled, settings)
        if guard is None:
            raise Refused(
                f"The guard {digest[:12]} that this job was accepted with cannot be read here"
            )
        judging = None
        if guard.settings.classifier is not None:
            classifier = await asyncio.to_thread(listed.classifier, guard.settings.classifier.name)
            router = guard.settings.router
            judging = Judging(guard, classifier, None if router is None else self._looks(router))
        self._ready[key] = (guard, judging)
        while len(self._ready) > KEPT:
            self._ready.popitem(last=False)
        return guard, judging

    def _looks(self, router: Router) -> Looks:
        # Guards of one embedding model ask together.
        if router.digest not in self._vectors:
            self._vectors[router.digest] = Vectors(self.events.redis, router.digest)
        similarity = Similarity(router, self._vectors[router.digest].of)
        similarity.begin()
        return similarity.looks

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    def _label(self, group: str) -> str:
        if group not in self._groups and len(self._groups) >= GROUPS:
            return "other"
        self._groups.add(group)
        return group

    async def write(self) -> None:
        """Write the counts down, for ever."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.written()

    async def close(self) -> None:
        """Have what was read and not judged yet judged, and all of it written."""
        if self._beside:
            await asyncio.wait(set(self._beside), timeout=LAST_S)
        await stopped(set(self._beside))
        await self.written()

    async def written(self) -> None:
        """What is not written yet; kept for the next time when Postgres is away."""
        notes, self._notes = self._notes, []
        if not notes:
            return
        try:
            async with self.db.begin() as session:
                alarms = await counting.record(session, notes)
        except (DBAPIError, OSError) as error:
            self._notes = [*notes, *self._notes][-10_000:]
            log.warning("the guard's counts were not written", error=repr(error))
            return
        for alarm in alarms:
            telemetry.GUARD_ALARMS.labels(alarm.category).inc()
            log.warning(
                "a gap between groups",
                tenant=alarm.tenant_id,
                category=alarm.category,
                group=alarm.group,
            )
