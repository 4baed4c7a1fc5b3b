"""/v1/models: what can be asked for, in OpenAI's shape, with what the catalog knows of it beside."""

from fastapi import APIRouter, Response

from api.deps import CallerDep, Parts, PartsDep
from api.routes import catalog_shapes as shapes
from api.routes.jobs import ERRORS, answer
from api.routes.openai.shapes import OPENAI
from core.catalog import models, stages, versions
from core.catalog.models import Served
from core.errors import InvalidInput, NotFound
from core.security.keys import Caller

router = APIRouter(prefix="/v1", tags=["openai"], responses=ERRORS, dependencies=[OPENAI])


async def served(
    parts: Parts, caller: Caller, name: str, kind: str | None = models.WRITES
) -> Served:
    """The model behind a name or alias, for jobs of this kind; None: to be shown. Raises InvalidInput for one that is
    for others, NotFound for none, which is what OpenAI's clients know for it."""
    try:
        return await parts.resolve(caller, name, kind=kind, to_answer=kind is not None)
    except InvalidInput as error:
        if error.code != "model_not_found":
            raise
        raise NotFound(error.message, param="model", code=error.code) from error


@router.get("/models", responses={200: {"model": shapes.ModelList}})
async def listed(caller: CallerDep, parts: PartsDep) -> Response:
    """Every model that a worker serves, then your versions, oldest first; not those that are retired."""
    offer = await parts.offer(caller)
    async with parts.db.single() as session:
        own = await versions.listed(session, caller.tenant_id)
    names = offer.names(parts.settings)
    shown = [
        shapes.model(one, names) for one in offer.models if not one.name.startswith(versions.FT)
    ]
    shown += [
        shapes.version(one, offer.named(one.name), names)
        for one in own
        if one.stage != stages.RETIRED
    ]
    return answer({"object": "list", "data": shown, "has_more": False})


@router.get("/models/{model:path}", responses={200: {"model": shapes.ModelView}})
async def retrieve(model: shapes.Text512, caller: CallerDep, parts: PartsDep) -> Response:
    """One model by its name or an alias of it; a version of yours by its id, too, and when no worker serves it."""
    offer = await parts.offer(caller)
    names = offer.names(parts.settings)
    # A model's own name comes before any alias, as in models.resolve.
    target = model if offer.named(model) else offer.aliases.get(model, model)
    if not target.startswith((versions.FT, "ver_")):
        found = await served(parts, caller, target, None)
        if not found.name.startswith(versions.FT):
            return answer(shapes.model(found, names))
        target = found.name
    async with parts.db.single() as session:
        version = await versions.get(session, caller, target)
    if version.stage == stages.RETIRED:
        raise NotFound(
            f"{version.name} is retired; what became of it: GET /v1/models/{version.name}/history.",
            param="model",
            code="model_not_found",
        )
    return answer(shapes.version(version, offer.named(version.name), names))


@router.delete("/models/{model:path}", responses={200: {"model": shapes.DeletedModel}})
async def delete(model: shapes.Text512, caller: CallerDep, parts: PartsDep) -> Response:
    """Retire a version of yours: it answers no more, and its bytes go after PENSTOCK_RETIRED_KEEP_D days.

    Refused for one in production or behind an alias, and for a model that workers serve for everybody.
    """
    if not model.startswith((versions.FT, "ver_")):
        found = await served(parts, caller, model, None)
        raise InvalidInput(
            f"Deleting {found.name} is not supported: it is there as long as a worker serves it. "
            "Versions (ft:...) can be deleted.",
            param="model",
            code="unsupported",
        )
    async with parts.db.begin() as session:
        retired = await stages.retire(session, caller, model, "deleted through the API")
    parts.changed(caller)
    return answer({"id": retired.name, "object": "model", "deleted": True})
