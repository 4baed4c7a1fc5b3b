"""The gate: the policy it goes by, what stands behind its doors, and whether a model would pass one."""

from typing import Annotated

from fastapi import APIRouter, Body, Response

from api.deps import CallerDep, PartsDep
from api.routes import gate_shapes as shapes
from api.routes.jobs import ERRORS, answer
from api.routes.openai.shapes import KNOWN
from core.catalog import asked, gating
from core.gate import service

router = APIRouter(prefix="/v1/gate", tags=["gate"], responses=ERRORS, dependencies=[KNOWN])


@router.get("", responses={200: {"model": shapes.GateView}})
async def get(caller: CallerDep, parts: PartsDep) -> Response:
    """Which policy holds, where its doors are, and what stands behind them on which evidence."""
    async with parts.db.single() as session:
        held = await service.current(session, caller.tenant_id)
        behind = await gating.behind(session, caller.tenant_id, held)
    return answer(shapes.gate(held, behind))


@router.put("", responses={200: {"model": shapes.GateView}})
async def put(
    wanted: Annotated[shapes.GoBy, Body(examples=[{"policy": "default"}])],
    caller: CallerDep,
    parts: PartsDep,
) -> Response:
    """Have the gate go by another policy. Takes a key with the role risk-owner; what stands must pass it, too."""
    grace = wanted.grace.force() if wanted.grace else None
    async with parts.db.begin() as session:
        held = await gating.go_by(session, caller, wanted.policy, wanted.reason, grace)
        behind = await gating.behind(session, caller.tenant_id, held)
    parts.changed(caller)
    return answer(shapes.gate(held, behind))


@router.post("/check", responses={200: {"model": shapes.AnswerView}})
async def check(
    wanted: Annotated[shapes.Ask, Body(examples=[{"model": "rill", "door": "alias:prod"}])],
    caller: CallerDep,
    parts: PartsDep,
) -> Response:
    """Whether a model would pass a door now, and if not, each criterion that is failed or missing. Moves nothing."""
    async with parts.db.single() as session:
        what, found = await asked.would_pass(
            session, caller, wanted.model, wanted.door, wanted.policy
        )
    return answer(shapes.answered(what, wanted.door, found))
