"""The catalog: stages of versions and their history, aliases and their way back, datasets."""

from typing import Annotated

from fastapi import APIRouter, Body, Path, Query, Response

from api import adapters, views
from api.deps import CallerDep, PartsDep
from api.routes import catalog_shapes as shapes
from api.routes.jobs import ERRORS, answer
from api.routes.openai.shapes import KNOWN
from core.catalog import aliases, datasets, models, stages

router = APIRouter(prefix="/v1", tags=["catalog"], responses=ERRORS, dependencies=[KNOWN])

DatasetId = Annotated[
    str, Path(pattern=datasets.DATASET_ID, examples=["dsv_01kaq0v9ej6xk0m3c8s5t1w2yz"])
]
_NO_REASON = shapes.Because()
_IMPORT = {
    "base": "rill",
    "suffix": "mill",
    "files": {
        "adapter_config.json": "file_01kaq0v9ej6xk0m3c8s5t1w2yz",
        "adapter_model.safetensors": "file_01kaq0v9ej6xk0m3c8s5t1w2z0",
    },
}


# These stand before GET /v1/models/{name}, whose name takes slashes (api/main.py).
@router.post("/models/{name:path}/stage", responses={200: {"model": shapes.ModelView}})
async def move(
    name: shapes.Text512,
    wanted: Annotated[
        shapes.StageChange,
        Body(examples=[{"stage": "staging", "reason": "94 % on the held-out set"}]),
    ],
    caller: CallerDep,
    parts: PartsDep,
) -> Response:
    """Give a version another stage: candidate, staging, production, retired, one step at a time.

    Production takes a passing audit under your gate's policy (GET /v1/gate), or a force by who may.
    """
    force = wanted.force.force() if wanted.force else None
    async with parts.db.begin() as session:
        moved = await stages.move(session, caller, name, wanted.stage, wanted.reason, force)
    parts.changed(caller)
    offer = await parts.offer(caller)
    return answer(shapes.version(moved, offer.named(moved.name), offer.names(parts.settings)))


@router.post("/models/import", status_code=201, responses={201: {"model": shapes.ModelView}})
async def bring(
    wanted: Annotated[shapes.Import, Body(examples=[_IMPORT])], caller: CallerDep, parts: PartsDep
) -> Response:
    """Make a version of a LoRA adapter of yours: safetensors only, and only what fits its base."""
    made = await adapters.bring(parts, caller, wanted)
    parts.changed(caller)
    offer = await parts.offer(caller)
    shown = shapes.version(made, offer.named(made.name), offer.names(parts.settings))
    return answer(shown, 201, {"location": f"/v1/models/{made.name}"})


@router.get("/models/{name:path}/history", responses={200: {"model": shapes.StageHistory}})
async def stage_history(name: shapes.Text512, caller: CallerDep, parts: PartsDep) -> Response:
    """Every move of a version between stages, oldest first: who, when, why. Retired ones, too."""
    async with parts.db.single() as session:
        moves = await stages.history(session, caller, name)
    return answer({"object": "list", "data": [shapes.stage_move(one) for one in moves]})


@router.get("/aliases", responses={200: {"model": shapes.AliasList}})
async def listed(caller: CallerDep, parts: PartsDep) -> Response:
    """Your aliases, then those of the settings that none of yours stands before."""
    async with parts.db.single() as session:
        own = await aliases.listed(session, caller.tenant_id)
    shown = [shapes.alias(one) for one in own]
    taken = {one.name for one in own}
    shown += [
        shapes.everyones(name, target)
        for name, target in sorted(models.known_aliases(parts.settings).items())
        if name not in taken
    ]
    return answer({"object": "list", "data": shown})


@router.put("/aliases/{name}", responses={200: {"model": shapes.AliasView}})
async def put(
    name: shapes.AliasName, wanted: shapes.AliasChange, caller: CallerDep, parts: PartsDep
) -> Response:
    """Have a name of yours lead to a version or a served model; make it when it is new.

    A name that your gate's policy has for a door, such as prod, takes a passing audit, or a force by who may.
    """
    force = wanted.force.force() if wanted.force else None
    async with parts.db.begin() as session:
        moved = await aliases.put(session, caller, name, wanted.model, wanted.reason, force)
    parts.changed(caller)
    return answer(shapes.alias(moved))


@router.get("/aliases/{name}", responses={200: {"model": shapes.AliasWithHistory}})
async def get(name: shapes.AliasName, caller: CallerDep, parts: PartsDep) -> Response:
    """One of your aliases with every move of it, oldest first."""
    async with parts.db.single() as session:
        found = await aliases.get(session, caller, name)
        moves = await aliases.history(session, caller, name)
    history = [shapes.alias_move(one) for one in moves]
    return answer(shapes.alias(found) | {"history": history})


@router.delete("/aliases/{name}", responses={200: {"model": shapes.DeletedAlias}})
async def delete(name: shapes.AliasName, caller: CallerDep, parts: PartsDep) -> Response:
    """Delete an alias; a rollback brings it back."""
    async with parts.db.begin() as session:
        await aliases.remove(session, caller, name)
    parts.changed(caller)
    return answer({"object": "alias.deleted", "name": name, "deleted": True})


@router.post("/aliases/{name}/rollback", responses={200: {"model": shapes.AliasView}})
async def rollback(
    name: shapes.AliasName,
    caller: CallerDep,
    parts: PartsDep,
    wanted: Annotated[shapes.Because | None, Body()] = None,
) -> Response:
    """Have an alias lead to what it led to before its last move; again: one further back. The gate is asked, too."""
    given = wanted or _NO_REASON
    force = given.force.force() if given.force else None
    async with parts.db.begin() as session:
        moved = await aliases.rollback(session, caller, name, given.reason, force)
    parts.changed(caller)
    return answer(shapes.alias(moved))


@router.get("/datasets", responses={200: {"model": shapes.DatasetList}})
async def listed_datasets(
    caller: CallerDep,
    parts: PartsDep,
    name: Annotated[str | None, Query(pattern=aliases.NAME)] = None,
    after: Annotated[str | None, Query(pattern=datasets.DATASET_ID)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    """Your datasets' versions, newest first; `after=<last_id>` continues."""
    async with parts.db.single() as session:
        found, more = await datasets.listed(session, caller, name=name, after=after, limit=limit)
    return answer(views.page([shapes.dataset(one) for one in found], more))


@router.get("/datasets/{dataset_id}", responses={200: {"model": shapes.DatasetView}})
async def get_dataset(dataset_id: DatasetId, caller: CallerDep, parts: PartsDep) -> Response:
    """One version of a dataset, with the report of the pipeline that made it."""
    async with parts.db.single() as session:
        found = await datasets.get(session, caller, dataset_id, param="dataset_id")
    return answer(shapes.dataset(found))


@router.delete("/datasets/{dataset_id}", responses={200: {"model": shapes.DeletedDataset}})
async def delete_dataset(dataset_id: DatasetId, caller: CallerDep, parts: PartsDep) -> Response:
    """Take a version of a dataset out of sight; its bytes go after PENSTOCK_RETIRED_KEEP_D days."""
    async with parts.db.begin() as session:
        await datasets.retire(session, caller, dataset_id)
    return answer({"id": dataset_id, "object": "dataset", "deleted": True})
