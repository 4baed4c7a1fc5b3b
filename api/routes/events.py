"""The numbered events of a job: by page, and as a stream that resumes from any number."""

from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from api import views
from api.deps import CallerDep, JobId, Parts, PartsDep
from api.routes.jobs import ERRORS
from core.errors import InvalidInput
from core.events.types import Event
from core.jobs import history, service
from core.jobs.job import TERMINAL
from core.jobs.service import Standing
from core.security.keys import Caller

router = APIRouter(prefix="/v1/jobs", tags=["events"], responses=ERRORS)

Cursor = Annotated[int, Query(ge=0, le=2**31 - 1)]


@router.get("/{job_id}/events", responses={200: {"model": views.EventList}})
async def listed(
    job_id: JobId,
    caller: CallerDep,
    parts: PartsDep,
    after: Cursor = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Events numbered above `after`. Where the numbers jump, a `snapshot` says all up to its own."""
    await _job(parts, caller, job_id)
    events: list[Event] = []
    while len(events) <= limit:
        cursor = events[-1].seq if events else after
        found = await history.read(parts.db, parts.log, job_id, cursor, limit + 1)
        events += found
        if not found or found[-1].terminal:
            break
    shown = events[:limit]
    more = len(events) > limit
    body = b'{"object":"list","data":[%s],"has_more":%s}' % (
        b",".join(event.body for event in shown),
        b"true" if more else b"false",
    )
    return Response(body, media_type="application/json")


@router.get(
    "/{job_id}/stream",
    responses={
        200: {
            "content": {"text/event-stream": {}},
            "description": "id: seq, event: type, data: event",
        },
        204: {
            "description": "Last-Event-ID is the job's last event: there is nothing more to come"
        },
    },
)
async def stream(
    job_id: JobId,
    caller: CallerDep,
    parts: PartsDep,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
    after: Cursor = 0,
) -> Response:
    """Server-sent events from after `Last-Event-ID` (or `after`) to the job's last event."""
    with ExitStack() as seat:
        # First of all: refusing a stream too many must not cost a question to Postgres.
        seat.callback(parts.hub.take_seat(caller.tenant_id))
        job = await _job(parts, caller, job_id)
        cursor = _cursor(job, last_event_id, after)
        if job.state in TERMINAL and cursor == job.seq:
            return Response(status_code=204)
        return Seated(
            seat.pop_all().close,
            _frames(parts, job_id, cursor, job.seq),
            media_type="text/event-stream",
            # Proxies must neither store a stream nor hold it back.
            headers={"cache-control": "no-cache", "x-accel-buffering": "no"},
        )


class Seated(StreamingResponse):
    """A stream that gives its seat back also when the client left before its first byte."""

    def __init__(self, leave: Callable[[], None], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._leave()


async def _frames(parts: Parts, job_id: str, cursor: int, known: int) -> AsyncIterator[bytes]:
    yield b"retry: 1000\n\n"
    keepalive_s = parts.settings.sse_keepalive_s
    async for events in parts.hub.follow(job_id, cursor, keepalive_s, known=known):
        yield b"".join(map(frame, events)) if events else b": still here\n\n"


def frame(event: Event) -> bytes:
    """One SSE message; the event's JSON has no newline in it."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.seq, event.type.encode(), event.body)


async def _job(parts: Parts, caller: Caller, job_id: str) -> Standing:
    # Not SessionDep: a connection of the pool must not be held as long as a stream lasts.
    async with parts.db.single() as session:
        return await service.standing(session, caller, job_id)


def _cursor(job: Standing, header: str | None, after: int) -> int:
    if header is None or header == "":
        cursor = after
    elif header.isascii() and header.isdigit() and len(header) < 10:
        cursor = int(header)
    else:
        raise InvalidInput(
            "must be the number of an event, as in its id: line", param="Last-Event-ID"
        )
    last = job.seq if job.state in TERMINAL else job.ceiling
    if cursor > last:
        raise InvalidInput(
            f"This job has no event {cursor}; its last known one is {job.seq}.",
            param="Last-Event-ID" if header else "after",
        )
    return cursor
