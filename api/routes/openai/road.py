"""The road of a request on this surface: jobs like any others, followed until they end, let go with their client."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from typing import Any

import orjson
import structlog
from fastapi import Request
from sqlalchemy.exc import SQLAlchemyError

from api.deps import Parts
from api.routes.jobs import tell
from core import telemetry
from core.audits.new import NewAudit
from core.catalog.models import Served
from core.errors import Conflict, InvalidInput, NotFound, TooMany
from core.events import types
from core.jobs import service
from core.jobs.evals import NewRun
from core.jobs.job import TERMINAL, Job, State
from core.jobs.kinds import JobSpec
from core.jobs.responses import Asking
from core.jobs.submission import Repeat, Submitted, Wish
from core.security.keys import Caller
from core.security.limits import tally

log = structlog.get_logger(__name__)

_RETRIES = "x-stainless-retry-count"
# Cancels under way: a task that nobody holds may be collected before it is done.
_cancelling: set[asyncio.Task[None]] = set()


@dataclass
class Errand:
    """The jobs of one request. `keyed`: the client may come back for them, so they outlive its connection."""

    parts: Parts
    caller: Caller
    model: Served
    jobs: list[Job]
    keyed: bool
    replayed: bool = False
    cache: tuple[str, ...] = ()

    @property
    def headers(self) -> dict[str, str]:
        named = {"x-penstock-job": ", ".join(job.id for job in self.jobs)}
        cached = {"x-penstock-cache": ", ".join(self.cache)} if self.cache else {}
        return named | cached | ({"idempotency-replayed": "true"} if self.replayed else {})


async def submit(
    parts: Parts,
    caller: Caller,
    model: Served,
    request: Request,
    specs: Sequence[JobSpec],
    key: str | None,
    response: Asking | None = None,
    *,
    audit: NewAudit | None = None,
    run: NewRun | None = None,
) -> Errand:
    """Record the jobs, all or none. `audit`, `run`: of the one job that is a run of an eval.

    Raises InvalidInput, Conflict as POST /v1/jobs does.
    """
    given = specs[0].idempotency_key if key is None else key
    if specs[0].idempotency_key not in (None, given):
        raise InvalidInput("differs from the Idempotency-Key header", param="idempotency_key")
    repeat = None
    made_up = given
    if given is None and parts.settings.retry_window_s > 0 and _RETRIES in request.headers:
        made_up, repeat = await _derived(parts, caller, request)
    wishes = [
        Wish(
            caller, spec, model, _numbered(made_up, number), repeat, response, audit=audit, run=run
        )
        for number, spec in enumerate(specs)
    ]
    done = await _recorded(parts, wishes)
    for one in done:
        if not one.replayed:
            telemetry.JOBS_ACCEPTED.labels(one.job.kind).inc()
    await parts.poke()
    jobs, replayed = [one.job for one in done], all(one.replayed for one in done)
    cache = tuple(one.cache for one in done if one.cache is not None)
    return Errand(
        parts, caller, model, jobs, keyed=given is not None, replayed=replayed, cache=cache
    )


async def seat(parts: Parts, caller: Caller, request: Request) -> Callable[[], None]:
    """A place among the open streams, for a request that will wait for its job; returns what gives it back.

    Raises TooMany. A try without a key that is refused here is remembered: the next one is no repeat.
    """
    try:
        return parts.hub.take_seat(caller.tenant_id)
    except TooMany:
        if parts.settings.retry_window_s > 0 and _RETRIES in request.headers:
            mark, _ = await _derived(parts, caller, request)
            await parts.limits.refused(tally(caller.tenant_id, mark))
        raise


async def _recorded(parts: Parts, wishes: list[Wish]) -> list[Submitted]:
    if len(wishes) == 1:
        return [await parts.submit(wishes[0])]
    return await parts.submit_together(wishes)


def _numbered(key: str | None, number: int) -> str | None:
    return key if key is None or number == 0 else f"{key}#{number}"


async def _derived(parts: Parts, caller: Caller, request: Request) -> tuple[str, Repeat]:
    """OpenAI's clients send no key, but the same body again and how often they have tried."""
    mark = hashlib.sha256(f"{caller.key_id} {request.url.path} ".encode())
    mark.update(await request.body())
    tried = request.headers[_RETRIES].isdigit() and int(request.headers[_RETRIES]) > 0
    within_s = parts.settings.retry_window_s if tried else None
    return f"retry-{mark.hexdigest()}", Repeat(within_s)


@dataclass(slots=True)
class Piece:
    """More of one answer of one job."""

    job: int
    index: int
    text: str
    logprobs: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class End:
    """A job's last event."""

    job: int
    type: str
    data: dict[str, Any]


