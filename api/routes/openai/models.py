"""GET /v1/models: what can be asked for, in OpenAI's shape."""

from typing import Any

from fastapi import APIRouter, Response

from api.deps import CallerDep, Parts, PartsDep
from api.routes.jobs import ERRORS, answer
from api.routes.openai.shapes import OPENAI
from core.catalog import models
from core.catalog.models import Served
from core.errors import InvalidInput, NotFound
from core.ledger.caps import plain

router = APIRouter(prefix="/v1", tags=["openai"], responses=ERRORS, dependencies=[OPENAI])


async def served(parts: Parts, name: str, kind: str | None = models.WRITES) -> Served:
    """The model behind a name or alias, for jobs of this kind. Raises InvalidInput for one that is for
    others, NotFound for none, which is what OpenAI's clients know for it."""
    try:
        return models.resolve(name, await parts.served(), parts.settings, param="model", kind=kind)
    except InvalidInput as error:
        if error.code != "model_not_found":
            raise
        raise NotFound(error.message, param="model", code=error.code) from error


def _shown(model: Served) -> dict[str, Any]:
    return {
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": "penstock",
        # Beyond OpenAI's: the tokens that a prompt and its answer may have together.
        "max_model_len": model.context,
        # The SHA-256 of its files; null: not known.
        "digest": model.digest or None,
        # And what a million tokens cost, as decimals in strings.
        "prices": {
            "in": plain(model.prices.ask),
            "out": plain(model.prices.say),
            "cached": plain(model.prices.cached),
        },
    }


@router.get("/models")
async def listed(_: CallerDep, parts: PartsDep) -> Response:
    """Every model that a worker serves."""
    shown = [_shown(model) for model in await parts.served()]
    return answer({"object": "list", "data": shown, "has_more": False})


@router.get("/models/{model:path}")
async def retrieve(model: str, _: CallerDep, parts: PartsDep) -> Response:
    """One model by its name or an alias of it."""
    return answer(_shown(await served(parts, model, None)))


@router.delete("/models/{model:path}")
async def delete(model: str, _: CallerDep, parts: PartsDep) -> Response:
    """Refused: a model is there as long as a worker serves it."""
    found = await served(parts, model, None)
    raise InvalidInput(
        f"Deleting models is not supported: {found.name} is there as long as a worker serves it.",
        param="model",
        code="unsupported",
    )
