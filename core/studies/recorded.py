"""An item of an audit that is to be explained, as it was recorded: looked for at admission and again by the worker."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.audits import answers
from core.audits.chosen import Chosen
from core.audits.tables import AuditAnswer
from core.errors import NotFound
from core.gate.tables import Audit
from core.jobs.explain import AuditItem
from core.security.keys import Caller


@dataclass(frozen=True, slots=True)
class Recorded:
    """`chosen`: the suite of the item as that audit asked it; `answer`: what the model said, not its baseline."""

    audit: Audit
    chosen: Chosen
    answer: AuditAnswer


async def recorded(session: AsyncSession, caller: Caller, wanted: AuditItem) -> Recorded:
    """Raises NotFound naming what is not there: the audit (another tenant's looks the same), its suite or its item."""
    audit = await session.scalar(
        select(Audit).where(Audit.job_id == wanted.id, Audit.tenant_id == caller.tenant_id)
    )
    if audit is None:
        raise NotFound(
            f"audit.id: no audit {wanted.id}. Check the id and the key's tenant; GET /v1/audits lists yours.",
            param="audit.id",
        )
    named = [one["name"] for one in audit.suites]
    if wanted.suite not in named:
        raise NotFound(
            f"audit.suite: {wanted.id} did not ask {wanted.suite!r}, but {', '.join(named)}",
            param="audit.suite",
        )
    answer = await session.get(AuditAnswer, (wanted.id, answers.MODEL, wanted.suite, wanted.item))
    if answer is None:
        raise NotFound(
            f"audit.item: {wanted.id} has no answer to {wanted.item!r} of {wanted.suite!r}. "
            f"GET /v1/audits/{wanted.id}/items?suite={wanted.suite} lists them.",
            param="audit.item",
        )
    return Recorded(audit, Chosen.of_json(audit.suites[named.index(wanted.suite)]), answer)
