"""The door: the one question whether a model may go through, asked by every verb that moves a stage or an alias.

Lock order, in every verb that may ask: the gate of the tenant, then the alias by name, then the version's row.
An audit is published without any of them; what it withdraws is found by core/catalog/withdrawals.py and, before
that has run, by every look at what can be asked for (core/catalog/gating.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Text, bindparam, func, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict, InvalidInput
from core.gate import refusals, service
from core.gate.evidence import Candidate, Subject
from core.gate.findings import FAILED_CHECK
from core.gate.service import Held
from core.gate.tables import Pass
from core.gate.weighing import ask
from core.security.keys import RISK_OWNER, Caller

MAX_FORCE_D = 30


class GateRefused(Conflict):
    """`criteria`: what failed or is missing, one by one."""

    code = "gate_refused"

    def __init__(self, message: str, criteria: Sequence[dict[str, Any]]) -> None:
        super().__init__(message, param="model")
        self.details = {"criteria": list(criteria)}


@dataclass(frozen=True, slots=True)
class Force:
    """Whoever sends this accepts the risk by name, for so many days."""

    reason: str
    expires_in_days: int

    def check(self) -> None:
        """Raises InvalidInput."""
        if not self.reason.strip():
            raise InvalidInput(
                "force.reason: say why it may go through all the same", param="force.reason"
            )
        if not 1 <= self.expires_in_days <= MAX_FORCE_D:
            raise InvalidInput(
                f"force.expires_in_days must be 1 to {MAX_FORCE_D}; after that it is withdrawn",
                param="force.expires_in_days",
            )


async def lock(session: AsyncSession, tenant_id: str) -> None:
    """One move through a tenant's gate, or of it, at a time; until the transaction ends."""
    line = f"gate {tenant_id}"
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(line, 0))))


async def admit(
    session: AsyncSession,
    caller: Caller,
    candidate: Candidate,
    door: str,
    force: Force | None = None,
    *,
    policy: Held | None = None,
) -> Pass:
    """Let a candidate through a door and record why, or raise. To be called under `lock`.

    Raises GateRefused naming each criterion that is failed or has no evidence; with `force` Forbidden for a key
    without the role, InvalidInput for a force without reason or end.
    """
    held = policy or await service.current(session, caller.tenant_id)
    if force is not None:
        force.check()
        caller.must_be(RISK_OWNER, "force the gate")
    answer = await ask(session, caller.tenant_id, candidate, held)
    if not answer.passes and force is None:
        raise GateRefused(refusals.sentence(candidate, door, answer), refusals.criteria(answer))
    row = Pass(
        tenant_id=caller.tenant_id, door=door, model=candidate.name,
        version_id=candidate.version_id, **candidate.subject._asdict(),
        audit=answer.audit.job_id if answer.passes and answer.audit else None,
        policy_name=held.name, policy_version=held.version, policy_digest=held.digest,
        key_id=caller.key_id, reason=force.reason if force and not answer.passes else "",
        lacking=[] if answer.passes else list(answer.why),
        expires_at=None if answer.passes or force is None else _after(force.expires_in_days),
    )  # fmt: skip
    session.add(row)
    await session.flush()
    return row


_STANDING = text(
    """SELECT DISTINCT ON (p.door, p.weights, p.adapter, p.dataset)
           p.id, p.door, p.weights, p.adapter, p.dataset, p.audit, p.expires_at, p.at, p.policy_name,
           p.policy_version, p.reason, p.key_id, p.warned_at, p.withdrawn_at, p.withdrawn_by,
           a.expires_at AS evidence_until,
           (SELECT f.job_id FROM audits f
            WHERE f.tenant_id = p.tenant_id AND f.weights = p.weights AND f.adapter = p.adapter
              AND f.published_at > coalesce(a.published_at, p.at)
              AND f.policy_digest IN (p.policy_digest, :current)
              AND (f.verdict = 'FAIL' OR jsonb_path_exists(f.findings, CAST(:failed_check AS jsonpath)))
            ORDER BY f.published_at DESC LIMIT 1) AS failed_by
       FROM gate_passes p LEFT JOIN audits a ON a.job_id = p.audit
       WHERE p.tenant_id = :tenant AND p.door = ANY(:doors)
       ORDER BY p.door, p.weights, p.adapter, p.dataset, p.id DESC"""
).bindparams(bindparam("doors", type_=ARRAY(Text)))


@dataclass(frozen=True, slots=True)
class Standing:
    """The newest admission of a subject at a door, and what speaks against it by now. `why`: empty: nothing;
    `withdrawn`: control has acted on that."""

    id: int
    audit: str | None
    failed_by: str | None
    expires_at: datetime | None
    warned: bool
    withdrawn: bool
    reason: str
    key_id: str
    policy: str
    why: str = ""


async def standing(
    session: AsyncSession, tenant_id: str, doors: Sequence[str], policy: Held
) -> dict[tuple[str, Subject], Standing]:
    """Of these doors, by door and subject; what is not in here was never admitted."""
    asked = {
        "tenant": tenant_id, "doors": list(doors), "current": policy.digest, "failed_check": FAILED_CHECK,
    }  # fmt: skip
    rows = await session.execute(_STANDING, asked)
    return {
        (row.door, Subject(row.weights, row.adapter, row.dataset)): Standing(
            id=row.id,
            audit=row.audit,
            failed_by=row.failed_by,
            expires_at=row.expires_at or row.evidence_until,
            warned=row.warned_at is not None,
            withdrawn=row.withdrawn_at is not None,
            reason=row.reason,
            key_id=row.key_id,
            policy=f"{row.policy_name}@{row.policy_version}",
            why=_against(row, policy),
        )
        for row in rows
    }


def _against(row: Any, policy: Held) -> str:
    now = datetime.now(UTC)
    if row.withdrawn_at is not None:
        by = f": the audit {row.withdrawn_by} failed" if row.withdrawn_by else ""
        return f"it was withdrawn on {row.withdrawn_at:%Y-%m-%d %H:%M} UTC{by}"
    if row.failed_by is not None:
        return f"the audit {row.failed_by} failed"
    if row.audit is None and row.expires_at <= now:
        return f"what it was forced through with ended on {row.expires_at:%Y-%m-%d}"
    if policy.policy.on_expiry == "withdraw" and row.evidence_until and row.evidence_until <= now:
        return f"its evidence ({row.audit}) expired on {row.evidence_until:%Y-%m-%d}"
    return ""


def _after(days: int) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)
