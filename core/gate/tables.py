"""The gate's rows: what an audit found, bound to the digests of all that it is true of."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, func
from sqlalchemy.orm import Mapped, mapped_column

from core.db.base import Base


class Audit(Base):
    """Evidence. Made with its job; it counts from the statement on that makes the job succeeded.

    A job that does not succeed leaves a row that is never published. `suites`: see core/gate/evidence.py.
    """

    __tablename__ = "audits"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    model: Mapped[str] = mapped_column(comment="as it was asked for")
    version_id: Mapped[str | None] = mapped_column(
        ForeignKey("versions.id"), comment="null: a served base model"
    )
    weights: Mapped[str] = mapped_column(String(64), comment="digest of the served weights")
    adapter: Mapped[str] = mapped_column(String(64), comment="digest; empty: none")
    dataset: Mapped[str] = mapped_column(
        String(64), comment="digest of what the version was trained on; empty: nothing"
    )
    suites: Mapped[list[dict[str, Any]]] = mapped_column(
        comment="[{name, version, files: {name: {id, sha256}}, options, items}]"
    )
    policy: Mapped[dict[str, Any] | None] = mapped_column(comment="as it was then, in full")
    policy_name: Mapped[str] = mapped_column(String(64), comment="empty: judged by none")
    policy_version: Mapped[int]
    policy_digest: Mapped[str] = mapped_column(String(64))
    baseline: Mapped[dict[str, Any] | None] = mapped_column(
        comment="{model, version_id, weights, adapter, audit}: what it is held against"
    )
    plan: Mapped[dict[str, Any]] = mapped_column(comment="what can be seen, told before the run")
    verdict: Mapped[str | None] = mapped_column(String(16), comment="null: not judged yet")
    findings: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    published_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("verdict IN ('PASS','FAIL','INCONCLUSIVE','INVALID')", name="verdict"),
        CheckConstraint("published_at IS NULL OR verdict IS NOT NULL", name="judged"),
        Index("ix_audits_evidence", "tenant_id", "weights", "adapter", "published_at"),
        Index("ix_audits_version", "version_id"),
    )
