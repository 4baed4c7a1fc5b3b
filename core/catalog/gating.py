"""What stands behind a tenant's doors, what of it may not be asked any more, and how its gate gets another policy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.catalog import subjects, versions
from core.catalog.models import Model
from core.catalog.tables import Alias, Version
from core.gate import door, doors, service
from core.gate.door import Force, GateRefused, Standing
from core.gate.doors import PRODUCTION
from core.gate.evidence import Candidate, Subject
from core.gate.service import Held
from core.security.keys import RISK_OWNER, Caller


@dataclass(frozen=True, slots=True)
class Behind:
    """A model behind a door, and the admission that holds for it; None: it was never let in, or it is withdrawn."""

    door: str
    what: Candidate
    admission: Standing | None

    @property
    def why_not(self) -> str:
        """Why it may not be asked; empty: it may."""
        if self.admission is None:
            return "it has no admission that holds"
        return self.admission.why


async def behind(session: AsyncSession, tenant_id: str, held: Held) -> list[Behind]:
    """Everything that stands behind a tenant's doors now."""
    found = await _found(session, tenant_id, held)
    if not found:
        return []
    names = sorted({name for name, _ in found})
    known = await door.standing(session, tenant_id, names, held)
    return [Behind(name, what, known.get((name, what.subject))) for name, what in found]


async def withheld(session: AsyncSession, tenant_id: str, held: Held) -> dict[str, str]:
    """By name, aliases and versions that must not answer, and why: looked at with every offer, so that what an audit
    has failed is refused before the sweep has moved it."""
    refused = {
        _name(one): one.why_not for one in await behind(session, tenant_id, held) if one.why_not
    }
    gone = await session.scalars(
        select(Version.name).where(
            *versions.published(tenant_id), Version.withdrawn_at.is_not(None)
        )
    )
    return dict.fromkeys(gone, "it was withdrawn") | refused


async def fit(
    session: AsyncSession, tenant_id: str, alias: str, targets: Sequence[str]
) -> list[str]:
    """Those of an alias's earlier targets that it may still lead to, in the order given; all where it is no door."""
    held = await service.current(session, tenant_id)
    if not held.policy.doors.gates(alias):
        return list(targets)
    called = doors.alias(alias)
    known = await door.standing(session, tenant_id, [called], held)
    good = {subject for (_, subject), one in known.items() if not one.why}
    made = await _candidates(session, tenant_id, targets)
    return [name for name in targets if name in made and made[name].subject in good]


async def go_by(
    session: AsyncSession,
    caller: Caller,
    wanted: str,
    reason: str = "",
    grace: Force | None = None,
) -> Held:
    """Have a tenant's gate go by another policy. What stands behind its doors must pass that, or is let stand by name.

    Raises Forbidden for a key without the role, NotFound for no such policy, GateRefused naming what would not stand.
    """
    caller.must_be(RISK_OWNER, "change the gate's policy")
    await door.lock(session, caller.tenant_id)
    held = await service.policy_of(session, caller.tenant_id, wanted)
    if grace is not None:
        grace.check()
    before = await service.current(session, caller.tenant_id)
    if held == before:
        return held
    await service.go_by(session, caller, held, reason)
    refused: list[GateRefused] = []
    for name, what in await _found(session, caller.tenant_id, held):
        try:
            await door.admit(session, caller, what, name, grace, policy=held)
        except GateRefused as error:
            refused.append(error)
    if refused:
        raise GateRefused(
            f"Under {held.called} {len(refused)} of your models could not stay where they are: "
            f"{' | '.join(one.message for one in refused)}. Audit them under it first, or send grace "
            "with a reason and expires_in_days.",
            [row for one in refused for row in one.details["criteria"]],
        )
    return held


async def _found(session: AsyncSession, tenant_id: str, held: Held) -> list[tuple[str, Candidate]]:
    in_production = await session.scalars(
        select(Version)
        .where(*versions.published(tenant_id), Version.stage == PRODUCTION)
        .order_by(Version.id)
    )
    found = [(PRODUCTION, subjects.candidate(one)) for one in in_production]
    rows = await session.execute(
        select(Alias, Version, Model.digest)
        .outerjoin(Version, Version.id == Alias.version_id)
        .outerjoin(Model, Model.name == Alias.target)
        .where(Alias.tenant_id == tenant_id)
        .order_by(Alias.name)
    )
    for alias, version, digest in rows:
        if held.policy.doors.gates(alias.name):
            what = _candidate(alias.target, version, digest)
            found.append((doors.alias(alias.name), what))
    return found


async def _candidates(
    session: AsyncSession, tenant_id: str, names: Sequence[str]
) -> Mapping[str, Candidate]:
    rows = await session.scalars(
        select(Version).where(*versions.published(tenant_id), Version.name.in_(names))
    )
    found = {one.name: subjects.candidate(one) for one in rows}
    served = await session.execute(select(Model.name, Model.digest).where(Model.name.in_(names)))
    return {name: Candidate(name, Subject(digest)) for name, digest in served} | found


def _candidate(target: str, version: Version | None, digest: str | None) -> Candidate:
    if version is not None:
        return subjects.candidate(version)
    return Candidate(target, Subject(digest or ""))


def _name(one: Behind) -> str:
    """What a request would call it: the alias, or the version."""
    kind, _, name = one.door.partition(":")
    return name if kind == "alias" else one.what.name
