"""An audit in the database as the worker leaves it, for tests that read it back."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text

from core.catalog.models import Served
from core.db.session import Database
from core.gate.tables import Audit
from core.jobs import service
from core.jobs.kinds import InferenceJob
from core.security.keys import Caller
from tests.core.audits.report import made

# As claims and ends leave it; what an audit does to come there is told in its own tests.
_MOVED = text(
    """UPDATE jobs SET kind = 'audit', state = :state, started_at = now(),
           lease_until = CASE WHEN :state = 'running' THEN now() + interval '1 hour' END,
           finished_at = CASE WHEN :state NOT IN ('queued', 'running') THEN now() END
       WHERE id = :id"""
)


async def audit(
    database: Database,
    caller: Caller,
    model: Served,
    verdict: str | None = "FAIL",
    *,
    state: str = "succeeded",
    items: int = 40,
    findings: dict[str, Any] | None = None,
    **more: Any,
) -> str:
    """The id of an audit with `items` answers to bbq. `more`: columns of its row."""
    spec = InferenceJob.model_validate({"kind": "inference", "prompt": "x", "model": model.name})
    now = datetime.now(UTC)
    columns = made.columns(verdict, (findings or made.findings(verdict)) if verdict else None)
    columns |= {"model": model.name, "expires_at": now + timedelta(days=30)}
    columns["published_at"] = now if verdict and state == "succeeded" else None
    async with database.begin() as session:
        job = (await service.submit(session, caller, spec, model)).job
        await session.execute(_MOVED.bindparams(id=job.id, state=state))
        session.add(Audit(job_id=job.id, tenant_id=caller.tenant_id, **columns | more))
        await session.flush()
        session.add_all([made.answer(number, job.id) for number in range(items)])
    return job.id
