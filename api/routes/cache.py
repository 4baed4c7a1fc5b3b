"""DELETE /v1/cache: a tenant has its answers forgotten."""

from fastapi import APIRouter, Response

from api.deps import CallerDep, PartsDep
from api.routes.jobs import ERRORS, answer
from core.jobs import alike

router = APIRouter(prefix="/v1", tags=["cache"], responses=ERRORS)


@router.delete("/cache", responses={200: {"content": {"application/json": {}}}})
async def purge(caller: CallerDep, parts: PartsDep) -> Response:
    """Forget your cached answers; the jobs they came from stay. Other API processes follow within a second."""
    async with parts.db.begin() as session:
        await alike.purge(session, caller.tenant_id)
    gone = await parts.caching.exact.purge(caller.tenant_id)
    return answer({"object": "cache", "deleted": True, "entries": gone})
