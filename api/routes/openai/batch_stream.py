"""GET /v1/batches/{id}/stream: each line the moment it is finished, numbered, from any number on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Annotated

import orjson
from fastapi import APIRouter, Header, Query, Response

from api.deps import CallerDep, Parts, PartsDep
from api.routes.events import Seated
from api.routes.jobs import ERRORS
from api.routes.openai.batches import BatchId
from api.routes.openai.shapes import OPENAI
from core.batches import lines, service, tables
from core.batches.tables import Batch
from core.batches.view import shown
from core.errors import InvalidInput
from core.security.keys import Caller

router = APIRouter(prefix="/v1/batches", tags=["batches"], responses=ERRORS, dependencies=[OPENAI])

# Lines read at once: a reader that is behind holds so many, and waits for no other.
PAGE = 100
# A reader asks Postgres no oftener than this, however often the bell rings.
PAUSE_S = 0.1
SWEEP_S = 1.0
PROGRESS_S = 1.0


@router.get(
    "/{batch_id}/stream",
    responses={
        200: {
            "content": {"text/event-stream": {}},
            "description": "event line: id is the number of the finished line, data the line as in the files;"
            " event progress: counts, speed, time left; last event: batch.<status>, the batch",
        }
    },
)
async def stream(
    batch_id: BatchId,
    caller: CallerDep,
    parts: PartsDep,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
    after: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
) -> Response:
    """Server-sent events from after `Last-Event-ID` (or `after`) to the end of the batch."""
    with ExitStack() as seat:
        # First of all: refusing a stream too many must not cost a question to Postgres.
        seat.callback(parts.hub.take_seat(caller.tenant_id))
        async with parts.db.single() as session:
            batch = await service.get(session, caller, batch_id)
        cursor = _cursor(batch, last_event_id, after)
        return Seated(
            seat.pop_all().close,
            _frames(parts, caller, batch_id, cursor),
            media_type="text/event-stream",
            headers={"cache-control": "no-cache", "x-accel-buffering": "no"},
        )


def _cursor(batch: Batch, header: str | None, after: int) -> int:
    if header and not (header.isascii() and header.isdigit() and len(header) < 10):
        raise InvalidInput(
            "must be the number of a line, as in its id: line", param="Last-Event-ID"
        )
    cursor = int(header) if header else after
    if cursor > batch.tip:
        raise InvalidInput(
            f"This batch has no finished line {cursor}; its last one is {batch.tip}.",
            param="Last-Event-ID" if header else "after",
        )
    return cursor


async def _frames(parts: Parts, caller: Caller, batch_id: str, cursor: int) -> AsyncIterator[bytes]:
    yield b"retry: 1000\n\n"
    clock = asyncio.get_running_loop().time
    told_at, spoke_at, told = 0.0, clock(), b""
    async with parts.hub.watch(batch_id) as rang:
        while True:
            rang.clear()
            async with parts.db.single() as session:
                # Before its lines: what is seen as ended then has all of them.
                batch = await service.get(session, caller, batch_id)
                rows = await lines.done(session, batch_id, cursor, PAGE)
            if rows:
                cursor = rows[-1].done_seq
                yield b"".join(
                    b"id: %d\nevent: line\ndata: %s\n\n" % (r.done_seq, lines.shown(batch_id, r))
                    for r in rows
                )
                spoke_at = clock()
            if clock() - told_at >= PROGRESS_S and (news := _progress(batch)) != told:
                told, told_at, spoke_at = news, clock(), clock()
                yield b"event: progress\ndata: %s\n\n" % told
            if rows and cursor < batch.tip:
                continue
            if batch.status in tables.ENDED:
                yield b"event: batch.%s\ndata: %s\n\n" % (
                    batch.status.encode(), orjson.dumps(shown(batch)),
                )  # fmt: skip
                return
            if clock() - spoke_at >= parts.settings.sse_keepalive_s:
                spoke_at = clock()
                yield b": still here\n\n"
            await _rest(rang)


def _progress(batch: Batch) -> bytes:
    view = shown(batch)
    names = ("status", "request_counts", "usage", "progress")
    return orjson.dumps({name: view[name] for name in names})


async def _rest(rang: asyncio.Event) -> None:
    await asyncio.sleep(PAUSE_S)
    try:
        async with asyncio.timeout(SWEEP_S - PAUSE_S):
            await rang.wait()
    except TimeoutError:
        return
