"""The guard: what a tenant's answers go by, what it met, and the watch on gaps between groups of requests."""

from typing import Annotated

from fastapi import APIRouter, Body, Query, Response

from api import guards
from api.deps import CallerDep, PartsDep
from api.routes import guard_shapes as shapes
from api.routes.jobs import ERRORS, answer
from api.routes.openai.shapes import KNOWN
from core.guard import service
from core.guard.settings import GuardSettings
from core.guard.trying import tried

router = APIRouter(prefix="/v1/guard", tags=["guard"], responses=ERRORS, dependencies=[KNOWN])


@router.get("", responses={200: {"model": shapes.GuardView}})
async def get(caller: CallerDep, parts: PartsDep) -> Response:
    """The settings that jobs accepted now are answered under."""
    async with parts.db.single() as session:
        current = await service.current(session, caller.tenant_id)
    return answer(shapes.guard(current, await guards.routes(parts, current.settings)))


@router.put("", responses={200: {"model": shapes.GuardView}})
async def put(
    wanted: Annotated[GuardSettings, Body(examples=[{"mode": "observe"}])],
    caller: CallerDep,
    parts: PartsDep,
) -> Response:
    """Have jobs accepted from now on answered under these settings; those accepted before keep theirs. What keeps less
    than the guard in force, where that is enforced, takes a key with the role risk-owner."""
    embeds = await guards.embeds(parts, wanted)
    async with parts.db.begin() as session:
        current = await service.put(session, caller, wanted, embeds)
    parts.caching.regarded(caller.tenant_id)
    return answer(shapes.guard(current, await guards.routes(parts, current.settings)))


@router.get("/counts", responses={200: {"model": shapes.CountList}})
async def counts(
    caller: CallerDep, parts: PartsDep, days: Annotated[int, Query(ge=1, le=366)] = 30
) -> Response:
    """What was met in answers, by day (UTC), category, group and action; a second late at most."""
    async with parts.db.single() as session:
        rows = await service.counts(session, caller.tenant_id, days)
    return answer(shapes.counted(rows))


@router.get("/watches", responses={200: {"model": shapes.WatchList}})
async def watches(caller: CallerDep, parts: PartsDep) -> Response:
    """The tests of gaps between groups, and whether they have alarmed."""
    async with parts.db.single() as session:
        rows = await service.watches(session, caller.tenant_id)
    return answer(shapes.watched(rows))


@router.post("/test", responses={200: {"model": shapes.TestView}})
async def test(
    wanted: Annotated[shapes.Test, Body(examples=[{"text": "Write to jane@example.com."}])],
    caller: CallerDep,
    parts: PartsDep,
) -> Response:
    """What would leave of a text, under the tenant's settings or others. Nothing is counted."""
    if wanted.guard is None:
        async with parts.db.single() as session:
            settings = (await service.current(session, caller.tenant_id)).settings
    else:
        settings = service.resolved(wanted.guard, await guards.embeds(parts, wanted.guard))
    looks = await guards.looks(parts, settings)
    found = await tried(settings, wanted.text, json=wanted.is_json, looks=looks)
    return answer(shapes.tested(found))
