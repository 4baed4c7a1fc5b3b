"""What the routes of audits take and give."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Path, Query
from pydantic import BaseModel, Field

from api import views
from core.audits.answers import Place
from core.audits.suite import Suite
from core.audits.tables import AuditAnswer
from core.audits.wishes import AuditWish
from core.events.types import rfc3339
from core.gate.tables import Audit
from core.jobs.job import Job, State
from core.jobs.kinds import AuditJob, Envelope, Priority

AuditId = Annotated[
    str, Path(pattern=r"^job_[0-9a-z]{26}$", examples=["job_01kaq0v9ej6xk0m3c8s5t1w2yz"])
]
Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE", "INVALID"]
AfterItem = Annotated[
    str | None,
    Query(
        pattern=r"^(model|baseline)\.[0-9]{1,9}\.[A-Za-z0-9_-]{1,64}$", description="the last_id"
    ),
]


class Ask(AuditWish, Envelope):
    """POST /v1/audits: a job of kind audit without saying so."""

    priority: Priority = "batch"

    def spec(self) -> AuditJob:
        return AuditJob.model_validate({"kind": "audit", **self.model_dump(exclude_unset=True)})


class AuditView(BaseModel):
    """An audit is its job: `id` is the job's, and `state`, `usage` and `cost` are those of GET /v1/jobs/{id}.

    `verdict`: null until the job has succeeded; only then it is evidence, until `expires_at`. `findings`: all that was
    found, of one audit alone, not of a list.
    """

    id: str
    object: Literal["audit"]
    model: str
    state: State
    verdict: Verdict | None
    weights: str = Field(description="SHA-256 of the weights that were asked")
    adapter: str | None
    dataset: str | None
    suites: list[dict[str, Any]]
    policy: dict[str, Any] | None = Field(description="{name, version, digest}")
    baseline: str | None
    settings: dict[str, Any]
    plan: dict[str, Any]
    progress: dict[str, Any] | None
    findings: dict[str, Any] | None
    error: dict[str, Any] | None
    usage: dict[str, Any] | None
    cost: str | None
    report: str
    created_at: datetime
    finished_at: datetime | None
    published_at: datetime | None
    expires_at: datetime | None
    metadata: dict[str, str]


class AuditList(BaseModel):
    object: Literal["list"]
    data: list[AuditView]
    first_id: str | None
    last_id: str | None
    has_more: bool


class ItemView(BaseModel):
    """`prompt`: exactly as the model was given it; `answer`: what it wrote, or [log probability in nats, tokens, bytes,
    likeliest] of each continuation; `row`: as the suite scored it."""

    id: str
    suite: str
    subject: Literal["model", "baseline"]
    item: str
    number: int
    prompt: str
    answer: dict[str, Any]
    row: dict[str, Any]
    usage: dict[str, Any]


class ItemList(BaseModel):
    object: Literal["list"]
    data: list[ItemView]
    first_id: str | None
    last_id: str | None
    has_more: bool


class PlanView(BaseModel):
    """What an audit would ask, and what so many items can show. `tokens`: an estimate."""

    object: Literal["audit.plan"]
    model: str
    policy: str | None
    baseline: str | None
    settings: dict[str, Any]
    items: int
    tokens: int
    suites: list[dict[str, Any]]
    checks: list[dict[str, Any]]


class MetricView(BaseModel):
    name: str
    title: str
    definition: str
    source: str
    better: Literal["lower", "higher", "neutral"]
    neutral: float | None
    unit: str


class SuiteView(BaseModel):
    """`needs`: files by name, true: it must be given. `limits`: what the suite does not show."""

    name: str
    version: str
    family: str
    title: str
    about: str
    source: str
    licence: str
    needs: dict[str, bool]
    options: dict[str, Any] = Field(description="their JSON schema")
    group_by: list[str]
    limits: list[str]
    metrics: list[MetricView]
    classifier: list[str] | None


class SuiteList(BaseModel):
    object: Literal["list"]
    data: list[SuiteView]


def audit(row: Audit, job: Job, *, whole: bool) -> dict[str, Any]:
    """`whole`: with its findings and plan."""
    told = views.job(job)
    named = {
        "name": row.policy_name, "version": row.policy_version, "digest": row.policy_digest,
    }  # fmt: skip
    return {
        "id": row.job_id,
        "object": "audit",
        "model": row.model,
        "state": job.state,
        "verdict": row.verdict if row.published_at else None,
        "weights": row.weights,
        "adapter": row.adapter or None,
        "dataset": row.dataset or None,
        "suites": row.suites,
        "policy": named if row.policy_name else None,
        "baseline": row.baseline["model"] if row.baseline else None,
        "settings": row.settings,
        "plan": row.plan if whole else {},
        "progress": None if row.published_at else told["result"],
        "findings": row.findings if whole and row.published_at else None,
        "error": job.error,
        "usage": job.usage,
        "cost": told["cost"],
        "report": f"/v1/audits/{row.job_id}/report",
        "created_at": told["created_at"],
        "finished_at": told["finished_at"],
        "published_at": rfc3339(row.published_at) if row.published_at else None,
        "expires_at": rfc3339(row.expires_at) if row.expires_at else None,
        "metadata": job.labels,
    }


def item(row: AuditAnswer) -> dict[str, Any]:
    return {
        "id": f"{row.subject}.{row.number}.{row.suite}",
        "suite": row.suite,
        "subject": row.subject,
        "item": row.item,
        "number": row.number,
        "prompt": row.prompt,
        "answer": row.answer,
        "row": row.row,
        "usage": row.usage,
    }


def place(after: str | None) -> Place | None:
    if after is None:
        return None
    subject, number, suite = after.split(".", 2)
    return Place(suite, subject, int(number))


def suite(found: Suite) -> dict[str, Any]:
    metrics: list[Mapping[str, Any]] = [
        {
            "name": m.name, "title": m.title, "definition": m.definition, "source": m.source,
            "better": m.better, "neutral": m.neutral, "unit": m.unit,
        }
        for m in found.metrics
    ]  # fmt: skip
    return {
        "name": found.name,
        "version": found.version,
        "family": found.family,
        "title": found.title,
        "about": found.about,
        "source": found.source,
        "licence": found.licence,
        "needs": dict(found.needs),
        "options": found.options.model_json_schema(),
        "group_by": list(found.group_by),
        "limits": list(found.limits),
        "metrics": metrics,
        "classifier": list(found.classifier) if found.classifier else None,
    }
