"""The client's verbs for audits: list and get. An audit is a job, and a tenant sees its own alone."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import NotFound
from core.gate.tables import Audit
from core.security.keys import Caller


async def get(session: AsyncSession, caller: Caller, audit_id: str) -> Audit:
    """Raises NotFound for one that is not there or not this tenant's: the two look the same."""
    found = await session.scalar(
        select(Audit)
        .where(Audit.job_id == audit_id, Audit.tenant_id == caller.tenant_id)
        .execution_options(populate_existing=True)
    )
    if found is None:
        raise NotFound(f"No audit {audit_id}. Check the id and the key's tenant.", param="audit_id")
    return found


async def listed(
    session: AsyncSession,
    caller: Caller,
    *,
    model: str | None = None,
    verdict: str | None = None,
    after: str | None = None,
    limit: int = 20,
) -> tuple[Sequence[Audit], bool]:
    """Newest first, from below `after`, and whether there is more. `verdict`: only of those that succeeded."""
    query = select(Audit).where(Audit.tenant_id == caller.tenant_id).order_by(Audit.job_id.desc())
    if model is not None:
        query = query.where(Audit.model == model)
    if verdict is not None:
        query = query.where(Audit.verdict == verdict, Audit.published_at.is_not(None))
    if after is not None:
        query = query.where(Audit.job_id < after)
    found = (await session.scalars(query.limit(limit + 1))).all()
    return found[:limit], len(found) > limit
