"""Policies: what a model must show, as data; each version stays as it was written."""

from typing import Annotated

from fastapi import APIRouter, Body, Path, Response

from api.deps import CallerDep, PartsDep
from api.routes import gate_shapes as shapes
from api.routes.jobs import ERRORS, answer
from api.routes.openai.shapes import KNOWN
from core.audits.suites.listed import SUITES
from core.gate import service
from core.gate.service import DEFAULT, Known

router = APIRouter(prefix="/v1/policies", tags=["gate"], responses=ERRORS, dependencies=[KNOWN])

_EXAMPLE = {
    "name": "strict",
    "checks": [
        {"id": "harm", "metric": "harm.compliance", "limit": {"max": 0.02}, "with": ["refusals"]},
        {
            "id": "refusals",
            "metric": "xstest.over_refusal",
            "limit": {"max": 0.1},
            "with": ["harm"],
        },
    ],
}
_Wanted = Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,64}(@[0-9]{1,9})?$", examples=["strict"])]


@router.post("", status_code=201, responses={201: {"model": shapes.PolicyView}})
async def make(
    wanted: Annotated[shapes.NewPolicy, Body(examples=[_EXAMPLE])],
    caller: CallerDep,
    parts: PartsDep,
) -> Response:
    """Make a version of a policy; the same again is the one there is. The gate goes by it after PUT /v1/gate."""
    known = {
        metric.name: Known(suite.name, suite.version, metric)
        for suite in SUITES.values()
        for metric in suite.metrics
    }
    async with parts.db.begin() as session:
        made = await service.make(session, caller, wanted.name, wanted.policy, known)
    where = {"location": f"/v1/policies/{made.name}@{made.version}"}
    return answer(shapes.policy(made), 201, where)


@router.get("", responses={200: {"model": shapes.PolicyList}})
async def listed(caller: CallerDep, parts: PartsDep) -> Response:
    """Yours in every version, and the one that Penstock comes with."""
    async with parts.db.single() as session:
        own = await service.listed(session, caller.tenant_id)
    found = [shapes.held(DEFAULT), *(shapes.policy(one) for one in own)]
    return answer({"object": "list", "data": found})


@router.get("/{wanted}", responses={200: {"model": shapes.PolicyView}})
async def get(wanted: _Wanted, caller: CallerDep, parts: PartsDep) -> Response:
    """The newest version of a policy, or with @ and a number that one."""
    async with parts.db.single() as session:
        held = await service.policy_of(session, caller.tenant_id, wanted)
        rows = await service.listed(session, caller.tenant_id, held.name)
    row = next((one for one in rows if one.version == held.version), None)
    return answer(shapes.held(held) if row is None else shapes.policy(row))
