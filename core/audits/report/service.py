"""The one verb of this room: an audit's report for those who may see the audit."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from core.audits.report import reading
from core.audits.report.built import built
from core.audits.report.choosing import chosen
from core.audits.report.known import Suites, known
from core.audits.tables import AuditAnswer
from core.security.keys import Caller


async def report(
    session: AsyncSession, caller: Caller, audit_id: str, suites: Suites
) -> dict[str, Any]:
    """The whole report as JSON; of an audit without a verdict what is known of it.

    Raises NotFound for an audit that is not there or another tenant's.
    """
    found = await reading.read(session, caller, audit_id)
    # Thousands of rows against each figure: arithmetic that other requests should not wait for.
    of_it = known(suites, found.audit.findings or {})
    worst = await asyncio.to_thread(chosen, found, of_it)
    quoted: dict[tuple[str, str], AuditAnswer] = {}
    for suite, those in worst.items():
        items = [row.item for row, _ in those.items]
        kept = await reading.answers(session, audit_id, suite, items)
        quoted |= {(suite, item): answer for item, answer in kept.items()}
    # Long prompts are masked: so that takes a while, too.
    return await asyncio.to_thread(built, found, of_it, worst, quoted, datetime.now(UTC))
