"""/v1/responses: an answer to items, made at once or in the background, followed from any of its events."""

import asyncio
from contextlib import ExitStack, aclosing
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Path, Query, Request, Response
from sqlalchemy.ext.asyncio import AsyncSession

from api.deps import CallerDep, IdempotencyKey, Parts, PartsDep
from api.routes.events import Seated
from api.routes.jobs import ERRORS, answer, tell
from api.routes.openai import answers, response_prompt, road
from api.routes.openai.models import served
from api.routes.openai.response_stream import Telling
from api.routes.openai.shapes import OPENAI
from core.errors import Conflict, InvalidInput
from core.jobs import responses, service
from core.jobs.job import TERMINAL, Job, State
from core.jobs.responses import Response as Record
from core.openai import response_answers, response_items
from core.openai.response_shapes import LOGPROBS, Ask, Prompted
from core.openai.shapes import Refused
from core.security.keys import Caller

ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/json": {}, "text/event-stream": {}}},
    **dict.fromkeys((403, 500, 504), ERRORS[422]),
}
router = APIRouter(
    prefix="/v1/responses", tags=["openai"], responses=ERRORS | ANSWERS, dependencies=[OPENAI]
)
ResponseId = Annotated[str, Path(max_length=64, examples=["resp_01kaq0v9ej6xk0m3c8s5t1w2yz"])]
CANCEL_S = 2.0
# As OpenAI's client writes a list in a query, and as others do.
Include = Annotated[list[str] | None, Query(alias="include[]")]
PlainInclude = Annotated[list[str] | None, Query(alias="include")]
_EXAMPLE = {"model": "rill", "input": "Tell me of the river.", "max_output_tokens": 40}


class Count(Prompted):
    """POST /v1/responses/input_tokens."""

    model: str = ""
    personality: Annotated[Any, Refused()] = None


