"""POST /v1/chat/completions: a conversation in, the assistant's next message out, whole or as it is made."""

from contextlib import ExitStack
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request, Response

from api.admission import admit_to, room
from api.deps import CallerDep, IdempotencyKey, Parts, PartsDep
from api.routes.jobs import ERRORS
from api.routes.openai import answers, chat_answers, road
from api.routes.openai.models import served
from api.routes.openai.shapes import OPENAI
from core.catalog.models import Served
from core.errors import InvalidInput
from core.jobs.kinds import InferenceJob
from core.openai.chat_shapes import Chat
from core.openai.shapes import renamed

ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/json": {}, "text/event-stream": {}}},
    **dict.fromkeys((403, 500, 504), ERRORS[422]),
}
router = APIRouter(prefix="/v1", tags=["openai"], responses=ERRORS | ANSWERS, dependencies=[OPENAI])

_EXAMPLE = {
    "model": "rill",
    "messages": [{"role": "user", "content": "Tell me of the river."}],
    "max_tokens": 40,
}


@router.post("/chat/completions")
async def create(
    body: Annotated[Chat, Body(examples=[_EXAMPLE])],
    request: Request,
    caller: CallerDep,
    parts: PartsDep,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """One ordinary job. Its id is in x-penstock-job; a client that leaves cancels it."""
    model = await served(parts, caller, body.model)
    spec = await _admitted(parts, model, body)
    told = body.told("flex" if spec.priority == "batch" else "default")
    with ExitStack() as seat:
        # Taken before the job is made: a request that cannot be waited for must not leave a job behind.
        seat.callback(await road.seat(parts, caller, request))
        errand = await road.submit(parts, caller, model, request, [spec], idempotency_key)
        if body.stream:
            frames = chat_answers.chunks(
                errand, spec, told, include_usage=body.include_usage, padded=body.padded
            )
            return answers.Chunks(errand, seat.pop_all().close, frames)
        return await answers.once(
            errand, request, lambda jobs: chat_answers.whole(errand, jobs[0], told)
        )


async def _admitted(parts: Parts, model: Served, body: Chat) -> InferenceJob:
    if body.stream_options is not None and not body.stream:
        raise InvalidInput("stream_options needs stream: true", param="stream_options")
    limit = body.limit()
    if limit is None:
        limit = parts.settings.chat_max_tokens or None
    try:
        spec = body.job(1 if limit is None else limit)
        if limit is None:
            return spec.model_copy(update={"max_tokens": await room(model, spec)})
        await admit_to(model, spec)
    except InvalidInput as error:
        raise renamed(error, body.names) from error
    return spec
