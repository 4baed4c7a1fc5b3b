"""POST /v1/completions: text or token ids in, what follows out; several prompts are several jobs, made together."""

import asyncio
from contextlib import ExitStack
from typing import Annotated

from fastapi import APIRouter, Body, Request, Response

from api.admission import admit_to
from api.deps import CallerDep, IdempotencyKey, PartsDep
from api.routes.jobs import ERRORS
from api.routes.openai import answers, completion_answers, road
from api.routes.openai.chat import ANSWERS
from api.routes.openai.models import served
from api.routes.openai.shapes import OPENAI
from core.catalog import tokenizer
from core.errors import InvalidInput
from core.openai.completion_answers import Echo
from core.openai.completion_shapes import NAMES, Completion
from core.openai.shapes import renamed

router = APIRouter(prefix="/v1", tags=["openai"], responses=ERRORS | ANSWERS, dependencies=[OPENAI])

_EXAMPLE = {"model": "rill", "prompt": "The river", "max_tokens": 40}


@router.post("/completions")
async def create(
    body: Annotated[Completion, Body(examples=[_EXAMPLE])],
    request: Request,
    caller: CallerDep,
    parts: PartsDep,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """One ordinary job a prompt, all or none. Their ids are in x-penstock-job; a client that leaves cancels them."""
    model = await served(parts, caller, body.model)
    if body.stream_options is not None and not body.stream:
        raise InvalidInput("stream_options needs stream: true", param="stream_options")
    specs = body.jobs()
    try:
        for spec in specs:
            await admit_to(model, spec)
    except InvalidInput as error:
        raise renamed(error, NAMES) from error
    text = await asyncio.to_thread(tokenizer.load, model.source)
    echoes = [Echo(text, spec, echoed=bool(body.echo)) for spec in specs]
    with ExitStack() as seat:
        seat.callback(await road.seat(parts, caller, request))
        errand = await road.submit(parts, caller, model, request, specs, idempotency_key)
        if body.stream:
            frames = completion_answers.chunks(
                errand, specs[0].n, echoes, include_usage=body.include_usage, padded=body.padded
            )
            return answers.Chunks(errand, seat.pop_all().close, frames)
        return await answers.once(
            errand, request, lambda jobs: completion_answers.whole(errand, jobs, echoes)
        )
