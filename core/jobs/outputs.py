"""What runs of evals answered, in the order of their audit's suites and items."""

from collections.abc import AsyncIterator, Sequence
from typing import Literal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.audits.answers import MODEL
from core.audits.tables import AuditAnswer
from core.gate.tables import Audit

PAGE = 200


async def audits(session: AsyncSession, ids: Sequence[str]) -> dict[str, Audit]:
    """By their jobs' ids; callers have looked whose they are."""
    query = select(Audit).where(Audit.job_id.in_(ids)).execution_options(populate_existing=True)
    return {audit.job_id: audit for audit in await session.scalars(query)}


async def walked(
    session: AsyncSession,
    audit: Audit,
    after: tuple[int, int] | None,
    order: Literal["asc", "desc"],
) -> AsyncIterator[AuditAnswer]:
    """The model's answers from behind `after`, which is a suite's place and an item's number."""
    names = [one["name"] for one in audit.suites]
    up = order == "asc"
    first = after[0] if after is not None else (0 if up else len(names) - 1)
    for place in range(first, len(names)) if up else range(min(first, len(names) - 1), -1, -1):
        last = after[1] if after is not None and place == after[0] else None
        while True:
            page = await _page(session, audit.job_id, names[place], last, up)
            for row in page:
                yield row
            if len(page) < PAGE:
                break
            last = page[-1].number


async def _page(
    session: AsyncSession, job_id: str, suite: str, last: int | None, up: bool
) -> Sequence[AuditAnswer]:
    number = AuditAnswer.number
    query = select(AuditAnswer).where(
        AuditAnswer.job_id == job_id, AuditAnswer.subject == MODEL, AuditAnswer.suite == suite
    )
    if last is not None:
        query = query.where(number > last if up else number < last)
    return (
        await session.scalars(query.order_by(number.asc() if up else number.desc()).limit(PAGE))
    ).all()


async def at(session: AsyncSession, audit: Audit, place: int, number: int) -> AuditAnswer | None:
    if place >= len(audit.suites):
        return None
    found: AuditAnswer | None = await session.scalar(
        select(AuditAnswer).where(
            AuditAnswer.job_id == audit.job_id,
            AuditAnswer.subject == MODEL,
            AuditAnswer.suite == audit.suites[place]["name"],
            AuditAnswer.number == number,
        )
    )
    return found
