"""The gate's rows: what an audit found, the policies, and each admission with its evidence or its author."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    String,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
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
        comment="[{name, version, files: {name: {id, sha256}}, options, items, split, classifier}]"
    )
    policy: Mapped[dict[str, Any] | None] = mapped_column(comment="as it was then, in full")
    policy_name: Mapped[str] = mapped_column(String(64), comment="empty: judged by none")
    policy_version: Mapped[int]
    policy_digest: Mapped[str] = mapped_column(String(64))
    baseline: Mapped[dict[str, Any] | None] = mapped_column(
        comment="{model, version_id, weights, adapter, served, production}: what it is held against"
    )
    settings: Mapped[dict[str, Any]] = mapped_column(
        server_default=text("'{}'::jsonb"),
        comment="{seed, render, confidence, imports, served: digest of the files that answer}",
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


class PolicyRow(Base):
    """A version of a tenant's policy; what is written stays as it is."""

    __tablename__ = "policies"

    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[dict[str, Any]]
    digest: Mapped[str] = mapped_column(String(64))
    key_id: Mapped[str] = mapped_column(String(40))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Gate(Base):
    """Which policy holds for a tenant; without a row the one that Penstock comes with."""

    __tablename__ = "gates"

    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    policy_name: Mapped[str] = mapped_column(String(64))
    policy_version: Mapped[int]
    key_id: Mapped[str] = mapped_column(String(40))
    reason: Mapped[str]
    set_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "policy_name", "policy_version"],
            ["policies.tenant_id", "policies.name", "policies.version"],
            name="fk_gates_policy",
        ),
    )


class Pass(Base):
    """An admission: what went through which door, on which audit, or by whose force until when.

    Of one door and the same digests the newest row holds, unless it is withdrawn.
    """

    __tablename__ = "gate_passes"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    door: Mapped[str] = mapped_column(String(80), comment="production, or alias:<name>")
    model: Mapped[str]
    version_id: Mapped[str | None] = mapped_column(
        ForeignKey("versions.id", ondelete="SET NULL"), comment="null: a served base model"
    )
    weights: Mapped[str] = mapped_column(String(64))
    adapter: Mapped[str] = mapped_column(String(64))
    dataset: Mapped[str] = mapped_column(String(64))
    # No foreign key: the record of an admission outlives the rows of its audit's job.
    audit: Mapped[str | None] = mapped_column(String(40), comment="the evidence; null: forced")
    policy_name: Mapped[str] = mapped_column(String(64))
    policy_version: Mapped[int]
    policy_digest: Mapped[str] = mapped_column(String(64))
    key_id: Mapped[str] = mapped_column(String(40))
    reason: Mapped[str]
    lacking: Mapped[list[str]] = mapped_column(
        JSONB, server_default="[]", comment="what it was forced past, in words"
    )
    expires_at: Mapped[datetime | None] = mapped_column(comment="of a forced one")
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    warned_at: Mapped[datetime | None]
    withdrawn_at: Mapped[datetime | None]
    withdrawn_by: Mapped[str | None] = mapped_column(String(40), comment="the failing audit")

    __table_args__ = (
        CheckConstraint(
            "audit IS NOT NULL OR (reason <> '' AND expires_at IS NOT NULL)", name="forced"
        ),
        Index("ix_gate_passes_standing", "tenant_id", "door", "weights", "adapter", "id"),
    )
