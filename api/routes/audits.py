"""Audits: plan, submit, list, get, and what was asked and answered item by item."""

from typing import Annotated

from fastapi import APIRouter, Body, Query, Response

from api import audits, views
from api.deps import CallerDep, IdempotencyKey, PartsDep
from api.routes import audit_shapes as shapes
from api.routes.jobs import ERRORS, accepted, answer
from api.routes.openai.shapes import KNOWN
from core.audits import answers, service
from core.audits.suites.listed import SUITES
from core.jobs import service as jobs

router = APIRouter(prefix="/v1/audits", tags=["audits"], responses=ERRORS, dependencies=[KNOWN])

_EXAMPLE = {
    "model": "rill",
    "suites": [{"suite": "bbq", "file": "file_01kaq0v9ej6xk0m3c8s5t1w2yz", "items": 400}],
    "policy": "default",
}
SuiteName = Annotated[str | None, Query(max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]


@router.post("", status_code=202, responses={202: {"model": views.JobView}})
async def submit(
    wanted: Annotated[shapes.Ask, Body(examples=[_EXAMPLE])],
    caller: CallerDep,
    parts: PartsDep,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Accept an audit, which is a job of kind audit: watch it, cancel it and read its usage as any other."""
    return await accepted(parts, caller, wanted.spec(), idempotency_key, "/v1/audits")


@router.post("/plan", responses={200: {"model": shapes.PlanView}})
async def plan(
    wanted: Annotated[shapes.Ask, Body(examples=[_EXAMPLE])], caller: CallerDep, parts: PartsDep
) -> Response:
    """What the same body would ask, and the smallest effects that so many items can see. Nothing is recorded."""
    return answer(await audits.plan(parts, caller, wanted.spec()))


@router.get("/suites", responses={200: {"model": shapes.SuiteList}})
async def suites(_: CallerDep) -> Response:
    """Every suite: what it asks, its metrics with their definitions and sources, the files it needs."""
    found = [shapes.suite(SUITES[name]) for name in sorted(SUITES)]
    return answer({"object": "list", "data": found})


@router.get("", responses={200: {"model": shapes.AuditList}})
async def listed(
    caller: CallerDep,
    parts: PartsDep,
    model: Annotated[str | None, Query(max_length=256, pattern=r"^[^\x00]*$")] = None,
    verdict: shapes.Verdict | None = None,
    after: Annotated[str | None, Query(pattern=r"^job_[0-9a-z]{26}$")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    """Your audits, newest first; `after=<last_id>` continues."""
    async with parts.db.single() as session:
        found, more = await service.listed(
            session, caller, model=model, verdict=verdict, after=after, limit=limit
        )
        of = await jobs.several(session, caller, [row.job_id for row in found])
    return answer(
        views.page([shapes.audit(row, of[row.job_id], whole=False) for row in found], more)
    )


@router.get("/{audit_id}", responses={200: {"model": shapes.AuditView}})
async def get(audit_id: shapes.AuditId, caller: CallerDep, parts: PartsDep) -> Response:
    """One audit: its verdict and findings once it has succeeded, until then its plan and how far it is."""
    async with parts.db.single() as session:
        row = await service.get(session, caller, audit_id)
        job = await jobs.get(session, caller, audit_id)
    return answer(shapes.audit(row, job, whole=True))


@router.get("/{audit_id}/items", responses={200: {"model": shapes.ItemList}})
async def items(
    audit_id: shapes.AuditId,
    caller: CallerDep,
    parts: PartsDep,
    suite: SuiteName = None,
    subject: Annotated[str | None, Query(pattern="^(model|baseline)$")] = None,
    after: shapes.AfterItem = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
) -> Response:
    """What was asked, answered and scored, also of an audit that runs or was cancelled; `after=<last_id>` continues."""
    async with parts.db.single() as session:
        await service.get(session, caller, audit_id)
        found, more = await answers.page(
            session, audit_id, suite=suite, subject=subject, after=shapes.place(after), limit=limit
        )
    return answer(views.page([shapes.item(row) for row in found], more))
