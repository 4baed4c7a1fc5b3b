"""What a model is held against: the version in production of the same base and suffix, or one that was named."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.audits.wishes import PRODUCTION
from core.catalog import subjects, versions
from core.catalog.models import Offer, Served
from core.catalog.stages import PRODUCTION as IN_PRODUCTION
from core.catalog.tables import Version
from core.errors import InvalidInput
from core.gate.evidence import Candidate, Subject, digest_of_suites
from core.gate.tables import Audit
from core.security.keys import Caller

# Audits of a baseline that are looked through, the newest first.
_LOOK_AT = 50


async def resolved(
    session: AsyncSession, caller: Caller, wanted: str | None, model: Served, offer: Offer
) -> dict[str, Any] | None:
    """{"model", "version_id", "weights", "adapter", "served", "production": it was not named}; None: there is none.

    "production": the tenant's version in that stage of the same base and suffix, else of an adapter the model that
    it is put on. Raises InvalidInput for a name that is not offered, and for the model itself.
    """
    if wanted is None:
        return None
    if wanted == PRODUCTION:
        now = await _in_production(session, caller, model, offer)
        return None if now is None else await _row(session, caller, now, production=True)
    found = offer.named(offer.aliases.get(wanted, wanted))
    if found is None or found.kind != model.kind:
        names = ", ".join(sorted(m.name for m in offer.models if m.kind == model.kind))
        raise InvalidInput(
            f"baseline: {wanted[:128]!r} is not served here. Models: {names}.", param="baseline"
        )
    if found.name == model.name:
        raise InvalidInput(
            "baseline: a model cannot be held against itself; name another or null",
            param="baseline",
        )
    return await _row(session, caller, found, production=False)


def served_by(model: Served, subject: Subject) -> str:
    """The digest that a worker which answers for this model knows its own files by: of a whole model of the catalog it
    is not the artefact's."""
    return subject.weights if model.adapter else model.digest


async def _in_production(
    session: AsyncSession, caller: Caller, model: Served, offer: Offer
) -> Served | None:
    mine = await session.scalar(
        select(Version).where(*versions.published(caller.tenant_id), Version.name == model.name)
    )
    if mine is None:
        return None
    name = await session.scalar(
        select(Version.name)
        .where(
            *versions.published(caller.tenant_id),
            Version.base == mine.base,
            Version.suffix == mine.suffix,
            Version.stage == IN_PRODUCTION,
            Version.id != mine.id,
        )
        .order_by(Version.number.desc())
        .limit(1)
    )
    if name is not None:
        return offer.named(name)
    return offer.named(model.runs_on) if model.runs_on else None


async def candidate(session: AsyncSession, caller: Caller, model: Served) -> Candidate:
    """What an audit of this model is true of; the same digests as the gate's."""
    found = await session.scalar(
        select(Version).where(*versions.published(caller.tenant_id), Version.name == model.name)
    )
    return (
        Candidate(model.name, Subject(model.digest)) if found is None else subjects.candidate(found)
    )


async def _row(
    session: AsyncSession, caller: Caller, found: Served, *, production: bool
) -> dict[str, Any]:
    against = await candidate(session, caller, found)
    return {
        "model": found.name,
        "version_id": against.version_id,
        "weights": against.subject.weights,
        "adapter": against.subject.adapter,
        "served": served_by(found, against.subject),
        "production": production,
    }


async def earlier(
    session: AsyncSession,
    tenant_id: str,
    baseline: dict[str, Any],
    suite: dict[str, Any],
    settings: dict[str, Any],
) -> str | None:
    """The newest published audit of this baseline that asked this suite in the very same way: its job's id."""
    found = await session.execute(
        select(Audit.job_id, Audit.suites, Audit.settings)
        .where(
            Audit.tenant_id == tenant_id,
            Audit.weights == baseline["weights"],
            Audit.adapter == baseline["adapter"],
            Audit.published_at.is_not(None),
        )
        .order_by(Audit.published_at.desc())
        .limit(_LOOK_AT)
    )
    for job_id, suites, theirs in found:
        same = all(theirs.get(name) == settings[name] for name in ("seed", "render"))
        if same and any(digest_of_suites([one]) == digest_of_suites([suite]) for one in suites):
            return str(job_id)
    return None
