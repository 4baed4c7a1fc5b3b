"""POST /generate: the short way, a job that is waited for. It is the same job on the same road."""

import asyncio
import contextlib
from typing import Annotated, Literal

from fastapi import APIRouter, Body, Response
from pydantic import AfterValidator, BaseModel, Field

from api import views
from api.admission import admit
from api.deps import CallerDep, Parts, PartsDep
from api.errors import ErrorEnvelope
from api.routes.jobs import ERRORS, answer
from core import telemetry
from core.errors import Conflict, PenstockError
from core.jobs import service
from core.jobs.caching import CacheWish
from core.jobs.job import TERMINAL, Job, State
from core.jobs.kinds import InferenceJob
from core.jobs.sampling import Sampling, no_nul
from core.jobs.submission import Wish
from core.security.keys import Caller

router = APIRouter(tags=["generate"], responses=ERRORS)


class Generate(Sampling):
    prompt: Annotated[str, AfterValidator(no_nul)] = Field(min_length=1, max_length=1_000_000)
    model_size: Literal["1B", "7B", "30B"] | None = None
    cache: CacheWish | None = None


class Generated(BaseModel):
    id: str
    model: str
    text: str
    finish_reason: str
    usage: dict[str, float | str]


@router.post(
    "/generate",
    responses={
        200: {"model": Generated},
        202: {"model": views.JobView, "description": "not done in time; poll Location"},
        500: {"model": ErrorEnvelope, "description": "the job failed; the message names it"},
    },
)
async def generate(
    body: Annotated[Generate, Body(examples=[{"prompt": "The river", "max_tokens": 40}])],
    caller: CallerDep,
    parts: PartsDep,
) -> Response:
    """Submit, wait for the result, answer it. After `generate_timeout_s`: 202 and where to poll."""
    spec = InferenceJob.model_validate(
        {
            **body.model_dump(exclude={"model_size"}),
            "kind": "inference",
            "model": body.model_size or "",
        }
    )
    model = await admit(parts, caller, spec, param="model_size")
    # Taken before the job is made: a request that cannot be waited for must not leave a job behind.
    leave = parts.hub.take_seat(caller.tenant_id)
    try:
        done = await parts.submit(Wish(caller, spec, model))
        telemetry.JOBS_ACCEPTED.labels(spec.kind).inc()
        await parts.poke()
        job = await _wait(parts, caller, done.job.id)
    finally:
        leave()
    headers = {"location": f"/v1/jobs/{job.id}"}
    if done.cache is not None:
        headers["x-penstock-cache"] = done.cache
    if State(job.state) not in TERMINAL:
        return answer(views.job(job), 202, headers)
    if job.state != State.SUCCEEDED:
        raise _error(job)
    result = job.result or {}
    shown = {"id": job.id, "model": job.model, "usage": job.usage, **result}
    return answer(shown, 200, headers)


async def _wait(parts: Parts, caller: Caller, job_id: str) -> Job:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(parts.settings.generate_timeout_s):
            async for _ in parts.hub.follow(job_id, 0, parts.settings.sse_keepalive_s):
                continue
    async with parts.db.begin() as session:
        return await service.get(session, caller, job_id)


def _error(job: Job) -> PenstockError:
    if job.state == State.FAILED:
        error = job.error or {}
        return PenstockError(f"Job {job.id} failed: {error.get('message')}", code=error.get("code"))
    return Conflict(f"Job {job.id} was {job.state} before it had a result", code=f"job_{job.state}")
