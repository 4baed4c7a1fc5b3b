"""POST /v1/embeddings: texts or token ids in, a vector for each out."""

from contextlib import ExitStack
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request, Response

from api.admission import admit_to
from api.deps import CallerDep, IdempotencyKey, PartsDep
from api.routes.jobs import ERRORS
from api.routes.openai import answers, road
from api.routes.openai.models import served
from api.routes.openai.shapes import OPENAI
from core.catalog.models import MEASURES
from core.jobs.job import Job
from core.openai import embedding_answers
from core.openai.embedding_shapes import Embeddings

ANSWERS: dict[int | str, dict[str, Any]] = dict.fromkeys((403, 500, 504), ERRORS[422])
router = APIRouter(prefix="/v1", tags=["openai"], responses=ERRORS | ANSWERS, dependencies=[OPENAI])

_EXAMPLE = {"model": "all-MiniLM-L6-v2", "input": ["The river", "The mill"]}


@router.post("/embeddings")
async def create(
    body: Annotated[Embeddings, Body(examples=[_EXAMPLE])],
    request: Request,
    caller: CallerDep,
    parts: PartsDep,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """One ordinary job. Its id is in x-penstock-job; a client that leaves cancels it."""
    model = await served(parts, caller, body.model, MEASURES)
    spec = body.job()
    await admit_to(model, spec)

    def made(jobs: list[Job]) -> dict[str, Any]:
        result, usage = jobs[0].result or {}, jobs[0].usage or {}
        return embedding_answers.whole(model.name, result, usage, body.encoding_format)

    with ExitStack() as seat:
        # Taken before the job is made: a request that cannot be waited for must not leave a job behind.
        seat.callback(await road.seat(parts, caller, request))
        errand = await road.submit(parts, caller, model, request, [spec], idempotency_key)
        return await answers.once(errand, request, made)
