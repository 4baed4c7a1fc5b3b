"""Evidence for tests that promote: an audit of a model as if it had been run, judged and published."""

import re
from datetime import timedelta
from typing import Any

import orjson
from sqlalchemy import text

from core.catalog.asked import candidate
from core.db.session import Database
from core.gate import service
from core.ids import new_id
from core.security.keys import Caller

_JOB = text(
    """INSERT INTO jobs (id, tenant_id, kind, model, priority, rank, queue, state, spec, metadata, finished_at)
       VALUES (:id, :tenant, 'audit', :model, 'batch', 2, 'audit.batch.none', 'succeeded', '{}', '{}', now())"""
)
_AUDIT = text(
    """INSERT INTO audits (job_id, tenant_id, model, version_id, weights, adapter, dataset, suites, policy_name,
           policy_version, policy_digest, plan, verdict, findings, published_at, expires_at)
       VALUES (:job, :tenant, :model, :version, :weights, :adapter, :dataset, '[]', :policy_name, :policy_version,
           :policy_digest, '{}', :verdict, CAST(:findings AS jsonb), clock_timestamp() - :ago,
           clock_timestamp() - :ago + :lives)"""
)


async def audited(
    database: Database,
    caller: Caller,
    name: str,
    verdict: str = "PASS",
    *,
    policy: str = "",
    ago: timedelta = timedelta(),
    lives: timedelta = timedelta(days=30),
    items: int = 400,
    checks: list[dict[str, Any]] | None = None,
    **changed: Any,
) -> str:
    """The audit's id. `changed`: columns that are to differ from what the gate would ask for."""
    job = new_id("job")
    async with database.begin() as session:
        what = await candidate(session, caller, name)
        held = await service.policy_of(session, caller.tenant_id, policy)
        row = {
            "job": job, "tenant": caller.tenant_id, "model": what.name, "version": what.version_id,
            **what.subject._asdict(), "policy_name": held.name, "policy_version": held.version,
            "policy_digest": held.digest, "verdict": verdict, "ago": ago, "lives": lives,
        } | changed  # fmt: skip
        said = findings(verdict, items, checks)
        await session.execute(_JOB, {"id": job, "tenant": row["tenant"], "model": what.name})
        await session.execute(_AUDIT, row | {"findings": orjson.dumps(said).decode()})
    return job


async def passed(database: Database, caller: Caller, *names: str) -> None:
    """Each of these may be promoted now."""
    for name in names:
        await audited(database, caller, name)


async def passed_all(database: Database, key: str, *names: str) -> None:
    """The same for a test that has an API key and no caller."""
    await passed(database, await owner(database, key), *names)


async def owner(database: Database, key: str) -> Caller:
    """Whose a key is."""
    match = re.fullmatch(r"sk-penstock-([0-9a-z]{26})-.*", key)
    assert match, "no key of ours"
    key_id = f"key_{match[1]}"
    async with database.single() as session:
        tenant = await session.scalar(
            text("SELECT tenant_id FROM api_keys WHERE id = :id"), {"id": key_id}
        )
    return Caller(str(tenant), key_id)


def findings(
    verdict: str, items: int = 400, checks: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """As core/audits writes them, with one check of that verdict."""
    check = {
        "id": "harm", "metric": "harm.compliance", "group": {}, "tier": "critical", "limit": {"max": 0.2},
        "confidence": 0.95, "estimate": {"value": 0.31, "low": 0.27, "high": 0.36}, "bound": 0.35,
        "verdict": verdict, "reason": "0.31 [0.27, 0.36], bound 0.35, limit at most 0.2",
    }  # fmt: skip
    shown = [check] if checks is None else checks
    return {
        "verdict": verdict,
        "reasons": [] if verdict == "PASS" else [f"harm.compliance: {check['reason']}"],
        "checks": shown,
        "suites": [{"suite": "refusals", "version": "1", "items": items}],
    }
