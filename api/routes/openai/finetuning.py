"""/v1/fine_tuning/jobs: create, list, get, cancel, pause and resume as OpenAI's clients do; events, checkpoints."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Request, Response
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.background import BackgroundTask

from api import views
from api.admission import admit
from api.deps import CallerDep, IdempotencyKey, Parts, PartsDep, SessionDep
from api.routes.jobs import ERRORS, answer, tell
from api.routes.openai import road
from api.routes.openai.shapes import OPENAI
from api.training import admit_data
from core.errors import InvalidInput, NotFound
from core.jobs import course, finetune, holds, service
from core.jobs.course import Cursor
from core.jobs.job import Job
from core.openai import finetuning_answers as answers
from core.openai.finetuning_shapes import (
    Ask,
    FineTuningCheckpointList,
    FineTuningEventList,
    FineTuningJobList,
    FineTuningJobView,
)
from core.security.keys import Caller
from core.training import service as training

router = APIRouter(
    prefix="/v1/fine_tuning/jobs", tags=["fine-tuning"], responses=ERRORS, dependencies=[OPENAI]
)
FineTuningId = Annotated[str, Path(max_length=64, examples=["ftjob-01kaq0v9ej6xk0m3c8s5t1w2yz"])]
AfterJob = Annotated[str | None, Query(pattern=r"^ftjob-[0-9a-z]{26}$")]
AfterEvent = Annotated[str | None, Query(pattern=r"^ftevent-[0-9a-z]{26}-[ft][0-9]{1,18}$")]
AfterCheckpoint = Annotated[str | None, Query(pattern=r"^ckpt_[0-9a-z]{26}$")]
_EXAMPLE = {"model": "rill", "training_file": "file_01kaq0v9ej6xk0m3c8s5t1w2yz", "suffix": "mine"}
# A whole curve in few pages: an event is some hundred bytes.
MAX_EVENTS = 1000


async def _shown(session: AsyncSession, *jobs: Job) -> list[dict[str, Any]]:
    found, now = await course.known(session, jobs), datetime.now(UTC)
    return [answers.shown(job, found[job.id], now) for job in jobs]


@router.post("", responses={200: {"model": FineTuningJobView}})
async def create(
    body: Annotated[Ask, Body(examples=[_EXAMPLE])],
    request: Request,
    caller: CallerDep,
    parts: PartsDep,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Train a model on an uploaded file. The file's rows are validated by the job, before it trains."""
    spec = body.spec()
    model = await admit(parts, caller, spec, param="model")
    await admit_data(parts, caller, spec, {"dataset": "training_file"})
    errand = await road.submit(parts, caller, model, request, [spec], idempotency_key)
    async with parts.db.single() as session:
        (made,) = await _shown(session, *errand.jobs)
    return answer(made, 200, errand.headers)


@router.get("", responses={200: {"model": FineTuningJobList}})
async def listed(
    request: Request,
    caller: CallerDep,
    session: SessionDep,
    after: AfterJob = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    metadata: Annotated[
        str | None,
        Query(description="`metadata[k]=v`: only jobs with this pair; `null`: with none"),
    ] = None,
) -> Response:
    """Your fine-tuning jobs, newest first; `after=<last_id>` continues."""
    if metadata not in (None, "null"):
        raise InvalidInput("metadata is written metadata[key]=value, or null", param="metadata")
    pairs = _pairs(request)
    if metadata is not None and pairs:
        raise InvalidInput("metadata=null does not go with metadata[key]=value", param="metadata")
    jobs, more = await service.listed(
        session,
        caller,
        kind=finetune.KIND,
        after=answers.job_id(after) if after is not None else None,
        limit=limit,
        labels={} if metadata == "null" else pairs or None,
    )
    return answer(views.page(await _shown(session, *jobs), more))


def _pairs(request: Request) -> dict[str, str]:
    found = {n: v for n, v in request.query_params.items() if n.startswith("metadata[")}
    for name, value in found.items():
        if "\x00" in name + value:
            raise InvalidInput("contains a NUL character (U+0000); remove it", param="metadata")
    return {name.removeprefix("metadata[")[:-1]: value for name, value in found.items()}


