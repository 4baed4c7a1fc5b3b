"""Which of a model's audits decides: the newest pass under the policy that no failure outweighs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, cast, func, or_, select
from sqlalchemy.dialects.postgresql import JSONPATH
from sqlalchemy.ext.asyncio import AsyncSession

from core.gate.evidence import Candidate, Subject
from core.gate.findings import FAILED_CHECK, Seen, asked, less
from core.gate.service import Held
from core.gate.tables import Audit


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether evidence lets a candidate through. `verdict`: PASS, FAIL, INCONCLUSIVE, INVALID, or MISSING; `audit`:
    the one that decides; `why`: each criterion that is failed or missing, in words, `criteria` for programs."""

    verdict: str
    policy: Held
    audit: Audit | None = None
    why: tuple[str, ...] = ()
    criteria: tuple[dict[str, Any], ...] = ()

    @property
    def passes(self) -> bool:
        return self.verdict == "PASS"


@dataclass(frozen=True, slots=True)
class _Brief:
    """Of an audit what weighing takes: findings run to megabytes. `items`: asked of each suite."""

    job_id: str
    published_at: datetime
    expires_at: datetime | None
    items: dict[str, int]

    @property
    def expired(self) -> bool:
        return self.expires_at is None or self.expires_at <= datetime.now(UTC)

    def outweighs(self, passing: "_Brief") -> bool:
        """A failure is taken back by a later pass that asked as much: fewer items until chance agrees are none."""
        return self.published_at >= passing.published_at or less(passing.items, self.items)


async def ask(session: AsyncSession, tenant_id: str, candidate: Candidate, policy: Held) -> Answer:
    """Whether there is evidence that lets it through now; changes nothing."""
    subject = candidate.subject
    if not subject.weights:
        why = f"the digest of {candidate.name}'s weights is not known, so nothing can be shown of them"
        return Answer("MISSING", policy, None, (why,))
    its, exactly = _same_answers(tenant_id, subject), _bound(subject, policy)
    # What answers alike fails alike, whatever is said to have been in its data and whatever the policy is called.
    failures = await _briefs(session, *its, Audit.policy_digest == policy.digest, _failed())
    passes = await _briefs(session, *its, *exactly, Audit.verdict == "PASS")
    kept = [one for one in passes if not any(other.outweighs(one) for other in failures)]
    if counts := next((one for one in kept if not one.expired), None):
        return Answer("PASS", policy, await session.get_one(Audit, counts.job_id))
    against = next((one for one in failures if not kept or one.outweighs(kept[0])), None)
    if against is not None:
        return _said(policy, await session.get_one(Audit, against.job_id), "FAIL")
    newest = await _newest(session, *its, *exactly)
    if newest is None:
        return Answer("MISSING", policy, None, (await _nothing(session, its, subject, policy),))
    if newest.verdict == "PASS":
        why = f"the evidence ({newest.job_id}) has expired; audit it again"
        return Answer("MISSING", policy, newest, (why,))
    return _said(policy, newest, str(newest.verdict))


def _same_answers(tenant_id: str, subject: Subject) -> tuple[ColumnElement[bool], ...]:
    """Published audits of what answers exactly as this does."""
    return (
        Audit.tenant_id == tenant_id,
        Audit.weights == subject.weights,
        Audit.adapter == subject.adapter,
        Audit.published_at.is_not(None),
    )


def _bound(subject: Subject, policy: Held) -> tuple[ColumnElement[bool], ...]:
    """True of exactly this, under exactly that."""
    return (
        Audit.dataset == subject.dataset,
        Audit.policy_name == policy.name,
        Audit.policy_version == policy.version,
        Audit.policy_digest == policy.digest,
    )


def _failed() -> ColumnElement[bool]:
    """Also where the whole is INVALID because another suite could not be read."""
    found = func.jsonb_path_exists(Audit.findings, cast(FAILED_CHECK, JSONPATH))
    return or_(Audit.verdict == "FAIL", found)


async def _briefs(session: AsyncSession, *wanted: ColumnElement[bool]) -> list[_Brief]:
    """Newest first. All there are: one left out might be the one that decides."""
    rows = await session.execute(
        select(Audit.job_id, Audit.published_at, Audit.expires_at, Audit.findings["suites"])
        .where(*wanted)
        .order_by(Audit.published_at.desc(), Audit.job_id.desc())
    )
    return [_Brief(job, at, until, asked(suites)) for job, at, until, suites in rows]


async def _newest(session: AsyncSession, *wanted: ColumnElement[bool]) -> Audit | None:
    found: Audit | None = await session.scalar(
        select(Audit)
        .where(*wanted)
        .order_by(Audit.published_at.desc(), Audit.job_id.desc())
        .limit(1)
    )
    return found


def _said(policy: Held, audit: Audit, verdict: str) -> Answer:
    seen = Seen.of(audit)
    return Answer(verdict, policy, audit, seen.words, seen.criteria)


async def _nothing(
    session: AsyncSession, its: Sequence[ColumnElement[bool]], subject: Subject, policy: Held
) -> str:
    """Which evidence is missing, as near as what there is allows to say."""
    last = await _newest(session, *its)
    if last is None:
        return f"it was never audited under {policy.called}"
    if last.dataset != subject.dataset:
        return f"the last audit ({last.job_id}) is of a version trained on other data"
    by = f"{last.policy_name}@{last.policy_version}" if last.policy_name else "no policy"
    return (
        f"the last audit ({last.job_id}) was judged by {by}, and the gate goes by {policy.called}"
    )
