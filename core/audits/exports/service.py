"""The one verb of this room: an audit of the caller's as an archive that other tools read."""

from collections.abc import AsyncIterator, Sequence
from typing import IO

from core.audits import answers, service
from core.audits.answers import MODEL, PAGE, Place
from core.audits.exports.archive import Format, write
from core.audits.exports.exported import Answered, Exported
from core.audits.tables import AuditAnswer
from core.db.session import Database
from core.errors import Conflict
from core.gate.tables import Audit
from core.security.keys import Caller


async def export(
    database: Database, caller: Caller, audit_id: str, format_: Format, out: IO[bytes]
) -> None:
    """Written to `out`, of what the model answered; a baseline's answers are its own audit's.

    Raises NotFound for one that is not there or another tenant's; Conflict for one without findings yet.
    """
    async with database.single() as session:
        found = exported(await service.get(session, caller, audit_id))
    await write(out, found, format_, lambda suite: _pages(database, audit_id, suite))


def exported(row: Audit) -> Exported:
    # Written before the job succeeds, and nothing to go by should it not.
    if row.findings is None or row.published_at is None:
        raise Conflict(
            f"Audit {row.job_id} has no findings yet; wait until its job has succeeded, then export it.",
            code="audit_not_finished",
        )
    policy = f"{row.policy_name}@{row.policy_version}" if row.policy_name else "none"
    return Exported(
        id=row.job_id, model=row.model, weights=row.weights, adapter=row.adapter, dataset=row.dataset,
        policy=policy, suites=row.suites, findings=row.findings, created=row.created_at,
        published=row.published_at, penstock=row.findings.get("settings", {}).get("versions", {}).get("penstock", ""),
    )  # fmt: skip


async def _pages(
    database: Database, audit_id: str, suite: str
) -> AsyncIterator[Sequence[Answered]]:
    after: Place | None = None
    while True:
        async with database.single() as session:
            page, more = await answers.page(
                session, audit_id, suite=suite, subject=MODEL, after=after, limit=PAGE
            )
        # No connection is held while a page is written.
        yield [_answered(one) for one in page]
        if not more:
            return
        after = Place(suite, MODEL, page[-1].number)


def _answered(one: AuditAnswer) -> Answered:
    return Answered(one.item, one.number, one.prompt, one.answer, one.row, one.usage)
