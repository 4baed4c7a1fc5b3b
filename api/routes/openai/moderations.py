"""POST /v1/moderations: how a classifier judges texts; no job, since no model of a worker is asked."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Body, Response

from api.deps import CallerDep
from api.routes.jobs import ERRORS, answer
from api.routes.openai.shapes import OPENAI
from core.ids import new_id
from core.openai.moderation_shapes import Moderations, result

router = APIRouter(prefix="/v1", tags=["openai"], responses=ERRORS, dependencies=[OPENAI])


@router.post("/moderations")
async def create(
    body: Annotated[Moderations, Body(examples=[{"input": "The river is cold."}])], _: CallerDep
) -> Response:
    """Categories that the classifier does not judge are null; which one it was, and its digest, is in the answer."""
    classifier, texts = body.classifier(), body.texts()
    scores = await asyncio.to_thread(classifier.scores, texts)
    done: dict[str, Any] = {
        "id": new_id("modr"),
        "model": classifier.name,
        "results": [result(classifier, one) for one in scores],
        "classifier": {"digest": classifier.digest, "card": classifier.card.dump()["measured"]},
    }
    return answer(done)
