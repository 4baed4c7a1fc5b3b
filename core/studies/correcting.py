"""Corrections: begun by a client, looked at by anybody of its tenant, and moved on step by step by control."""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict, NotFound
from core.events.types import rfc3339
from core.gate.tables import Audit
from core.ids import new_id
from core.jobs.finetune import MAX_SUFFIX, Hyperparameters
from core.jobs.job import TERMINAL, Job
from core.security.keys import Caller
from core.studies.tables import Correction

FAMILY = "bias"
OPEN = ("preparing", "training", "auditing")
# The job that a state waits for; "preparing" waits for none.
STEPS = {"training": Correction.training, "auditing": Correction.second}


class CorrectionWish(BaseModel):
    """What a correction may be told. `hyperparameters`: as those of a fine-tune."""

    model_config = ConfigDict(extra="forbid")
    suffix: str = Field(
        "corrected", min_length=1, max_length=MAX_SUFFIX, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
    )
    seed: int | None = Field(None, ge=0, lt=2**31)
    hyperparameters: Hyperparameters = Field(default_factory=Hyperparameters)


async def begin(
    session: AsyncSession, caller: Caller, audit_id: str, wish: CorrectionWish
) -> Correction:
    """Take a failed bias audit up. Raises NotFound; Conflict for one that has not failed, or has its correction."""
    audit = await session.scalar(
        select(Audit)
        .where(Audit.job_id == audit_id, Audit.tenant_id == caller.tenant_id)
        .with_for_update()
    )
    if audit is None:
        raise NotFound(f"No audit {audit_id[:64]!r}. List them: GET /v1/audits.", param="audit_id")
    if audit.published_at is None:
        raise Conflict(
            f"{audit_id} has no verdict yet; wait until it has ended.", code="audit_not_ended"
        )
    suites = correctable(audit.findings or {})
    if not suites:
        raise Conflict(
            f"{audit_id} failed no bias check: a correction learns from the templates of those that failed.",
            code="nothing_to_correct",
        )
    await _alone(session, audit_id)
    made = Correction(
        id=new_id("corr"), tenant_id=caller.tenant_id, key_id=caller.key_id, first=audit_id,
        wish=wish.model_dump(mode="json"), suites=suites, state="preparing",
    )  # fmt: skip
    session.add(made)
    await session.flush()
    await session.refresh(made)
    return made


async def _alone(session: AsyncSession, audit_id: str) -> None:
    """The audit's row is locked: two that begin at once see each other here."""
    running = await session.scalar(
        select(Correction.id).where(Correction.first == audit_id, Correction.state.in_(OPEN))
    )
    if running is not None:
        raise Conflict(
            f"{running} corrects {audit_id} already; see GET /v1/corrections/{running}.",
            code="correction_running",
        )


def correctable(findings: Mapping[str, Any]) -> list[str]:
    """The bias suites of an audit's findings that have a check which failed."""
    failed = {one["metric"] for one in findings.get("checks", ()) if one["verdict"] == "FAIL"}
    return [
        suite["suite"]
        for suite in findings.get("suites", ())
        if suite.get("family") == FAMILY and failed & {f["metric"] for f in suite["figures"]}
    ]


async def get(session: AsyncSession, caller: Caller, correction_id: str) -> Correction:
    """Raises NotFound for one that is not there, or another tenant's."""
    found: Correction | None = await session.scalar(
        select(Correction).where(
            Correction.id == correction_id, Correction.tenant_id == caller.tenant_id
        )
    )
    if found is None:
        _missing(correction_id)
    return found


def _missing(correction_id: str) -> NoReturn:
    raise NotFound(f"No correction {correction_id[:64]!r}.", param="correction_id")


async def listed(session: AsyncSession, caller: Caller, audit_id: str) -> list[Correction]:
    """Those of an audit, oldest first; of an audit that is not there, none."""
    query = select(Correction).where(
        Correction.first == audit_id, Correction.tenant_id == caller.tenant_id
    )
    return list((await session.scalars(query.order_by(Correction.id))).all())


def shown(found: Correction) -> dict[str, Any]:
    """As a client sees it; {"id", "object", "audit", "status", "training", "second_audit", "outcome", ...}."""
    return {
        "id": found.id, "object": "audit.correction", "audit": found.first, "status": found.state,
        "suites": found.suites, "lessons": found.lessons, "training": found.training,
        "second_audit": found.second, "outcome": found.outcome, "reason": found.reason,
        "created_at": rfc3339(found.created_at),
        "ended_at": None if found.ended_at is None else rfc3339(found.ended_at),
    }  # fmt: skip


async def due(session: AsyncSession, state: str, limit: int) -> Sequence[str]:
    """Ids of corrections in this state whose next step can be taken, oldest first: their job has ended, or is gone.

    Those that only wait are left out, so that no number of long trainings (a paused one has no end) keeps another back.
    """
    query = select(Correction.id).where(Correction.state == state)
    step = STEPS.get(state)
    if step is not None:
        query = query.outerjoin(Job, Job.id == step).where(
            or_(Job.id.is_(None), Job.state.in_(TERMINAL))
        )
    return (await session.scalars(query.order_by(Correction.id).limit(limit))).all()


def fail(found: Correction, reason: str) -> None:
    """It ends here, and says why."""
    found.state, found.reason, found.ended_at = "failed", reason, func.now()
