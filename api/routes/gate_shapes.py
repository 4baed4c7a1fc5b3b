"""What the gate's routes take and give: the policy it goes by, what stands behind its doors, an answer, policies."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from api.routes.catalog_shapes import Forced, Reason
from core.catalog.gating import Behind
from core.events.types import rfc3339
from core.gate import policies, refusals
from core.gate.evidence import Candidate
from core.gate.policies import Policy
from core.gate.service import Held
from core.gate.tables import PolicyRow
from core.gate.weighing import Answer
from core.jobs.sampling import no_nul

PolicyName = Annotated[
    str,
    Field(max_length=80, description='"name" or "name@2"', examples=["default"]),
    AfterValidator(no_nul),
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class GoBy(_Body):
    """`grace`: lets what stands and does not pass the new policy stand for so many days, by name."""

    policy: Annotated[PolicyName, Field(min_length=1)]
    reason: Reason = ""
    grace: Forced | None = None


class Ask(_Body):
    """`door`: "production", or "alias:" and the alias's name. `policy`: another than the gate's."""

    model: Annotated[str, Field(min_length=1, max_length=512), AfterValidator(no_nul)]
    door: Annotated[str, Field(max_length=80), AfterValidator(no_nul)] = "production"
    policy: PolicyName = ""


class NewPolicy(Policy):
    """A policy with its name."""

    name: Annotated[str, Field(pattern=policies.NAME)]

    @property
    def policy(self) -> Policy:
        return Policy.model_validate(self.model_dump(by_alias=True, exclude={"name"}))


class PolicyView(BaseModel):
    """`body`: everything written out. `digest`: SHA-256 of what it says, which evidence is bound to."""

    object: Literal["policy"]
    name: str
    version: int
    digest: str
    builtin: bool
    key_id: str | None
    created_at: datetime | None
    body: dict[str, Any]


class PolicyList(BaseModel):
    object: Literal["list"]
    data: list[PolicyView]


class StandingView(BaseModel):
    """`stands` false: requests for it are refused, for `why`. `forced`: without evidence, until `expires_at`."""

    door: str
    model: str
    stands: bool
    why: str | None
    audit: str | None
    forced: bool
    reason: str | None
    key_id: str | None
    expires_at: datetime | None


class GateView(BaseModel):
    object: Literal["gate"]
    policy: str
    digest: str
    doors: dict[str, list[str]]
    standing: list[StandingView]


class AnswerView(BaseModel):
    """`verdict` MISSING: there is no evidence. `criteria`: each that failed or was not shown; `command`: what would
    show it; `next`: that and the other ways on, in words."""

    object: Literal["gate.check"]
    model: str
    door: str
    policy: str
    passes: bool
    verdict: Literal["PASS", "FAIL", "INCONCLUSIVE", "INVALID", "MISSING"]
    audit: str | None
    expires_at: datetime | None
    why: list[str]
    criteria: list[dict[str, Any]]
    command: str | None
    next: str | None


def policy(row: PolicyRow) -> dict[str, Any]:
    return {
        "object": "policy",
        "name": row.name,
        "version": row.version,
        "digest": row.digest,
        "builtin": False,
        "key_id": row.key_id,
        "created_at": rfc3339(row.created_at),
        "body": row.body,
    }


def held(one: Held) -> dict[str, Any]:
    """The one that Penstock comes with."""
    return {
        "object": "policy",
        "name": one.name,
        "version": one.version,
        "digest": one.digest,
        "builtin": one.name == policies.BUILTIN,
        "key_id": None,
        "created_at": None,
        "body": one.policy.data(),
    }


def gate(one: Held, behind: list[Behind]) -> dict[str, Any]:
    doors = one.policy.doors
    return {
        "object": "gate",
        "policy": one.called,
        "digest": one.digest,
        "doors": {"stages": list(doors.stages), "aliases": list(doors.aliases)},
        "standing": [_standing(what) for what in behind],
    }


def _standing(one: Behind) -> dict[str, Any]:
    at = one.admission
    forced = at is not None and at.audit is None
    return {
        "door": one.door,
        "model": one.what.name,
        "stands": not one.why_not,
        "why": one.why_not or None,
        "audit": at.audit if at else None,
        "forced": forced,
        "reason": at.reason if at and forced else None,
        "key_id": at.key_id if at else None,
        "expires_at": rfc3339(at.expires_at) if at and at.expires_at else None,
    }


def answered(what: Candidate, at: str, one: Answer) -> dict[str, Any]:
    until = one.audit.expires_at if one.audit is not None else None
    return {
        "object": "gate.check",
        "model": what.name,
        "door": at,
        "policy": one.policy.called,
        "passes": one.passes,
        "verdict": one.verdict,
        "audit": one.audit.job_id if one.audit is not None else None,
        "expires_at": rfc3339(until) if until else None,
        "why": list(one.why),
        "criteria": list(one.criteria),
        "command": None if one.passes else refusals.command(what, one.policy),
        "next": refusals.advice(what, at, one) or None,
    }
