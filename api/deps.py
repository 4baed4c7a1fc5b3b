"""All that a route may ask for: the caller, a transaction, the app's parts, an idempotency key."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Header, Path, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from api.caching import Caching
from api.limits import RateLimits
from api.queues import Queues
from api.streams import Hub
from core.cache.exact import Exact
from core.catalog import models, offers
from core.catalog.models import WRITES, Offer, Served
from core.config import Settings
from core.db.gather import Gather
from core.db.session import Database
from core.errors import Conflict, InvalidInput, Unauthenticated
from core.events.log import POKE_CHANNEL, EventLog
from core.jobs.submission import Submitted, Wish, check_key, submit_all
from core.security import keys
from core.security.keys import Caller
from core.storage.seam import Storage

# Submissions that share a transaction.
SUBMIT_TOGETHER = 64
# A submission waits for those before it, and while Postgres hangs each transaction takes its whole limit.
SUBMIT_S = 8.0
# How old may be what is known of models, versions and aliases.
OFFER_S = 1.0
MAX_OFFERS = 10_000


@dataclass
class Parts:
    """What one API process holds; at app.state.parts."""

    settings: Settings
    db: Database
    log: EventLog
    hub: Hub
    storage: Storage
    limits: RateLimits
    _poked: asyncio.Event = field(default_factory=asyncio.Event)
    _callers: dict[bytes, tuple[Caller, float]] = field(default_factory=dict)
    queues: Queues = field(init=False)
    _submit: Gather[Wish, Submitted | Exception] = field(init=False)
    caching: Caching = field(init=False)
    _models: tuple[list[Served], float] = field(default_factory=lambda: ([], 0.0))
    _offers: dict[str, tuple[Offer, float]] = field(default_factory=dict)
    # Held while an audit is planned here.
    planning: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.queues = Queues(self.db, self.settings)
        self._submit = Gather(self._together, SUBMIT_TOGETHER)
        exact = Exact.within(self.log.redis, self.settings.cache_max_bytes)
        self.caching = Caching(self.settings, self.db, self.hub, exact, self._make, self.served)

    async def _make(self, wish: Wish) -> Submitted:
        """A job that the API itself needs: part of a request whose limits are taken already."""
        (done,) = await self._gathered([wish])
        await self.poke()
        return done

    async def poke(self) -> None:
        """Have the relay and the dispatcher look now; many pokes at once are one message."""
        self._poked.set()

    async def poking(self) -> None:
        """Carry the pokes, for ever. One that is lost costs a timer's turn, no job."""
        while True:
            await self._poked.wait()
            self._poked.clear()
            await self.log.publish(POKE_CHANNEL, "")

    async def submit(self, wish: Wish) -> Submitted:
        """Record a job; returns once its transaction is committed.

        Raises InvalidInput for a bad idempotency key, Conflict for a used one, TooMany for a limit that was
        reached or a full queue, TimeoutError when Postgres does not answer: the job may then exist or not,
        and the client sends again under its key.
        """
        return (await self._admitted([wish], self._gathered))[0]

    async def submit_together(self, wishes: Sequence[Wish]) -> list[Submitted]:
        """Record all of these jobs or none, in a transaction of their own. Raises as `submit` does."""
        return await self._admitted(wishes, self._at_once)

    async def _admitted(
        self,
        wishes: Sequence[Wish],
        record: Callable[[Sequence[Wish]], Awaitable[list[Submitted]]],
    ) -> list[Submitted]:
        """What stands between a checked request and its jobs, in this order; they are recorded last."""
        for wish in wishes:
            check_key(wish.key)
        async with self.limits.of_jobs(wishes) as taken:
            tried = await asyncio.gather(*map(self.caching.tried, taken.wishes))
            taken.wishes = [one.wish for one in tried]
            async with asyncio.timeout(SUBMIT_S), self.queues.admitted(taken.wishes):
                done = await record(taken.wishes)
            taken.settle(done)
        return await asyncio.gather(*map(self.caching.made, tried, done))

    async def _gathered(self, wishes: Sequence[Wish]) -> list[Submitted]:
        done = await self._submit(wishes[0])
        if isinstance(done, Exception):
            raise done
        return [done]

    async def _at_once(self, wishes: Sequence[Wish]) -> list[Submitted]:
        async with self.db.begin() as session:
            done = await submit_all(session, wishes)
            if refused := next((d for d in done if isinstance(d, Conflict)), None):
                raise refused
        return [d for d in done if isinstance(d, Submitted)]

    async def _together(self, wishes: Sequence[Wish]) -> list[Submitted | Exception]:
        try:
            async with self.db.begin() as session:
                return list(await submit_all(session, wishes))
        except DBAPIError as error:
            if len(wishes) == 1 or error.connection_invalidated:
                raise
        # One of them is at fault, and the others must not pay for it.
        return [done for wish in wishes for done in await self._alone(wish)]

    async def _alone(self, wish: Wish) -> list[Submitted | Exception]:
        try:
            return await self._together([wish])
        except DBAPIError as error:
            return [error]

    async def caller(self, presented: str) -> Caller:
        """The caller behind a key, remembered for key_cache_s; only a digest of the key is kept."""
        digest = hashlib.sha256(presented.encode()).digest()
        now = time.monotonic()
        known = self._callers.get(digest)
        if known is not None and known[1] > now:
            return known[0]
        async with self.db.begin() as session:
            caller = await keys.authenticate(session, presented)
        if len(self._callers) > 10_000:
            self._callers.clear()
        self._callers[digest] = (caller, now + self.settings.key_cache_s)
        return caller

    async def served(self) -> list[Served]:
        """The models that can be asked for, at most a second old."""
        listed, until = self._models
        if time.monotonic() < until and listed:
            return listed
        async with self.db.begin() as session:
            listed = await models.listed(session)
        self._models = (listed, time.monotonic() + OFFER_S)
        return listed

    async def offer(self, caller: Caller) -> Offer:
        """What this tenant may ask for, its own versions and aliases too, at most a second old."""
        known = self._offers.get(caller.tenant_id)
        if known is not None and time.monotonic() < known[1]:
            return known[0]
        served = await self.served()
        async with self.db.single() as session:
            offer = await offers.offered(session, caller.tenant_id, served)
        if len(self._offers) > MAX_OFFERS:
            self._offers.clear()
        self._offers[caller.tenant_id] = (offer, time.monotonic() + OFFER_S)
        return offer

    def changed(self, caller: Caller) -> None:
        """Look again at what this tenant may ask for; other processes do within OFFER_S."""
        self._offers.pop(caller.tenant_id, None)

    async def resolve(
        self,
        caller: Caller,
        wanted: str,
        *,
        param: str = "model",
        kind: str | None = WRITES,
        to_answer: bool = True,
    ) -> Served:
        """The model behind a name or alias of this tenant. Raises InvalidInput as models.resolve does.

        A name that is not known is looked for again before it is refused: it may be a moment old. `to_answer`: it is
        to answer somebody, and so must not be withheld by the gate; False: it is measured, trained or shown.
        """
        remembered = caller.tenant_id in self._offers
        offer = await self.offer(caller)
        try:
            found = self._resolved(offer, wanted, param, kind)
        except InvalidInput as error:
            if not remembered or error.code != "model_not_found":
                raise
            self.changed(caller)
            self._models = ([], 0.0)
            offer = await self.offer(caller)
            found = self._resolved(offer, wanted, param, kind)
        if to_answer:
            offer.check(wanted, found.name, param=param)
        return found

    def _resolved(self, offer: Offer, wanted: str, param: str, kind: str | None) -> Served:
        return models.resolve(
            wanted, offer.models, self.settings, param=param, kind=kind, aliases=offer.aliases
        )