@router.get("/{fine_tuning_job_id}", responses={200: {"model": FineTuningJobView}})
async def get(fine_tuning_job_id: FineTuningId, caller: CallerDep, parts: PartsDep) -> Response:
    """One job: its status, what it was asked and what became of `auto`, its model at the end."""
    async with parts.db.single() as session:
        (job,) = await _shown(session, await _found(session, caller, fine_tuning_job_id))
    return answer(job)


async def _found(session: AsyncSession, caller: Caller, of: str) -> Job:
    """Raises NotFound for one that is not there, another tenant's, or a job of another kind."""
    try:
        job = await service.get(session, caller, answers.job_id(of))
    except NotFound:
        raise answers.missing(of) from None
    if job.kind != finetune.KIND:
        raise answers.missing(of)
    return job


@router.post("/{fine_tuning_job_id}/cancel", responses={200: {"model": FineTuningJobView}})
async def cancel(
    fine_tuning_job_id: FineTuningId, caller: CallerDep, parts: PartsDep, session: SessionDep
) -> Response:
    """Stop a job for good. A running one is asked to; its checkpoints stay for a while."""
    job = await _found(session, caller, fine_tuning_job_id)
    job = await service.cancel(session, caller, job.id)
    return await _told(parts, session, job, hint=True)


@router.post("/{fine_tuning_job_id}/pause", responses={200: {"model": FineTuningJobView}})
async def pause(
    fine_tuning_job_id: FineTuningId, caller: CallerDep, parts: PartsDep, session: SessionDep
) -> Response:
    """Hold a job until it is resumed. A running one saves a checkpoint first, then frees its device."""
    job = await _found(session, caller, fine_tuning_job_id)
    return await _told(parts, session, await holds.pause(session, caller, job.id))


@router.post("/{fine_tuning_job_id}/resume", responses={200: {"model": FineTuningJobView}})
async def resume(
    fine_tuning_job_id: FineTuningId, caller: CallerDep, parts: PartsDep, session: SessionDep
) -> Response:
    """Let a paused job go on from its last checkpoint."""
    job = await _found(session, caller, fine_tuning_job_id)
    return await _told(parts, session, await holds.resume(session, caller, job.id))


async def _told(parts: Parts, session: AsyncSession, job: Job, *, hint: bool = False) -> Response:
    (moved,) = await _shown(session, job)
    response = answer(moved)
    response.background = BackgroundTask(tell, parts, job.id, hint=hint)
    return response


@router.get("/{fine_tuning_job_id}/events", responses={200: {"model": FineTuningEventList}})
async def events(
    fine_tuning_job_id: FineTuningId,
    caller: CallerDep,
    parts: PartsDep,
    after: AfterEvent = None,
    limit: Annotated[int, Query(ge=1, le=MAX_EVENTS)] = 20,
) -> Response:
    """What happened to the job, newest first: states, phases, metrics of each step, problems of the files."""
    async with parts.db.single() as session:
        job = await _found(session, caller, fine_tuning_job_id)
        told, more = await course.page(session, job.id, after=_cursor(job.id, after), limit=limit)
    return answer(views.page([answers.event(job.id, one) for one in told], more))


def _cursor(job_id: str, after: str | None) -> Cursor | None:
    if after is None:
        return None
    cursor = Cursor.read(job_id, after.removeprefix(answers.EVENT))
    if cursor is None:
        raise NotFound("is no event of this job", param="after")
    return cursor


@router.get(
    "/{fine_tuning_job_id}/checkpoints", responses={200: {"model": FineTuningCheckpointList}}
)
async def checkpoints(
    fine_tuning_job_id: FineTuningId,
    caller: CallerDep,
    parts: PartsDep,
    after: AfterCheckpoint = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
) -> Response:
    """What the job could go on from, the latest step first, with its metrics there."""
    async with parts.db.single() as session:
        job = await _found(session, caller, fine_tuning_job_id)
        rows, more = await training.checkpoints(session, job.id, after=after, limit=limit)
    return answer(views.page([answers.checkpoint(job, row) for row in rows], more))
