"""The verbs for a tenant's guard: show it, set it, read what it met."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.classifiers import listed
from core.errors import InvalidInput
from core.guard.lowering import lowered
from core.guard.settings import GuardSettings, Judge, Router
from core.guard.tables import GuardCount, GuardCurrent, GuardVersion, GuardWatch
from core.security.keys import RISK_OWNER, Caller

OFF = GuardSettings()


class Embeds(NamedTuple):
    """The embedding model that routes here: its name, and the digest of its files."""

    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class Current:
    """A tenant's guard as it stands. `set_at` None: it never set one."""

    settings: GuardSettings
    digest: str
    set_at: datetime | None


async def current(session: AsyncSession, tenant_id: str) -> Current:
    row = (
        await session.execute(
            select(GuardVersion.body, GuardCurrent.digest, GuardCurrent.set_at)
            .join(GuardCurrent, (GuardCurrent.tenant_id == GuardVersion.tenant_id)
                  & (GuardCurrent.digest == GuardVersion.digest))
            .where(GuardVersion.tenant_id == tenant_id)
        )
    ).one_or_none()  # fmt: skip
    if row is None:
        return Current(OFF, OFF.digest, None)
    return Current(GuardSettings.model_validate(row.body), row.digest, row.set_at)


async def active(session: AsyncSession, tenant_id: str) -> str:
    """The digest of the guard that a job accepted now gets; empty: none."""
    found = await session.scalar(
        select(GuardCurrent.active).where(GuardCurrent.tenant_id == tenant_id)
    )
    return found or ""


async def version(session: AsyncSession, tenant_id: str, digest: str) -> GuardSettings | None:
    """Settings that this tenant has or had."""
    body = await session.scalar(
        select(GuardVersion.body).where(
            GuardVersion.tenant_id == tenant_id, GuardVersion.digest == digest
        )
    )
    return None if body is None else GuardSettings.model_validate(body)


async def put(
    session: AsyncSession, caller: Caller, wanted: GuardSettings, embeds: Embeds | None = None
) -> Current:
    """Have jobs accepted from now on guarded so. `embeds`: what a router goes by.

    Raises InvalidInput for a classifier or a router that cannot be had, Forbidden for less than what is enforced by a
    key without the role.
    """
    settings = resolved(wanted, embeds)
    digest, tenant = settings.digest, caller.tenant_id
    await _lock(session, tenant)
    if less := lowered((await current(session, tenant)).settings, settings):
        caller.must_be(RISK_OWNER, f"lower an enforced guard ({'; '.join(less)})")
    await session.execute(
        insert(GuardVersion)
        .values(
            tenant_id=tenant,
            digest=digest,
            body=settings.model_dump(mode="json"),
            key_id=caller.key_id,
        )
        .on_conflict_do_nothing()
    )
    row = {"digest": digest, "active": None if settings.mode == "off" else digest}
    now = datetime.now(UTC)
    await session.execute(
        insert(GuardCurrent)
        .values(tenant_id=tenant, set_at=now, **row)
        .on_conflict_do_update(index_elements=["tenant_id"], set_={"set_at": now, **row})
    )
    return Current(settings, digest, now)


async def _lock(session: AsyncSession, tenant_id: str) -> None:
    """One change of a tenant's guard at a time: what is lower is told from what is in force."""
    line = f"guard {tenant_id}"
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(line, 0))))


def resolved(settings: GuardSettings, embeds: Embeds | None = None) -> GuardSettings:
    """With the names, digests and thresholds of its models, so that a digest of settings says all.

    Raises InvalidInput naming the field.
    """
    judge, router = settings.classifier, settings.router
    found: dict[str, Judge | Router] = {}
    if judge is not None:
        found["classifier"] = _judge(judge)
    # Of one that is off nothing is asked, so that whatever is gone can be let go.
    if router is not None and settings.mode != "off":
        if embeds is None:
            raise InvalidInput(
                "router: no embedding model is served here; start one (penstock worker embedding), or leave it out",
                param="router",
                code="model_not_found",
            )
        found["router"] = router.model_copy(update={"model": embeds.name, "digest": embeds.digest})
    return settings.model_copy(update=found)


def _judge(asked: Judge) -> Judge:
    classifier = listed.classifier(asked.name)
    for name in asked.categories:
        if name not in classifier.categories:
            raise InvalidInput(
                f"classifier.categories: {classifier.name} does not know {name!r}; it knows "
                f"{', '.join(classifier.categories)}",
                param="classifier.categories",
            )
    thresholds = classifier.card.thresholds
    wanted = asked.categories or dict.fromkeys(thresholds)
    least = {name: thresholds[name] if told is None else told for name, told in wanted.items()}
    return asked.model_copy(update={"digest": classifier.digest, "categories": least})


async def counts(session: AsyncSession, tenant_id: str, days: int) -> list[GuardCount]:
    """What was met on the last `days` days (UTC), today among them, the newest first."""
    since: date = datetime.now(UTC).date() - timedelta(days=days - 1)
    rows = await session.scalars(
        select(GuardCount)
        .where(GuardCount.tenant_id == tenant_id, GuardCount.day >= since)
        .order_by(GuardCount.day.desc(), GuardCount.category, GuardCount.group, GuardCount.action)
    )
    return list(rows)


async def watches(session: AsyncSession, tenant_id: str) -> list[GuardWatch]:
    rows = await session.scalars(
        select(GuardWatch).where(GuardWatch.tenant_id == tenant_id).order_by(GuardWatch.number)
    )
    return list(rows)
