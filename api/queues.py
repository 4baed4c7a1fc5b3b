"""The queues as one API process knows them: a look at each, a second old at most, and who may still be let in."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from core.config import Settings
from core.db.session import Database
from core.errors import TooMany
from core.jobs.job import Job, State
from core.jobs.kinds import queue_of
from core.jobs.line import Line, look
from core.jobs.outlook import Outlook, outlooks
from core.jobs.submission import Wish, known

# A look is good for so long, and for so many times what it took: a walk over 100,000 waiting jobs takes 40 ms,
# and looks may take a twenty-fifth of a connection's time.
FRESH_S = 1.0
TIMES = 25
# Clients wait no longer than this when told to: OpenAI's would give up instead.
MOST_S = 60.0
# Room that a refused client should find when it comes back: a hundredth of the limit.
ROOM = 100
# When nothing is known of a queue's speed.
UNKNOWN_S = 5.0


@dataclass
class _Seen:
    """A queue's last look, and what this process has let in that the look may not have counted."""

    line: Line
    until: float
    added: Counter[str]
    total: int = field(init=False)

    def __post_init__(self) -> None:
        self.total = self.line.waiting() + self.added.total()

    def add(self, tenant: str, count: int) -> None:
        self.added[tenant] += count
        self.total += count

    def of(self, tenant: str) -> int:
        return self.line.waiting(tenant) + self.added[tenant]


class Queues:
    """Lives on one event loop. Several API processes let in what each other lets in within a look's age."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._db, self._settings = database, settings
        self._seen: dict[str, _Seen] = {}
        self._looking: dict[str, asyncio.Task[_Seen]] = {}
        # Let in, and not committed or refused yet.
        self._coming: dict[str, Counter[str]] = {}

    async def line(self, queue: str) -> Line:
        return (await self._fresh(queue)).line

    async def outlooks(self, jobs: Sequence[Job]) -> dict[str, Outlook]:
        """Where those of these jobs of one tenant stand that have not ended, by id. Holds no connection while it
        waits for a look: looks need one, too."""
        live = [job for job in jobs if job.state in (State.QUEUED, State.RUNNING)]
        lines = {queue: await self.line(queue) for queue in {job.queue for job in live}}
        async with self._db.single() as session:
            return await outlooks(session, live, lines)

    @asynccontextmanager
    async def admitted(self, wishes: Sequence[Wish]) -> AsyncIterator[None]:
        """Hold places for these wishes of one caller and queue while they are recorded.

        Raises TooMany when the queue has none left, before anything is recorded. Those whose idempotency
        key has a job already are let through: they make no new one.
        """
        # What a cache answers never waits.
        wishes = [wish for wish in wishes if wish.hit is None]
        if not wishes:
            yield
            return
        one = wishes[0]
        queue = queue_of(one.spec, one.model)
        tenant, count = one.caller.tenant_id, len(wishes)
        seen = await self._fresh(queue)
        if refusal := self._refusal(queue, seen, tenant, count):
            async with self._db.single() as session:
                count -= sum(await known(session, wishes))
            if count:
                raise refusal
        coming = self._coming.setdefault(queue, Counter())
        coming[tenant] += count
        seen.add(tenant, count)
        try:
            yield
        except BaseException:
            seen.add(tenant, -count)
            raise
        finally:
            coming[tenant] -= count
            if not coming[tenant]:
                del coming[tenant]

    def _refusal(self, queue: str, seen: _Seen, tenant: str, count: int) -> TooMany | None:
        for name, limit, waiting, of in (
            ("PENSTOCK_QUEUE_LIMIT_PER_TENANT", self._settings.queue_limit_per_tenant,
             seen.of(tenant), "of your jobs wait"),
            ("PENSTOCK_QUEUE_LIMIT", self._settings.queue_limit, seen.total, "jobs wait"),
        ):  # fmt: skip
            if waiting + count > limit:
                over = waiting + count - limit + limit // ROOM
                drains_s = seen.line.drains_s(over)
                after_s = min(max(UNKNOWN_S if drains_s is None else drains_s, FRESH_S), MOST_S)
                return TooMany(
                    f"{waiting} {of} in the queue {queue} and its limit is {limit} ({name}). Nothing was "
                    f"recorded: send it again in {after_s:.0f} s, or wait for some of your jobs to end.",
                    code="queue_full",
                    retry_after_s=after_s,
                )
        return None

    async def _fresh(self, queue: str) -> _Seen:
        seen = self._seen.get(queue)
        if seen is not None and time.monotonic() < seen.until:
            return seen
        task = self._looking.get(queue)
        if task is None:
            task = self._looking[queue] = asyncio.create_task(self._look(queue))
            task.add_done_callback(lambda _: self._looking.pop(queue, None))
        # One caller that leaves must not take the others' look along.
        return await asyncio.shield(task)

    async def _look(self, queue: str) -> _Seen:
        began = time.monotonic()
        before = self._seen.get(queue)
        added = Counter(self._coming.get(queue, ()))
        earlier = Counter(before.added) if before is not None else Counter[str]()
        async with self._db.single() as session:
            line = await look(session, queue)
        took = time.monotonic() - began
        # What was let in while we looked may be counted or not: rather a few too many than too few.
        if before is not None:
            added += before.added - earlier
        seen = _Seen(line, time.monotonic() + max(FRESH_S, TIMES * took), added)
        self._seen[queue] = seen
        return seen
