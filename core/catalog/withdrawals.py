"""Withdrawals: what an audit has failed since it was let in, or was forced in for a time that is over, goes out again.

Looked at every second by control. Requests are refused before that, by the same look (core/catalog/gating.py):
this makes it last, leads aliases back to what still passes, and tells those who subscribe.
"""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.catalog import aliases, gating, stages, versions
from core.catalog.gating import Behind
from core.catalog.tables import AliasMove, Version
from core.errors import PenstockError
from core.events import outbox
from core.gate import door, service, weighing
from core.gate.doors import PRODUCTION
from core.gate.service import Held
from core.gate.tables import Pass
from core.security.keys import Caller

# Who is recorded to have moved what no key did.
BY = "gate"
WARN = timedelta(days=3)
# An alias that has been moved thousands of times leads back to one of its latest targets or to none.
LOOK_BACK = 50


class Withdrawn(NamedTuple):
    """`instead`: what an alias leads to now; empty: nothing."""

    door: str
    model: str
    why: str
    audit: str | None
    instead: str = ""


# Tenants that control has to look at; what of theirs, `sweep` decides with the policy at hand. Digests of the data
# are left to it, too: a version's never change.
_DUE = text(
    """WITH here AS (
           SELECT v.tenant_id, 'production' AS door, v.id AS version_id,
                  CASE v.kind WHEN 'full' THEN v.digest ELSE v.base_digest END AS weights,
                  CASE v.kind WHEN 'full' THEN '' ELSE v.digest END AS adapter
           FROM versions v WHERE v.stage = 'production' AND v.published_at IS NOT NULL
           UNION ALL
           SELECT a.tenant_id, 'alias:' || a.name, a.version_id,
                  CASE v.kind WHEN 'full' THEN v.digest WHEN 'adapter' THEN v.base_digest
                              ELSE coalesce(m.digest, '') END,
                  CASE v.kind WHEN 'adapter' THEN v.digest ELSE '' END
           FROM aliases a LEFT JOIN versions v ON v.id = a.version_id LEFT JOIN models m ON m.name = a.target
           WHERE EXISTS (SELECT FROM gate_passes p
                         WHERE p.tenant_id = a.tenant_id AND p.door = 'alias:' || a.name))
       SELECT DISTINCT h.tenant_id
       FROM here h
       LEFT JOIN LATERAL (
           SELECT * FROM gate_passes p
           WHERE p.tenant_id = h.tenant_id AND p.door = h.door AND p.weights = h.weights AND p.adapter = h.adapter
             AND p.version_id IS NOT DISTINCT FROM h.version_id
           ORDER BY p.id DESC LIMIT 1) p ON true
       LEFT JOIN audits a ON a.job_id = p.audit
       WHERE p.withdrawn_at IS NULL
         AND (p.id IS NULL OR p.audit IS NULL AND p.expires_at <= now()
              OR coalesce(a.expires_at, p.expires_at) <= now() + make_interval(secs => :warn)
                 AND p.warned_at IS NULL
              OR a.expires_at <= now()
              OR EXISTS (SELECT FROM audits f
                         WHERE f.tenant_id = p.tenant_id AND f.weights = p.weights AND f.adapter = p.adapter
                           AND f.published_at > coalesce(a.published_at, p.at)
                           AND f.verdict IN ('FAIL', 'INVALID')))"""
)


async def due(session: AsyncSession) -> list[str]:
    """Tenants of whose models something is to be looked at; none of them may need anything done."""
    return list((await session.scalars(_DUE, {"warn": WARN.total_seconds()})).all())


async def sweep(session: AsyncSession, tenant_id: str) -> list[Withdrawn]:
    """Withdraw what stands no longer, renew what newer evidence lets stand, warn of what soon will not.

    To be called in a transaction. Any number may run: the gate's lock makes the second find it done.
    """
    await door.lock(session, tenant_id)
    held = await service.current(session, tenant_id)
    done = []
    for one in await gating.behind(session, tenant_id, held):
        if one.admission is not None and one.admission.withdrawn:
            continue
        if one.why_not:
            if not await _renewed(session, tenant_id, one, held):
                done.append(await _withdrawn(session, tenant_id, one, held))
        elif _ends_soon(one) and not await _renewed(session, tenant_id, one, held):
            await _warned(session, tenant_id, one)
    for name in sorted({one.model for one in done}):
        first = next(one for one in done if one.model == name)
        await outbox.tell(
            session, tenant_id, kind="model", subject=name, state="withdrawn", mark=_mark(first)
        )
    return done


