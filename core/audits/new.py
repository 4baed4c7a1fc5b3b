"""An audit on its way to being kept: all that its evidence is bound to, written with its job."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.gate.tables import Audit


@dataclass(frozen=True, slots=True)
class NewAudit:
    """The columns of core.gate.tables.Audit that are known before the run. `tokens`: what it may take, reckoned."""

    tenant_id: str
    model: str
    version_id: str | None
    weights: str
    adapter: str
    dataset: str
    suites: list[dict[str, Any]]
    policy: dict[str, Any] | None
    policy_name: str
    policy_version: int
    policy_digest: str
    baseline: dict[str, Any] | None
    settings: dict[str, Any] = field(default_factory=dict)
    tokens: int = 0

    def row(self, job_id: str) -> dict[str, Any]:
        return {
            "job_id": job_id, "tenant_id": self.tenant_id, "model": self.model,
            "version_id": self.version_id, "weights": self.weights, "adapter": self.adapter,
            "dataset": self.dataset, "suites": self.suites, "policy": self.policy,
            "policy_name": self.policy_name, "policy_version": self.policy_version,
            "policy_digest": self.policy_digest, "baseline": self.baseline,
            "settings": self.settings, "plan": {},
        }  # fmt: skip


async def keep(session: AsyncSession, new: Mapping[str, NewAudit | None]) -> None:
    """Write down new jobs' audits, by their ids, in the transaction that makes the jobs."""
    rows = [audit.row(job) for job, audit in new.items() if audit is not None]
    if rows:
        await session.execute(insert(Audit), rows)
