"""Rate limits around what makes jobs: taken before anything is recorded, given back for what made none."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace

import structlog

from core import telemetry
from core.config import Settings
from core.db.session import Database
from core.errors import TooMany, Unavailable
from core.jobs import submission
from core.jobs.kinds import reservation
from core.jobs.submission import Repeat, Submitted, Wish
from core.security.keys import Caller
from core.security.limits import (
    FREE,
    Buckets,
    Cost,
    Level,
    Limit,
    check_size,
    limits_of,
    refusal,
    tally,
)

log = structlog.get_logger(__name__)

# Redis did not answer: so long nobody else waits for it.
AWAY_S = 1.0
# What the answer to the request under way says of its limits, whatever it turns out to be.
_told: ContextVar[dict[str, str] | None] = ContextVar("told", default=None)


def telling() -> dict[str, str]:
    """The headers that this request's answer will have, filled in as they become known."""
    headers: dict[str, str] = {}
    _told.set(headers)
    return headers


def _tell(levels: Sequence[Level]) -> None:
    headers = _told.get()
    if headers is None:
        return
    # The looser first, so that the tighter of key and tenant stays.
    for level in sorted(levels, key=lambda level: -level.left):
        unit = level.limit.unit
        headers[f"x-ratelimit-limit-{unit}"] = str(level.limit.size)
        headers[f"x-ratelimit-remaining-{unit}"] = str(level.left)
        headers[f"x-ratelimit-reset-{unit}"] = duration(level.reset_ms)


def duration(ms: int) -> str:
    """As OpenAI writes it: 0s, 120ms, 1.5s, 1m0s."""
    if 0 < ms < 1000:
        return f"{ms}ms"
    minutes, rest = divmod(ms, 60_000)
    seconds = f"{rest / 1000:g}s"
    return f"{minutes}m{seconds}" if minutes else seconds


@dataclass
class Taken:
    """What a request was charged. `wishes`: as they are to be recorded; `spared`: what is given back at the end."""

    cost: Cost = FREE
    wishes: Sequence[Wish] = ()
    new: Sequence[bool] = ()
    spared: Cost = field(default=FREE)

    def spare(self, cost: Cost) -> None:
        self.spared = cost

    def settle(self, done: Sequence[Submitted]) -> None:
        """A twin was quicker: what was charged for as new is a replay after all."""
        if self.cost == FREE:
            return
        late = [n and d.replayed for n, d in zip(self.new, done, strict=True)]
        made = any(n and not d.replayed for n, d in zip(self.new, done, strict=True))
        # Nor does what a cache answered take any tokens.
        tokens = sum(
            _tokens(wish)
            for wish, new, replayed in zip(self.wishes, self.new, late, strict=True)
            if replayed or (new and wish.hit is not None)
        )
        self.spared = Cost(0 if made else self.cost.requests, tokens)


class RateLimits:
    """Who has no limit costs nothing here, but for a further try, which is looked up in Redis."""

    def __init__(self, settings: Settings, db: Database, buckets: Buckets) -> None:
        self._settings = settings
        self._db = db
        self._buckets = buckets
        self._away_until = 0.0

    @asynccontextmanager
    async def of_jobs(self, wishes: Sequence[Wish]) -> AsyncIterator[Taken]:
        """`taken` for the jobs of one request: one request and what its new jobs may take in tokens.

        A key that has made its job already is looked up first: a replay is neither charged nor refused.
        """
        caller = wishes[0].caller
        wishes = await self._anew(wishes)
        if not limits_of(caller, self._settings):
            async with self._remembered(wishes):
                yield Taken(wishes=wishes)
            return
        new = [True] * len(wishes)
        if any(wish.key is not None and not wish.first_try for wish in wishes):
            async with self._db.single() as session:
                new = [not replay for replay in await submission.known(session, wishes)]
        tokens = sum(_tokens(wish) for wish, counts in zip(wishes, new, strict=True) if counts)
        async with self.taken(caller, Cost(int(any(new)), tokens), _tally(wishes)) as taken:
            taken.wishes, taken.new = wishes, new
            async with self._remembered(wishes):
                yield taken

    @asynccontextmanager
    async def _remembered(self, wishes: Sequence[Wish]) -> AsyncIterator[None]:
        """What is refused inside for another reason, such as a full queue, counts as a refused try, too."""
        try:
            yield
        except TooMany:
            if (refused := _tally(wishes)) is not None:
                await self.refused(refused)
            raise

    async def refused(self, where: str) -> None:
        """Add a try to the tally `where`, so that the next one is not taken for a repeat of an older job."""
        if time.monotonic() < self._away_until:
            return
        try:
            await self._buckets.remember(where)
        except Unavailable as error:
            self._is_away(error)

    @asynccontextmanager
    async def taken(
        self, caller: Caller, cost: Cost, refused: str | None = None
    ) -> AsyncIterator[Taken]:
        """Take `cost` from all limits of the caller for what is done inside; what fails there costs nothing.

        Raises TooMany when one of them has no room, TooLarge when one never will.
        """
        limits = limits_of(caller, self._settings)
        if not limits:
            yield Taken()
            return
        check_size(limits, cost)
        levels = await self._take(limits, cost, refused)
        if levels is not None and (found := refusal(levels, cost)) is not None:
            limit, error = found
            telemetry.RATE_LIMITED.labels(limit.of, limit.unit).inc()
            raise error
        taken = Taken(cost)
        try:
            yield taken
        except BaseException:
            taken.spare(cost)
            raise
        finally:
            if levels is not None and taken.spared != FREE:
                await self._take(limits, -taken.spared)

    async def _take(
        self, limits: Sequence[Limit], cost: Cost, refused: str | None = None
    ) -> list[Level] | None:
        """None: Redis is away, and what has a limit is let through. Postgres alone decides about jobs."""
        if time.monotonic() >= self._away_until:
            try:
                levels = await self._buckets.take(limits, cost, refused)
            except Unavailable as error:
                self._is_away(error)
            else:
                _tell(levels)
                return levels
        telemetry.RATE_UNCHECKED.inc()
        if self._settings.limits_need_redis and cost.requests > 0:
            raise Unavailable(
                "Rate limits cannot be checked: Redis is away for the moment; try again."
            )
        return None

    def _is_away(self, error: Unavailable) -> None:
        self._away_until = time.monotonic() + AWAY_S
        log.warning("rate limits are not checked", error=error.message)

    async def _anew(self, wishes: Sequence[Wish]) -> Sequence[Wish]:
        """A further try of a client without a key, whose try before was refused here, has no job to come back to.

        The job that its body made some minutes ago is another request's: this try is a first one.
        """
        repeat, refused = wishes[0].repeat, _tally(wishes)
        if refused is None or repeat is None or repeat.again_within_s is None:
            return wishes
        if time.monotonic() < self._away_until:
            return wishes
        try:
            if not await self._buckets.spend(refused):
                return wishes
        except Unavailable as error:
            self._is_away(error)
            return wishes
        return [replace(wish, repeat=Repeat(None)) for wish in wishes]


def _tally(wishes: Sequence[Wish]) -> str | None:
    """Where refused tries are counted of a request whose key was made from its body."""
    first = wishes[0]
    return None if first.repeat is None else tally(first.caller.tenant_id, str(first.key))


def _tokens(wish: Wish) -> int:
    return reservation(wish.spec, wish.model)
