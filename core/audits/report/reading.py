"""What a report is made of: the audit, its job, its rows, and what was done about it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import and_, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.audits.answers import MODEL
from core.audits.shapes import row_of
from core.audits.tables import AuditAnswer
from core.errors import NotFound
from core.gate.tables import Audit, Pass
from core.measures.rows import Row
from core.security.keys import Caller

# Of what was done about an audit so much is shown, the newest first.
MOST = 20
# Jobs, explanations and corrections belong to rooms above this one: they are read by their tables.
_JOB = text(
    """SELECT j.state, j.attempt, j.created_at, j.started_at, j.finished_at, j.progress, j.usage,
              j.error, j.metadata, e.cost
       FROM jobs j LEFT JOIN ledger e ON e.id = j.id
       WHERE j.id = :id AND j.tenant_id = :tenant AND j.kind = 'audit'"""
)
_EXPLANATIONS = text(
    """SELECT id, state, spec -> 'audit' AS of, result, error FROM jobs
       WHERE tenant_id = :tenant AND kind = 'explain' AND spec -> 'audit' ->> 'id' = :id
       ORDER BY id DESC LIMIT 10"""
)
_CORRECTIONS = text(
    """SELECT c.id, c.first, c.second, c.training, c.state, c.outcome, c.reason, c.created_at
       FROM corrections c
       WHERE c.tenant_id = :tenant AND :id IN (c.first, c.second) ORDER BY c.id DESC LIMIT 10"""
)


@dataclass(frozen=True, slots=True)
class JobOf:
    """The audit's job, as far as a report tells of it."""

    state: str
    attempt: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    progress: dict[str, Any] | None
    usage: dict[str, Any] | None
    error: dict[str, Any] | None
    metadata: dict[str, str]
    cost: Decimal | None


@dataclass(frozen=True, slots=True)
class Found:
    """`rows`: by suite, in the suite's order; `first`: of each suite its first prompt as it was sent; `passes`: what
    went through the gate's doors on this audit, or by force with the same digests."""

    audit: Audit
    job: JobOf
    rows: dict[str, list[Row]] = field(default_factory=dict)
    first: list[AuditAnswer] = field(default_factory=list)
    passes: list[Pass] = field(default_factory=list)
    explanations: list[dict[str, Any]] = field(default_factory=list)
    corrections: list[dict[str, Any]] = field(default_factory=list)


async def read(session: AsyncSession, caller: Caller, audit_id: str) -> Found:
    """Raises NotFound for an audit that is not there or another tenant's."""
    which = {"id": audit_id, "tenant": caller.tenant_id}
    job = (await session.execute(_JOB, which)).one_or_none()
    audit = await session.get(Audit, audit_id) if job is not None else None
    if job is None or audit is None:
        raise NotFound(
            f"No audit {audit_id[:64]}. Check the id and the key's tenant.", param="audit_id"
        )
    if not concluded(job.state, audit):
        return Found(audit, JobOf(*job))
    return Found(
        audit,
        JobOf(*job),
        rows=await _rows(session, audit_id),
        first=await _first(session, audit_id),
        passes=await _passes(session, audit),
        explanations=await _dicts(session, _EXPLANATIONS, which),
        corrections=await _dicts(session, _CORRECTIONS, which),
    )


def concluded(state: str, audit: Audit) -> bool:
    """Whether there are findings that count: of a job that did not succeed none do."""
    return state == "succeeded" and audit.findings is not None


async def answers(
    session: AsyncSession, audit_id: str, suite: str, items: Sequence[str]
) -> dict[str, AuditAnswer]:
    """What the model was asked and answered, of these items."""
    query = select(AuditAnswer).where(
        AuditAnswer.job_id == audit_id,
        AuditAnswer.subject == MODEL,
        AuditAnswer.suite == suite,
        AuditAnswer.item.in_(items),
    )
    return {one.item: one for one in await session.scalars(query)}


async def _rows(session: AsyncSession, audit_id: str) -> dict[str, list[Row]]:
    query = (
        select(AuditAnswer.suite, AuditAnswer.item, AuditAnswer.row)
        .where(AuditAnswer.job_id == audit_id, AuditAnswer.subject == MODEL)
        .order_by(AuditAnswer.suite, AuditAnswer.number, AuditAnswer.item)
    )
    out: dict[str, list[Row]] = {}
    for suite, item, row in await session.execute(query):
        out.setdefault(suite, []).append(row_of(item, row))
    return out


async def _first(session: AsyncSession, audit_id: str) -> list[AuditAnswer]:
    query = (
        select(AuditAnswer)
        .where(AuditAnswer.job_id == audit_id, AuditAnswer.subject == MODEL)
        .distinct(AuditAnswer.suite)
        .order_by(AuditAnswer.suite, AuditAnswer.number, AuditAnswer.item)
    )
    return list((await session.scalars(query)).all())


async def _passes(session: AsyncSession, audit: Audit) -> list[Pass]:
    forced = and_(
        Pass.audit.is_(None),
        Pass.weights == audit.weights,
        Pass.adapter == audit.adapter,
        Pass.dataset == audit.dataset,
    )
    of_it = or_(Pass.audit == audit.job_id, Pass.withdrawn_by == audit.job_id, forced)
    query = select(Pass).where(Pass.tenant_id == audit.tenant_id, of_it).order_by(Pass.id.desc())
    return list((await session.scalars(query.limit(MOST))).all())


async def _dicts(session: AsyncSession, query: Any, which: dict[str, str]) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in await session.execute(query, which)]  # noqa: SLF001 - SQLAlchemy's public way to a row as a mapping