async def _renewed(session: AsyncSession, tenant_id: str, one: Behind, held: Held) -> bool:
    """Whether a newer audit lets it stand; recorded as an admission of its own."""
    answer = await weighing.ask(session, tenant_id, one.what, held)
    known = one.admission.audit if one.admission is not None else None
    if not answer.passes or answer.audit is None or answer.audit.job_id == known:
        return False
    await door.admit(session, Caller(tenant_id, BY), one.what, one.door, policy=held)
    return True


async def _withdrawn(session: AsyncSession, tenant_id: str, one: Behind, held: Held) -> Withdrawn:
    by = Caller(tenant_id, BY)
    audit = one.admission.failed_by if one.admission is not None else None
    reason = f"withdrawn: {one.why_not}"
    await _closed(session, tenant_id, one, held, audit)
    if one.what.version_id is not None:
        row = await versions.get(session, by, one.what.version_id, lock=True)
        await stages.withdraw(session, by, row, reason, audit)
    if one.door == PRODUCTION:
        return Withdrawn(one.door, one.what.name, one.why_not, audit)
    alias = one.door.partition(":")[2]
    instead = await _led_back(session, by, alias, one.what.name, reason, audit)
    return Withdrawn(one.door, one.what.name, one.why_not, audit, instead)


async def _closed(
    session: AsyncSession, tenant_id: str, one: Behind, held: Held, audit: str | None
) -> None:
    """Mark the admission withdrawn; what never had one gets one that says so, lest it be told again every second."""
    if one.admission is not None:
        ended = {"withdrawn_at": func.now(), "withdrawn_by": audit}
        await session.execute(update(Pass).where(Pass.id == one.admission.id).values(ended))
        return
    session.add(
        Pass(
            tenant_id=tenant_id, door=one.door, model=one.what.name, version_id=one.what.version_id,
            **one.what.subject._asdict(), policy_name=held.name, policy_version=held.version,
            policy_digest=held.digest, key_id=BY, reason=one.why_not, expires_at=func.now(),
            withdrawn_at=func.now(),
        )
    )  # fmt: skip
    await session.flush()


async def _led_back(
    session: AsyncSession, by: Caller, alias: str, was: str, reason: str, audit: str | None
) -> str:
    """Have an alias lead to the last of its targets that passes now; empty: none does, and it answers nobody."""
    query = (
        select(AliasMove.was)
        .where(AliasMove.tenant_id == by.tenant_id, AliasMove.name == alias)
        .order_by(AliasMove.id.desc())
        .limit(LOOK_BACK)
    )
    for target in dict.fromkeys((await session.scalars(query)).all()):
        if target in (None, was):
            continue
        try:
            return (await aliases.lead(session, by, alias, target, reason, audit)).target
        except PenstockError:
            # Refused, retired or gone: the one before may do.
            continue
    return ""


async def _warned(session: AsyncSession, tenant_id: str, one: Behind) -> None:
    assert one.admission is not None
    await session.execute(
        update(Pass).where(Pass.id == one.admission.id).values(warned_at=func.now())
    )
    await outbox.tell(
        session, tenant_id, kind="model", subject=one.what.name, state="evidence_expiring",
        mark=str(one.admission.id),
    )  # fmt: skip


def _ends_soon(one: Behind) -> bool:
    """A forced admission, too: who is responsible should hear of it before it ends."""
    at = one.admission
    if at is None or at.warned or at.expires_at is None:
        return False
    return at.expires_at <= datetime.now(UTC) + WARN


def _mark(one: Withdrawn) -> str:
    return one.audit or datetime.now(UTC).strftime("%Y%m%dT%H%M%S")


async def count(session: AsyncSession) -> int:
    """Versions that are withdrawn now, of all tenants."""
    query = select(func.count()).select_from(Version).where(Version.withdrawn_at.is_not(None))
    return int(await session.scalar(query) or 0)
