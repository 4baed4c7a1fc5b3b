"""Jobs: submit, list, get, cancel."""

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Body, Query, Response
from starlette.background import BackgroundTask

from api import views
from api.admission import admit
from api.audits import admit_audit
from api.deps import CallerDep, IdempotencyKey, JobId, Parts, PartsDep, SessionDep
from api.errors import ErrorEnvelope
from api.training import admit_data
from core import telemetry
from core.errors import InvalidInput, Unavailable
from core.events.log import CANCEL_CHANNEL
from core.jobs import holds, service
from core.jobs.job import State
from core.jobs.kinds import JobSpec
from core.jobs.outlook import NONE
from core.jobs.submission import Wish
from core.security.keys import Caller

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorEnvelope}
    for status in (400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 503)
}
router = APIRouter(prefix="/v1/jobs", tags=["jobs"], responses=ERRORS)

_EXAMPLE = {"kind": "inference", "prompt": "The river", "max_tokens": 40}


def answer(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), status, headers, media_type="application/json")


@router.post("", status_code=202, responses={202: {"model": views.JobView}})
async def submit(
    # FastAPI lets its own Body stand in for the Field of JobSpec, so it is told again what tells kinds apart.
    spec: Annotated[JobSpec, Body(discriminator="kind", examples=[_EXAMPLE])],
    caller: CallerDep,
    parts: PartsDep,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Accept a job. Once this answers 202 the job ends in exactly one terminal state."""
    return await accepted(parts, caller, spec, idempotency_key, "/v1/jobs")


async def accepted(
    parts: Parts, caller: Caller, spec: JobSpec, idempotency_key: str | None, place: str
) -> Response:
    """202 and the job, which is to be found below `place`. Raises InvalidInput naming the field."""
    model = await admit(parts, caller, spec, param="model")
    await admit_data(parts, caller, spec)
    audit = await admit_audit(parts, caller, spec, model)
    key = spec.idempotency_key if idempotency_key is None else idempotency_key
    if spec.idempotency_key not in (None, key):
        raise InvalidInput("differs from the Idempotency-Key header", param="idempotency_key")
    done = await parts.submit(Wish(caller, spec, model, key, audit=audit))
    headers = {"location": f"{place}/{done.job.id}"}
    if done.cache is not None:
        headers["x-penstock-cache"] = done.cache
    if done.replayed:
        headers["idempotency-replayed"] = "true"
    else:
        telemetry.JOBS_ACCEPTED.labels(spec.kind).inc()
    response = answer(views.job(done.job), 202, headers)
    response.background = BackgroundTask(parts.poke)
    return response


@router.get("", responses={200: {"model": views.JobList}})
async def listed(
    caller: CallerDep,
    parts: PartsDep,
    state: State | None = None,
    kind: Annotated[str | None, Query(pattern="^[a-z]{1,32}$")] = None,
    after: Annotated[str | None, Query(pattern=r"^job_[0-9a-z]{26}$")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    """Your jobs, newest first; `after=<last_id>` continues."""
    async with parts.db.single() as session:
        jobs, more = await service.listed(
            session, caller, state=state, kind=kind, after=after, limit=limit
        )
    standing = await parts.queues.outlooks(jobs)
    return answer(views.page([views.job(job, standing.get(job.id, NONE)) for job in jobs], more))


@router.get("/{job_id}", responses={200: {"model": views.JobView}})
async def get(job_id: JobId, caller: CallerDep, parts: PartsDep) -> Response:
    """One job: its state, where it stands while it waits, and its result or error once it has ended."""
    async with parts.db.single() as session:
        job = await service.get(session, caller, job_id)
    standing = await parts.queues.outlooks([job])
    return answer(views.job(job, standing.get(job.id, NONE)))


@router.post("/{job_id}/cancel", responses={200: {"model": views.JobView}})
async def cancel(
    job_id: JobId, caller: CallerDep, parts: PartsDep, session: SessionDep
) -> Response:
    """Stop a job. A running one is asked to stop and keeps the text it has; poll for `cancelled`."""
    job = await service.cancel(session, caller, job_id)
    response = answer(views.job(job))
    response.background = BackgroundTask(tell, parts, job_id)
    return response


@router.post("/{job_id}/pause", responses={200: {"model": views.JobView}})
async def pause(job_id: JobId, caller: CallerDep, parts: PartsDep, session: SessionDep) -> Response:
    """Hold a job that can be held (finetune) until it is resumed. A running one saves a checkpoint first."""
    response = answer(views.job(await holds.pause(session, caller, job_id)))
    response.background = BackgroundTask(tell, parts, job_id, hint=False)
    return response


@router.post("/{job_id}/resume", responses={200: {"model": views.JobView}})
async def resume(
    job_id: JobId, caller: CallerDep, parts: PartsDep, session: SessionDep
) -> Response:
    """Let a paused job go on from where it was."""
    response = answer(views.job(await holds.resume(session, caller, job_id)))
    response.background = BackgroundTask(tell, parts, job_id, hint=False)
    return response


async def tell(parts: Parts, job_id: str, *, hint: bool = True) -> None:
    """Have a job's readers, and with `hint` the worker of a cancelled one, hear of it now."""
    try:
        if hint:
            await parts.log.publish(CANCEL_CHANNEL, job_id)
        await parts.log.ring(job_id)
    except Unavailable:
        # Workers ask Postgres each second, readers sweep: the hint only makes it sooner.
        return
    await parts.poke()