# async, though it awaits nothing: FastAPI runs plain functions on a thread, a hop for every request.
async def parts(request: Request) -> Parts:
    found: Parts = request.app.state.parts
    return found


PartsDep = Annotated[Parts, Depends(parts)]


# auto_error would answer in FastAPI's own shape.
_BEARER = HTTPBearer(auto_error=False, scheme_name="key", description="sk-penstock-...")
Bearer = Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]


async def caller(parts: PartsDep, bearer: Bearer) -> Caller:
    presented = bearer.credentials.strip() if bearer is not None else ""
    if not presented or not presented.isascii() or not presented.isprintable():
        raise Unauthenticated("Send an API key: Authorization: Bearer sk-penstock-...")
    return await parts.caller(presented)


async def session(parts: PartsDep) -> AsyncIterator[AsyncSession]:
    async with parts.db.begin() as opened:
        yield opened


CallerDep = Annotated[Caller, Depends(caller)]
# scope="function": the transaction ends before the answer leaves. With FastAPI's default it would end
# after, and a client could read 202 for a job whose commit then fails.
SessionDep = Annotated[AsyncSession, Depends(session, scope="function")]
IdempotencyKey = Annotated[str | None, Header(alias="Idempotency-Key")]
JobId = Annotated[
    str, Path(pattern=r"^job_[0-9a-z]{26}$", examples=["job_01kaq0v9ej6xk0m3c8s5t1w2yz"])
]