@router.post("")
async def create(
    body: Annotated[Ask, Body(examples=[_EXAMPLE])],
    request: Request,
    caller: CallerDep,
    parts: PartsDep,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """One ordinary job, whose id ends like the response's. In the background it outlives its client."""
    body.checked()
    model = await served(parts, caller, body.model)
    items = await response_prompt.items(parts, caller, body.input)
    said = await response_prompt.before(parts, caller, body) + response_items.messages(items)
    spec = await response_prompt.admitted(parts, model, body, said)
    asking = body.asking(items)
    waits = bool(body.stream) or not body.background
    with ExitStack() as seat:
        # Taken before the job is made: a request that cannot be waited for must not leave a job behind.
        if waits:
            seat.callback(await road.seat(parts, caller, request))
        errand = await road.submit(parts, caller, model, request, [spec], idempotency_key, asking)
        errand.keyed |= asking.background
        job = errand.jobs[0]
        if body.stream:
            frames = Telling(parts, job, asking.asked, padded=body.padded).frames()
            return answers.Chunks(errand, seat.pop_all().close, frames)
        if not waits:
            return answer(response_answers.whole(job, asking.asked), 200, errand.headers)
        return await answers.once(
            errand, request, lambda jobs: response_answers.whole(jobs[0], asking.asked)
        )


@router.post("/input_tokens")
async def input_tokens(
    body: Annotated[Count, Body(examples=[{"model": "rill", "input": "The river"}])],
    caller: CallerDep,
    parts: PartsDep,
) -> Response:
    """How many tokens the prompt of such a response would have."""
    model = await served(parts, caller, body.model)
    said = await response_prompt.before(parts, caller, body)
    said += response_items.messages(await response_prompt.items(parts, caller, body.input))
    count = await response_prompt.tokens(model, body, said)
    return answer({"object": "response.input_tokens", "input_tokens": count})


@router.post("/compact")
async def compact(_: CallerDep) -> Response:
    """Refused: nothing of a conversation is dropped here."""
    raise InvalidInput(
        "Compacting is not supported: send the input that the model is to see.", code="unsupported"
    )


@router.get("/{response_id}")
async def retrieve(
    response_id: ResponseId,
    caller: CallerDep,
    parts: PartsDep,
    stream: bool = False,
    starting_after: Annotated[int | None, Query(ge=0, le=2**53)] = None,
    include_obfuscation: bool = False,
    include: Include = None,
    plain_include: PlainInclude = None,
) -> Response:
    """The response as it stands; with `stream` its events above `starting_after`, then live to the end."""
    likely = _included(include, plain_include)
    if starting_after is not None and not stream:
        raise InvalidInput("starting_after needs stream=true", param="starting_after")
    with ExitStack() as seat:
        if stream:
            seat.callback(parts.hub.take_seat(caller.tenant_id))
        async with parts.db.single() as session:
            job, record = await responses.get(session, caller, response_id)
        if likely and job.spec.get("logprobs") is None:
            raise InvalidInput(
                f"include: this response was made without {LOGPROBS}; ask for it when you create one",
                param="include",
            )
        if not stream:
            return answer(response_answers.whole(job, record.asked))
        after = -1 if starting_after is None else starting_after
        return Seated(
            seat.pop_all().close,
            Telling(parts, job, record.asked, after, padded=include_obfuscation).frames(),
            media_type="text/event-stream",
            headers={
                "cache-control": "no-cache",
                "x-accel-buffering": "no",
                "x-penstock-job": job.id,
            },
        )


def _included(*wanted: list[str] | None) -> bool:
    """Log probabilities are asked for. Raises InvalidInput for all else."""
    values = [value for some in wanted for value in some or ()]
    if any(value != LOGPROBS for value in values):
        raise InvalidInput(f"include: only {LOGPROBS} is supported", param="include")
    return bool(values)


@router.get("/{response_id}/input_items")
async def input_items(
    response_id: ResponseId,
    caller: CallerDep,
    parts: PartsDep,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
    include: Include = None,
    plain_include: PlainInclude = None,
) -> Response:
    """What this request sent, item by item; what came before it is under its previous_response_id."""
    likely = _included(include, plain_include)
    async with parts.db.single() as session:
        _, record = await responses.get(session, caller, response_id)
    items = record.asked["input"][:: 1 if order == "asc" else -1]
    if after is not None:
        ids = [item["id"] for item in items]
        if after not in ids:
            raise InvalidInput("is no item of this response", param="after")
        items = items[ids.index(after) + 1 :]
    page = [response_items.listed(item, likely=likely) for item in items[:limit]]
    ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {}
    body = {"object": "list", "data": page, "has_more": len(items) > limit}
    return answer(body | {"first_id": None, "last_id": None} | ends)


@router.post("/{response_id}/cancel")
async def cancel(response_id: ResponseId, caller: CallerDep, parts: PartsDep) -> Response:
    """Stop a background response. One that has ended is answered as it is."""
    async with parts.db.single() as session:
        job, record = await responses.get(session, caller, response_id)
    if not record.background:
        raise InvalidInput(
            "Only a response sent with background: true can be cancelled; leave the stream of another",
            param="response_id",
        )
    job = await _cancelled(parts, caller, job)
    return answer(response_answers.whole(job, record.asked))


async def _cancelled(parts: Parts, caller: Caller, job: Job) -> Job:
    try:
        async with parts.db.begin() as session:
            job = await service.cancel(session, caller, job.id)
    except Conflict:
        return await _again(parts, caller, job)
    await tell(parts, job.id)
    try:
        async with asyncio.timeout(CANCEL_S):
            await _to_end(parts, job)
    except TimeoutError:
        return job
    return await _again(parts, caller, job)


async def _to_end(parts: Parts, job: Job) -> None:
    """A worker takes a moment to stop: worth waiting for, so that clients read what they asked for."""
    if State(job.state) in TERMINAL:
        return
    follow = parts.hub.follow(job.id, job.seq, parts.settings.sse_keepalive_s)
    async with aclosing(follow) as events:  # type: ignore[type-var]  # an async generator
        async for _ in events:
            continue


async def _again(parts: Parts, caller: Caller, job: Job) -> Job:
    async with parts.db.single() as session:
        return await service.get(session, caller, job.id)


@router.delete("/{response_id}")
async def delete(response_id: ResponseId, caller: CallerDep, parts: PartsDep) -> Response:
    """It is not found from now on; one that still runs is cancelled. The job stays under /v1/jobs."""
    async with parts.db.begin() as session:
        job, record = await responses.get(session, caller, response_id)
        await _hidden(session, caller, job, record)
    await tell(parts, job.id)
    return answer({"id": response_id, "object": "response", "deleted": True})


async def _hidden(session: AsyncSession, caller: Caller, job: Job, record: Record) -> None:
    await responses.hide(session, record.job_id)
    if State(job.state) not in TERMINAL:
        try:
            await service.cancel(session, caller, job.id)
        except Conflict:
            return
