"""Corrections on their way: lessons out of templates, a fine-tune, an audit of what it made; any number may run.

Each step is one transaction: it makes its job and says so on the correction's row, or does neither.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import structlog
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from core.audits import answers
from core.audits.chosen import Chosen
from core.audits.materials import brought
from core.audits.suites import listed
from core.config import Settings
from core.db.session import Database
from core.errors import PenstockError, Unavailable
from core.files import service as files
from core.gate.tables import Audit
from core.jobs.job import Job, State
from core.measures.rows import Row
from core.storage.seam import Storage
from core.studies import correcting, steps
from core.studies.lessons import lessons
from core.studies.tables import Correction

log = structlog.get_logger(__name__)

EVERY_S = 1.0
AT_ONCE = 4
MAX_BYTES = 2**30
# What a client uploads to train on has this purpose, and so has what we write for it.
PURPOSE = "fine-tune"


async def sweep_loop(database: Database, storage: Storage, settings: Settings) -> None:
    """Look each second for corrections whose next step is due."""
    while True:
        await prepare(database, storage, settings)
        await advance(database, settings)
        await asyncio.sleep(EVERY_S)


async def prepare(database: Database, storage: Storage, settings: Settings) -> None:
    """Write the lessons of new corrections, and submit their fine-tunes."""
    async with database.single() as session:
        new = await correcting.due(session, "preparing", AT_ONCE)
    for correction_id in new:
        async with _ending(database, correction_id):
            await _prepare(database, storage, settings, correction_id)


async def _prepare(
    database: Database, storage: Storage, settings: Settings, correction_id: str
) -> None:
    async with database.single() as session:
        found = await session.get_one(Correction, correction_id)
        audit = await session.get_one(Audit, found.first)
    rows: list[dict[str, Any]] = []
    for one in (s for s in audit.suites if s["name"] in found.suites):
        chosen = Chosen.of_json(one)
        rows += await _lessons(database, storage, found.tenant_id, chosen)
    if not rows:
        told = "The templates that failed leave nothing to learn from: they ask for free text, or all are held out."
        await _fail(database, correction_id, told)
        return
    kept = await files.keep(storage, _lines(rows), limit=MAX_BYTES)
    async with database.begin() as session:
        taken = await _mine(session, correction_id, "preparing")
        # Somebody else took the step: our bytes have no row, and are swept in time.
        if taken is not None:
            name = f"{correction_id}.jsonl"
            file = await files.add(session, taken.tenant_id, kept, filename=name, purpose=PURPOSE)
            await steps.train(session, taken, settings, file.id, len(rows))
            log.info("a correction trains", correction=correction_id, lessons=len(rows))


async def _lessons(
    database: Database, storage: Storage, tenant_id: str, one: Chosen
) -> list[dict[str, Any]]:
    """What a suite's items teach, read from the files that the audit read."""
    suite = listed.find(one.name)
    with tempfile.TemporaryDirectory(prefix="penstock-lessons-") as folder:
        (paths,) = await brought(database, storage, tenant_id, [one], Path(folder))
        options = suite.options.model_validate(one.options)
        return await asyncio.to_thread(lambda: list(lessons(suite.items(paths, options))))


async def _lines(rows: list[dict[str, Any]]) -> AsyncIterator[bytes]:
    for row in rows:
        yield orjson.dumps(row) + b"\n"


async def advance(database: Database, settings: Settings) -> None:
    """Take on the corrections whose job has ended, or is gone."""
    for state in correcting.STEPS:
        async with database.single() as session:
            due = await correcting.due(session, state, AT_ONCE)
        for correction_id in due:
            async with _ending(database, correction_id):
                await _advance(database, settings, correction_id, state)


@asynccontextmanager
async def _ending(database: Database, correction_id: str) -> AsyncIterator[None]:
    """A step that cannot be taken ends its correction, and keeps nobody else's; what is only away is tried again."""
    try:
        yield
    except (Unavailable, SQLAlchemyError, OSError):
        raise
    except PenstockError as error:
        await _fail(database, correction_id, error.message)
    except Exception:
        # Of ours, and met again by every try: told of, where it would be waited for without an end.
        log.exception("a step of a correction broke", correction=correction_id)
        await _fail(
            database, correction_id, "An error of ours; the log of the control process has it"
        )


async def _advance(database: Database, settings: Settings, correction_id: str, state: str) -> None:
    job = await _job(database, correction_id, state)
    outcome = None
    if state == "auditing" and job is not None and job.state == State.SUCCEEDED:
        outcome = await _outcome(database, correction_id)
    async with database.begin() as session:
        found = await _mine(session, correction_id, state)
        if found is None:
            return
        if job is None or job.state != State.SUCCEEDED:
            steps.stopped(found, job)
        elif outcome is None:
            await steps.audit_again(session, found, settings)
        else:
            await steps.close(session, found, outcome)
        log.info("a correction went on", correction=correction_id, state=found.state)


async def _job(database: Database, correction_id: str, state: str) -> Job | None:
    """The job of this step; None: its row is gone."""
    async with database.single() as session:
        found = await session.get_one(Correction, correction_id)
        job_id = found.training if state == "training" else found.second
        return None if job_id is None else await session.get(Job, job_id)


async def _outcome(database: Database, correction_id: str) -> dict[str, Any]:
    """Before and after, of what both audits asked: the second asked only what was held out."""
    async with database.single() as session:
        found = await session.get_one(Correction, correction_id)
        assert found.second is not None
        second = await session.get_one(Audit, found.second)
        first = await session.get_one(Audit, found.first)
    failed = [c["metric"] for c in (first.findings or {})["checks"] if c["verdict"] == "FAIL"]
    held_out: list[dict[str, Any]] = []
    for name in found.suites:
        before = await _rows(database, first.job_id, name)
        after = await _rows(database, second.job_id, name)
        suite = listed.find(name)
        held_out += await asyncio.to_thread(steps.compared, suite, failed, before, after)
    return {"model": second.model, "verdict": second.verdict, "held_out": held_out}


async def _rows(database: Database, audit_id: str, suite: str) -> list[Row]:
    return [row async for page in answers.rows(database, audit_id, suite) for row in page]


async def _mine(session: AsyncSession, correction_id: str, state: str) -> Correction | None:
    """The row, locked, when it still waits for this step."""
    return (
        await session.scalars(
            select(Correction)
            .where(Correction.id == correction_id, Correction.state == state)
            .with_for_update(skip_locked=True)
        )
    ).one_or_none()


async def _fail(database: Database, correction_id: str, reason: str) -> None:
    async with database.begin() as session:
        found = await session.get(Correction, correction_id, with_for_update=True)
        if found is not None and found.ended_at is None:
            correcting.fail(found, reason)
    log.warning("a correction failed", correction=correction_id, reason=reason)
