"""Before a job is made: is there an answer already; and after: let later requests find its own."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import structlog
from sqlalchemy.exc import DBAPIError

from api.streams import Hub
from core import telemetry
from core.cache.exact import Exact
from core.catalog import models, tokenizer
from core.catalog.models import MEASURES, Served
from core.config import Settings
from core.db.session import Database
from core.errors import InvalidInput, NotFound
from core.events import types
from core.guard import service as guards
from core.jobs import alike, caching, embedding, service
from core.jobs.alike import Place
from core.jobs.hits import Hit
from core.jobs.job import State
from core.jobs.kinds import EmbeddingJob, InferenceJob
from core.jobs.submission import Submitted, Wish

log = structlog.get_logger(__name__)

# The vector of a text takes tens of milliseconds; an embedding worker that is this busy saves no time.
VECTOR_S = 2.0
# The job that makes a vector is of no use to anybody later, and must not pile up while no worker takes it.
VECTOR_WINDOW = "3s"
# No vector came in time: requests of the next seconds are run without waiting for theirs.
AWAY_S = 5.0
# How old may be what is known of a tenant's guard: an answer under another one is neither kept nor found.
GUARD_S = 1.0
# Vectors are counted against their bound once in so many that this process keeps.
BOUND_EVERY = 64
NO_PGVECTOR = (
    "needs Postgres with pgvector, and this one has none: install it, then run `penstock migrate`"
)


@dataclass(frozen=True, slots=True)
class Tried:
    """A wish after the look-up, with its hit when there is one, and where its own answer belongs."""

    wish: Wish
    outcome: str | None = None
    key: str = ""
    ttl_s: float = 0.0
    place: Place | None = None
    vector: list[float] | None = None
    guard: str = ""


@dataclass
class Caching:
    """`make`: records a job of ours and rings for it; `served`: the models of the catalog."""

    settings: Settings
    db: Database
    hub: Hub
    exact: Exact
    make: Callable[[Wish], Awaitable[Submitted]]
    served: Callable[[], Awaitable[list[Served]]]
    _away_until: float = 0.0
    _kept: int = 0
    _guards: dict[str, tuple[str, float]] = field(default_factory=dict)

    async def announce(self) -> None:
        """Say at the start what this database cannot do; while it is away it says so itself."""
        try:
            async with self.db.single() as session:
                if not await alike.there(session):
                    log.warning("the semantic cache is off", reason=f"it {NO_PGVECTOR}")
        except DBAPIError as error:
            log.debug("pgvector was not looked for", error=repr(error))

    async def tried(self, wish: Wish) -> Tried:
        """Raises InvalidInput for semantic mode where there is no embedding model or no pgvector."""
        spec = wish.spec
        if not isinstance(spec, InferenceJob):
            return Tried(wish)
        default = self.settings.cache_default if caching.repeatable(spec) else "off"
        mode = spec.cache.mode if spec.cache is not None else default
        if mode == "off":
            return Tried(wish)
        asked = spec.cache.ttl_s if spec.cache is not None else None
        guard = await self._guard(wish.caller.tenant_id)
        key, ttl_s = caching.key(spec, wish.model, guard), asked or self.settings.cache_ttl_s
        tried = Tried(wish, "miss", key, ttl_s, guard=guard)
        hit = await self._same(wish, tried)
        if hit is None and mode == "semantic":
            tried = await self._placed(tried, spec)
            hit = await self._alike(tried, spec)
        outcome = "miss" if hit is None else f"hit-{hit.mode}"
        telemetry.CACHE_LOOKUPS.labels(mode, outcome).inc()
        return replace(tried, wish=replace(wish, hit=hit), outcome=outcome)

    async def made(self, tried: Tried, done: Submitted) -> Submitted:
        """Note where the answer of a new job will be. The note is no answer until the job has succeeded."""
        if tried.outcome is None or done.replayed:
            return done
        if (done.job.guard or "") != tried.guard:
            # Its tenant's guard changed in between: it was run, and its answer belongs under another key.
            self._guards.pop(tried.wish.caller.tenant_id, None)
            return replace(done, cache="miss")
        if tried.outcome == "miss":
            tenant, until = tried.wish.caller.tenant_id, time.time() + tried.ttl_s
            note = {"job": done.job.id, "until": until}
            await self.exact.put(tenant, tried.key, note, tried.ttl_s)
            await self._keep(tried, done.job.id)
        return replace(done, cache=tried.outcome)

    def regarded(self, tenant_id: str) -> None:
        """A tenant's guard has changed; other processes notice within GUARD_S."""
        self._guards.pop(tenant_id, None)

    async def _guard(self, tenant_id: str) -> str:
        known = self._guards.get(tenant_id)
        if known is not None and time.monotonic() < known[1]:
            return known[0]
        async with self.db.single() as session:
            guard = await guards.active(session, tenant_id)
        if len(self._guards) > 10_000:
            self._guards.clear()
        self._guards[tenant_id] = (guard, time.monotonic() + GUARD_S)
        return guard

    async def _same(self, wish: Wish, tried: Tried) -> Hit | None:
        tenant, key = wish.caller.tenant_id, tried.key
        entry = await self.exact.get(tenant, key)
        if entry is None or (left_s := entry["until"] - time.time()) <= 0:
            return None
        if "result" not in entry:
            try:
                async with self.db.single() as session:
                    job = await service.get(session, wish.caller, entry["job"])
            except NotFound:
                return None
            if job.state != State.SUCCEEDED or job.result is None:
                return None
            if (job.guard or "") != tried.guard:
                return None
            entry |= {"result": job.result, "usage": job.usage or {}}
            await self.exact.put(tenant, key, entry, left_s)
        return Hit("exact", entry["job"], entry["result"], entry["usage"], guard=tried.guard)

    async def _placed(self, tried: Tried, spec: InferenceJob) -> Tried:
        """With the vector of its last user text; without one when that takes too long or cannot be."""
        embeds = models.resolve(
            "", await self.served(), self.settings, param="cache.mode", kind=MEASURES
        )
        async with self.db.single() as session:
            there = await alike.there(session)
        if not there:
            raise InvalidInput(
                f"cache.mode: semantic {NO_PGVECTOR}",
                param="cache.mode",
                code="unsupported_value",
            )
        vector = await self._vector(tried.wish, embeds, caching.last_text(spec) or "")
        context = caching.context(spec, tried.wish.model, embeds, tried.guard)
        place = Place(tried.wish.caller.tenant_id, context)
        return replace(tried, place=place, vector=vector)

    async def _alike(self, tried: Tried, spec: InferenceJob) -> Hit | None:
        if tried.place is None or tried.vector is None:
            return None
        asked = spec.cache.threshold if spec.cache is not None else None
        threshold, said = asked or self.settings.cache_threshold, caching.last_text(spec) or ""
        try:
            async with self.db.single() as session:
                return await alike.nearest(session, tried.place, said, tried.vector, threshold)
        except DBAPIError as error:
            # A look-up saves a run; one that fails must not cost an answer.
            log.warning("no vectors could be compared; the job is run", error=repr(error))
            return None

    async def _vector(self, wish: Wish, embeds: Served, said: str) -> list[float] | None:
        """By an ordinary embedding job of the same tenant, labelled as ours."""
        if time.monotonic() < self._away_until:
            return None
        spec = EmbeddingJob(
            kind="embedding",
            input=[said],
            metadata={"penstock": "cache"},
            completion_window=VECTOR_WINDOW,
        )
        try:
            text = await asyncio.to_thread(tokenizer.load, embeds.source)
            embedding.token_ids(spec, text, embeds.context)
        except InvalidInput:
            # Longer than the embedding model reads: nothing to compare, and no fault of the request.
            return None
        try:
            async with asyncio.timeout(VECTOR_S):
                job = (await self.make(Wish(wish.caller, spec, embeds))).job
                return await self._made_vector(job.id)
        except TimeoutError:
            self._away_until = time.monotonic() + AWAY_S
            log.warning("no vector in time; the job is run", seconds=VECTOR_S)
            return None

    async def _made_vector(self, job_id: str) -> list[float] | None:
        follow: Any = self.hub.follow(job_id, 0, self.settings.sse_keepalive_s)
        async with aclosing(follow) as batches:
            async for events in batches:
                for event in events:
                    if event.type == types.SUCCEEDED:
                        result = orjson.loads(event.body)["data"]["result"]
                        return embedding.floats(result["vectors"][0])
                    if event.terminal:
                        return None
        return None

    async def _keep(self, tried: Tried, job_id: str) -> None:
        most = self.settings.cache_max_bytes
        if tried.place is None or tried.vector is None or not most:
            return
        try:
            async with self.db.single() as session:
                await alike.keep(session, tried.place, tried.vector, job_id, tried.ttl_s)
                if self._kept % BOUND_EVERY == 0:
                    await alike.bound(session, most, len(tried.vector))
        except DBAPIError as error:
            # The job is accepted; that nobody finds its answer again costs a run.
            log.warning("a vector was not kept", error=repr(error))
        self._kept += 1
