"""POST /v1/embeddings: texts or token ids in, a vector for each out."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api.admission import admit_to
from api.deps import CallerDep, IdempotencyKey, PartsDep
from api.routes.jobs import ERRORS, answer
from api.routes.openai import answers, road
from api.routes.openai.models import served
from api.routes.openai.road import Errand
from api.routes.openai.shapes import OPENAI, sound
from core.catalog.models import MEASURES
from core.jobs import embedding
from core.jobs.embedding import Inputs
from core.jobs.job import Job, State
from core.jobs.kinds import EmbeddingJob

ANSWERS: dict[int | str, dict[str, Any]] = dict.fromkeys((403, 500, 504), ERRORS[422])
router = APIRouter(prefix="/v1", tags=["openai"], responses=ERRORS | ANSWERS, dependencies=[OPENAI])

_EXAMPLE = {"model": "all-MiniLM-L6-v2", "input": ["The river", "The mill"]}


class Embeddings(BaseModel):
    """Each field honoured, recorded, or refused by its name."""

    model_config = ConfigDict(extra="forbid", strict=True)
    model: str
    input: Inputs
    dimensions: int | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: str | None = None
    # Beyond OpenAI's, for clients that send them in extra_body.
    completion_window: str | None = None
    idempotency_key: str | None = Field(None, description="the Idempotency-Key header, in the body")

    def job(self) -> EmbeddingJob:
        """Raises InvalidInput naming the field at fault."""
        fields = {
            "kind": "embedding",
            **self.model_dump(exclude={"encoding_format", "user"}),
            "metadata": {"user": self.user} if self.user is not None else {},
        }
        return sound(EmbeddingJob, fields, {"metadata": "user"})


@router.post("/embeddings")
async def create(
    body: Annotated[Embeddings, Body(examples=[_EXAMPLE])],
    request: Request,
    caller: CallerDep,
    parts: PartsDep,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """One ordinary job. Its id is in x-penstock-job; a client that leaves cancels it."""
    model = await served(parts, body.model, MEASURES)
    spec = body.job()
    await admit_to(model, spec)
    # Taken before the job is made: a request that cannot be waited for must not leave a job behind.
    leave = parts.hub.take_seat(caller.tenant_id)
    try:
        errand = await road.submit(parts, caller, model, request, [spec], idempotency_key)
        try:
            jobs = await road.ended(errand, request)
        except TimeoutError:
            return answers.too_late(errand)
    finally:
        leave()
    if jobs is None:
        return Response(status_code=499)
    if jobs[0].state != State.SUCCEEDED:
        return answers.failed(jobs[0])
    return answer(_whole(errand, jobs[0], body.encoding_format), 200, errand.headers)


def _whole(errand: Errand, job: Job, form: str | None) -> dict[str, Any]:
    """The list of embeddings of a job that succeeded."""
    vectors = (job.result or {})["vectors"]
    used = job.usage or {}
    return {
        "object": "list",
        "data": [
            {
                "object": "embedding",
                "index": index,
                "embedding": vector if form == "base64" else embedding.floats(vector),
            }
            for index, vector in enumerate(vectors)
        ],
        "model": errand.model.name,
        "usage": {name: used.get(name, 0) for name in ("prompt_tokens", "total_tokens")},
    }
