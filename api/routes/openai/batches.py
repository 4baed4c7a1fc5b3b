"""Batches: create, list, get, cancel as OpenAI's clients do; retry and a stream of finished lines beyond them."""

from typing import Annotated

import orjson
from fastapi import APIRouter, Body, Path, Query, Response
from starlette.background import BackgroundTask

from api import views
from api.deps import CallerDep, IdempotencyKey, Parts, PartsDep, SessionDep
from api.routes.jobs import ERRORS, answer
from api.routes.openai.batch_shapes import BatchList, BatchView, CreateBatch
from api.routes.openai.shapes import OPENAI
from core.batches import service
from core.batches.service import NewBatch
from core.batches.view import shown
from core.catalog.models import Served
from core.errors import InvalidInput, Unavailable
from core.files import service as files
from core.files.tables import File
from core.openai.batch_lines import kind_of
from core.security.keys import Caller
from core.security.limits import FREE, Cost

router = APIRouter(prefix="/v1/batches", tags=["batches"], responses=ERRORS, dependencies=[OPENAI])

BatchId = Annotated[str, Path(max_length=64, examples=["batch_01kaq0v9ej6xk0m3c8s5t1w2yz"])]
# Of the first line, to learn the model's name. Most end within it; for others as much is read as a line may have.
PEEK = 65_536
# A batch takes one request and no tokens: its lines wait behind interactive jobs, whenever there is room.
ONE = Cost(requests=1)


@router.post("", responses={200: {"model": BatchView}})
async def create(
    body: Annotated[CreateBatch, Body()],
    caller: CallerDep,
    parts: PartsDep,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Run the requests of an uploaded file. Its lines are validated first: poll, or stream, to see it go on."""
    after = body.output_expires_after
    new = NewBatch(
        input_file_id=body.input_file_id,
        endpoint=body.endpoint,
        completion_window=body.completion_window,
        metadata=body.metadata,
        keep_s=after.seconds if after is not None else None,
        resume_from=body.resume_from,
        max_cost=body.max_cost,
        max_tokens_total=body.max_tokens_total,
        key=idempotency_key,
    )
    async with parts.db.single() as session:
        file = await files.get(session, caller, new.input_file_id, param="input_file_id")
        service.check(new, file)
        known = await service.known(session, caller, new.key)
    model, named = await _model(parts, caller, file, kind_of(new.endpoint))
    async with parts.limits.taken(caller, FREE if known else ONE) as taken:
        async with parts.db.begin() as session:
            await service.check_open(
                session, caller, parts.settings.open_batches_per_tenant, new.key
            )
            batch, replayed = await service.create(session, caller, new, model, named)
            batch = await service.get(session, caller, batch.id)
        taken.spare(ONE if replayed and not known else FREE)
    response = answer(shown(batch), 200, {"idempotency-replayed": "true"} if replayed else {})
    response.background = BackgroundTask(parts.poke)
    return response


async def _model(parts: Parts, caller: Caller, file: File, kind: str) -> tuple[Served, str]:
    """The model that the first line names, and the name it has there; any of this kind, and no name, when it
    names none that there is.

    Raises InvalidInput for a model of another kind, Unavailable while there is none of this one.
    """
    first = await _first(parts, file, PEEK) or await _first(
        parts, file, parts.settings.max_body_bytes
    )
    try:
        named = orjson.loads(first)["body"]["model"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        named = ""
    try:
        return await parts.resolve(caller, str(named), kind=kind), str(named)
    except InvalidInput as error:
        if error.code in ("model_not_suited", "model_withdrawn"):
            raise InvalidInput(
                f"body.model of the first line: {error.message}",
                param="input_file_id",
                code=error.code,
            ) from error
        # The worker of any finds that the lines name another and says so, line by line.
        offer = await parts.offer(caller)
        free = (one for one in offer.models if one.name not in offer.withheld)
        fitting = next((one for one in free if one.kind == kind), None)
        if fitting is None:
            raise Unavailable(f"No model for {kind} is served yet; start a worker.") from None
        return fitting, ""


async def _first(parts: Parts, file: File, most: int) -> bytes:
    """The first line; nothing when so many bytes do not hold all of it."""
    start = b"".join([p async for p in parts.storage.read(files.key_of(file.id), 0, most)])
    line, newline, _ = start.lstrip().partition(b"\n")
    return line if newline or file.bytes <= most else b""


@router.get("", responses={200: {"model": BatchList}})
async def listed(
    caller: CallerDep,
    session: SessionDep,
    after: Annotated[str | None, Query(pattern=service.BATCH_ID)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    """Your batches, newest first; `after=<last_id>` continues."""
    found, more = await service.listed(session, caller, after=after, limit=limit)
    return answer(views.page([shown(one) for one in found], more))


@router.get("/{batch_id}", responses={200: {"model": BatchView}})
async def get(batch_id: BatchId, caller: CallerDep, session: SessionDep) -> Response:
    """One batch: its status, true counts, speed and time left."""
    return answer(shown(await service.get(session, caller, batch_id)))


@router.post("/{batch_id}/cancel", responses={200: {"model": BatchView}})
async def cancel(
    batch_id: BatchId, caller: CallerDep, parts: PartsDep, session: SessionDep
) -> Response:
    """Stop a batch. No line is finished from here on; those that are go into its files."""
    batch = await service.cancel(session, caller, batch_id)
    response = answer(shown(batch))
    response.background = BackgroundTask(_ring, parts, batch_id)
    return response


@router.post("/{batch_id}/retry", responses={200: {"model": BatchView}})
async def retry(batch_id: BatchId, caller: CallerDep, parts: PartsDep) -> Response:
    """A new batch of the lines that failed or were never run."""
    async with parts.db.single() as session:
        old = await service.get(session, caller, batch_id)
    # New work for a model that the gate may have taken out since.
    (await parts.offer(caller)).check(old.named or old.model, old.model, param="batch_id")
    async with parts.limits.taken(caller, ONE), parts.db.begin() as session:
        await service.check_open(session, caller, parts.settings.open_batches_per_tenant)
        batch = await service.retry(session, caller, batch_id)
    response = answer(shown(batch))
    response.background = BackgroundTask(parts.poke)
    return response


async def _ring(parts: Parts, batch_id: str) -> None:
    await parts.poke()
    try:
        await parts.log.ring(batch_id)
    except Unavailable:
        return
