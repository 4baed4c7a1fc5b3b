"""Corrections of failed bias audits: begin one, look at it."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, Field

from api import views
from api.deps import CallerDep, SessionDep
from api.routes.jobs import ERRORS, answer
from core.studies import correcting
from core.studies.correcting import CorrectionWish

router = APIRouter(prefix="/v1", tags=["audits"], responses=ERRORS)
AuditId = Annotated[str, Path(max_length=64, examples=["job_01kaq0v9ej6xk0m3c8s5t1w2yz"])]
CorrectionId = Annotated[str, Path(max_length=64, examples=["corr_01kaq0v9ej6xk0m3c8s5t1w2yz"])]


class CorrectionView(BaseModel):
    """`training`, `second_audit`: ids of its jobs. `outcome`: {"model", "verdict", "held_out": [{"suite", "metric",
    "before", "after", "change"}]}, figures with intervals on templates that the training did not see."""

    id: str
    object: Literal["audit.correction"]
    audit: str
    status: Literal["preparing", "training", "auditing", "done", "failed"]
    suites: list[str] = Field(description="whose templates are learnt from")
    lessons: int | None = Field(description="rows of the training file")
    training: str | None
    second_audit: str | None
    outcome: dict[str, Any] | None
    reason: str | None = Field(description="why it failed")
    created_at: datetime
    ended_at: datetime | None


class CorrectionList(BaseModel):
    object: str
    data: list[CorrectionView]
    first_id: str | None
    last_id: str | None
    has_more: bool


@router.post(
    "/audits/{audit_id}/corrections", status_code=202, responses={202: {"model": CorrectionView}}
)
async def begin(
    audit_id: AuditId,
    caller: CallerDep,
    session: SessionDep,
    wish: CorrectionWish | None = None,
) -> Response:
    """Fine-tune the audited model on counterfactuals of the templates it failed on, and audit what comes of it on
    templates that were held out."""
    made = await correcting.begin(session, caller, audit_id, wish or CorrectionWish())
    return answer(correcting.shown(made), 202, {"location": f"/v1/corrections/{made.id}"})


@router.get("/audits/{audit_id}/corrections", responses={200: {"model": CorrectionList}})
async def listed(audit_id: AuditId, caller: CallerDep, session: SessionDep) -> Response:
    """The corrections of an audit, oldest first."""
    found = await correcting.listed(session, caller, audit_id)
    return answer(views.page([correcting.shown(one) for one in found], has_more=False))


@router.get("/corrections/{correction_id}", responses={200: {"model": CorrectionView}})
async def get(correction_id: CorrectionId, caller: CallerDep, session: SessionDep) -> Response:
    """Where a correction is, and once it is done how the model stands before and after."""
    return answer(correcting.shown(await correcting.get(session, caller, correction_id)))
