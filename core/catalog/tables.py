"""The catalog's rows: artefacts, versions of models and datasets, aliases, and the history of both.

A version is inserted before its job has ended and shown from the statement on that makes the job succeeded
(PUBLISH in core/catalog/versions.py). An artefact's row is inserted after its bytes are durable and deleted
before them, as with files.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    String,
    UniqueConstraint,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.db.base import Base


class ArtifactRow(Base):
    """Files in the store, known by one digest (core/catalog/artifacts.py)."""

    __tablename__ = "artifacts"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    place: Mapped[str] = mapped_column(String(40), unique=True, comment="of its bytes in the store")
    files: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, comment="[{path, bytes, sha256}]")
    bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (CheckConstraint("kind IN ('adapter','model','dataset')", name="kind"),)


class Version(Base):
    """A model that a job made of `base`; `number` counts those of its tenant, base and suffix."""

    __tablename__ = "versions"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    name: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str] = mapped_column(String(16))
    base: Mapped[str] = mapped_column(comment="the served model's name")
    base_digest: Mapped[str] = mapped_column(String(64))
    suffix: Mapped[str] = mapped_column(String(64))
    number: Mapped[int] = mapped_column(comment="of this tenant, base and suffix")
    artifact: Mapped[str | None] = mapped_column(
        ForeignKey("artifacts.digest"), index=True, comment="null: collected"
    )
    digest: Mapped[str] = mapped_column(
        String(64), comment="the artefact's, also once it is collected"
    )
    stage: Mapped[str] = mapped_column(String(16), server_default="candidate")
    # No foreign key: the version outlives its job's row.
    job_id: Mapped[str | None] = mapped_column(String(40), unique=True)
    lineage: Mapped[dict[str, Any]]
    metrics: Mapped[dict[str, Any]]
    context: Mapped[int] = mapped_column(comment="tokens")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    published_at: Mapped[datetime | None]
    retired_at: Mapped[datetime | None]
    withdrawn_at: Mapped[datetime | None] = mapped_column(
        comment="until it passes the gate again it is not asked"
    )

    __table_args__ = (
        CheckConstraint("kind IN ('adapter','full')", name="kind"),
        CheckConstraint("stage IN ('candidate','staging','production','retired')", name="stage"),
        CheckConstraint("(stage = 'retired') = (retired_at IS NOT NULL)", name="retired"),
        UniqueConstraint("tenant_id", "base", "suffix", "number", name="uq_versions_number"),
    )


class StageMove(Base):
    __tablename__ = "stage_moves"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    version_id: Mapped[str] = mapped_column(
        ForeignKey("versions.id", ondelete="CASCADE"), index=True
    )
    was: Mapped[str] = mapped_column(String(16))
    stage: Mapped[str] = mapped_column(String(16))
    key_id: Mapped[str] = mapped_column(String(40))
    reason: Mapped[str]
    audit: Mapped[str | None] = mapped_column(String(40), comment="the evidence that decided")
    at: Mapped[datetime] = mapped_column(server_default=func.now())


class DatasetVersion(Base):
    """What a dataset job made: its files, and what its pipeline reports of them."""

    __tablename__ = "dataset_versions"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    name: Mapped[str] = mapped_column(String(64))
    number: Mapped[int] = mapped_column(comment="of this tenant and name")
    artifact: Mapped[str | None] = mapped_column(
        ForeignKey("artifacts.digest"), index=True, comment="null: collected"
    )
    digest: Mapped[str] = mapped_column(
        String(64), comment="the artefact's, also once it is collected"
    )
    report: Mapped[dict[str, Any]]
    lineage: Mapped[dict[str, Any]]
    job_id: Mapped[str | None] = mapped_column(String(40), unique=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    published_at: Mapped[datetime | None]
    retired_at: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("tenant_id", "name", "number", name="uq_dataset_versions_number"),
    )


class Alias(Base):
    """A tenant's own name for a version or a served model."""

    __tablename__ = "aliases"

    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    target: Mapped[str] = mapped_column(comment="a model's or version's name")
    version_id: Mapped[str | None] = mapped_column(
        ForeignKey("versions.id"), index=True, comment="null: a base model"
    )
    moved_at: Mapped[datetime] = mapped_column(server_default=func.now())


class AliasMove(Base):
    """Who moved an alias, from what to what and why; `undoes`: the move that a rollback takes back."""

    __tablename__ = "alias_moves"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    name: Mapped[str] = mapped_column(String(64))
    was: Mapped[str | None] = mapped_column(comment="null: there was none")
    target: Mapped[str | None] = mapped_column(comment="null: deleted")
    key_id: Mapped[str] = mapped_column(String(40))
    reason: Mapped[str]
    undoes: Mapped[int | None] = mapped_column(
        BigInteger, comment="the move that a rollback takes back"
    )
    audit: Mapped[str | None] = mapped_column(String(40), comment="the evidence that decided")
    at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (Index("ix_alias_moves_name", "tenant_id", "name", "id"),)