class _Known:
    """What a reader has of a job's answers, so that a snapshot becomes the part it lacks."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._chars: dict[int, int] = {}
        self._logprobs: dict[int, int] = {}

    def delta(self, data: dict[str, Any]) -> Piece:
        index, likely = data.get("index", 0), data.get("logprobs", [])
        self._chars[index] = self._chars.get(index, 0) + len(data["text"])
        self._logprobs[index] = self._logprobs.get(index, 0) + len(likely)
        return Piece(self._number, index, data["text"], likely)

    def whole(self, data: dict[str, Any]) -> list[Piece]:
        """Of a snapshot or a result, what goes beyond the deltas."""
        said = data.get("choices") or [{"index": 0, "text": data.get("text", "")}]
        rest = [
            {
                "index": one["index"],
                "text": one["text"][self._chars.get(one["index"], 0) :],
                "logprobs": one.get("logprobs", [])[self._logprobs.get(one["index"], 0) :],
            }
            for one in said
        ]
        return [self.delta(one) for one in rest if one["text"] or one["logprobs"]]


async def follow(errand: Errand, number: int) -> AsyncIterator[Piece | End | None]:
    """A job's answers as they are made, None as a sign of life, its end at last."""
    parts, job_id, known = errand.parts, errand.jobs[number].id, _Known(number)
    async for events in parts.hub.follow(job_id, 0, parts.settings.sse_keepalive_s):
        if not events:
            yield None
        for event in events:
            if event.type not in (types.OUTPUT_DELTA, types.SNAPSHOT) and not event.terminal:
                continue
            data = orjson.loads(event.body)["data"]
            if event.type == types.OUTPUT_DELTA:
                yield known.delta(data)
                continue
            for piece in known.whole(
                data if event.type == types.SNAPSHOT else data.get("result") or {}
            ):
                yield piece
            if event.terminal:
                yield End(number, event.type, data)


async def follow_all(errand: Errand) -> AsyncIterator[Piece | End | None]:
    """Every job of the errand at once."""
    if len(errand.jobs) == 1:
        async for one in follow(errand, 0):
            yield one
        return
    queue: asyncio.Queue[Piece | End | BaseException | None] = asyncio.Queue(maxsize=64)

    async def carry(number: int) -> None:
        try:
            async for one in follow(errand, number):
                await queue.put(one)
        except Exception as error:  # raised again by the reader
            await queue.put(error)

    async with AsyncExitStack() as stack:
        for number in range(len(errand.jobs)):
            stack.callback(asyncio.create_task(carry(number)).cancel)
        left = len(errand.jobs)
        while left:
            got = await queue.get()
            if isinstance(got, BaseException):
                raise got
            left -= isinstance(got, End)
            yield got


async def ended(errand: Errand, request: Request) -> list[Job] | None:
    """The jobs once all have ended. None when the client left first: then they are let go.

    Raises TimeoutError after `generate_timeout_s`; the jobs go on.
    """
    if all(State(job.state) in TERMINAL for job in errand.jobs):
        # From the cache, or made by an earlier try: there is nothing to wait for.
        return errand.jobs
    waiting = asyncio.create_task(_drained(errand))
    gone = asyncio.create_task(_disconnected(request))
    try:
        limit = errand.parts.settings.generate_timeout_s
        await asyncio.wait({waiting, gone}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            await waiting
        elif gone.done():
            let_go(errand)
            return None
        else:
            raise TimeoutError
    finally:
        waiting.cancel()
        gone.cancel()
        await asyncio.gather(waiting, gone, return_exceptions=True)
    async with errand.parts.db.single() as session:
        return [await service.get(session, errand.caller, job.id) for job in errand.jobs]


async def _drained(errand: Errand) -> None:
    async with aclosing(follow_all(errand)) as events:  # type: ignore[type-var]  # an async generator
        async for _ in events:
            continue


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue


def let_go(errand: Errand) -> None:
    """Cancel the jobs of a client that went away, unless it has a key to come back with."""
    if errand.keyed:
        return
    for job in errand.jobs:
        task = asyncio.create_task(_cancel(errand, job.id))
        _cancelling.add(task)
        task.add_done_callback(_cancelling.discard)


async def _cancel(errand: Errand, job_id: str) -> None:
    try:
        async with errand.parts.db.begin() as session:
            await service.cancel(session, errand.caller, job_id)
    except (Conflict, NotFound):
        return
    except (SQLAlchemyError, OSError) as error:
        log.warning("a job whose client left was not cancelled", job=job_id, error=repr(error))
        return
    log.info("cancelled: its client left", job=job_id)
    await tell(errand.parts, job_id)
