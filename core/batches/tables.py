"""The rows of batches and their lines.

    validating -> in_progress -> finalizing -> completed | expired
         |             `-------> cancelling -> cancelled
         `-> failed

Whoever changes a batch or records lines of it locks its row first, then that of its own job: in this
order everywhere. A line is recorded once, under the next number of `tip`; from `finalizing` or
`cancelling` on none is recorded any more.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Double,
    ForeignKey,
    Index,
    String,
    Text,
    func,
    select,
    text,
)
from sqlalchemy.orm import Mapped, column_property, mapped_column

from core.db.base import Base
from core.ledger.tables import COST, Entry

VALIDATING = "validating"
FAILED = "failed"
IN_PROGRESS = "in_progress"
FINALIZING = "finalizing"
COMPLETED = "completed"
EXPIRED = "expired"
CANCELLING = "cancelling"
CANCELLED = "cancelled"
OPEN = (VALIDATING, IN_PROGRESS, FINALIZING, CANCELLING)
ENDED = frozenset({FAILED, COMPLETED, EXPIRED, CANCELLED})


class Batch(Base):
    __tablename__ = "batches"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    endpoint: Mapped[str] = mapped_column(String(64))
    model: Mapped[str]
    named: Mapped[str | None] = mapped_column(comment="what its first line calls the model")
    runs_on: Mapped[str | None] = mapped_column(
        comment="the served model whose workers answer for it; null: itself"
    )
    adapter: Mapped[str | None] = mapped_column(
        String(64), comment="the artefact it was accepted with; null: none"
    )
    key_id: Mapped[str | None] = mapped_column(String(40), comment="the key it came with")
    mark: Mapped[str] = mapped_column(
        String(64), comment="of the model's files and the engine's version"
    )
    input_file_id: Mapped[str] = mapped_column(String(40))
    completion_window: Mapped[str] = mapped_column(String(16))
    status: Mapped[str] = mapped_column(String(16))
    ending: Mapped[str | None] = mapped_column(
        String(16), comment="the status that follows once the files are made"
    )
    labels: Mapped[dict[str, Any] | None] = mapped_column("metadata")
    keep_s: Mapped[int | None] = mapped_column(comment="output files expire after so long")
    errors: Mapped[dict[str, Any] | None]
    output_file_id: Mapped[str | None] = mapped_column(String(40))
    error_file_id: Mapped[str | None] = mapped_column(String(40))
    retry_of: Mapped[str | None] = mapped_column(String(40))
    resume_from: Mapped[str | None] = mapped_column(String(40))

    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    deadline: Mapped[datetime]
    in_progress_at: Mapped[datetime | None]
    finalizing_at: Mapped[datetime | None]
    cancelling_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    failed_at: Mapped[datetime | None]
    expired_at: Mapped[datetime | None]
    cancelled_at: Mapped[datetime | None]
    recorded_at: Mapped[datetime | None]

    total: Mapped[int] = mapped_column(BigInteger, server_default="0")
    completed: Mapped[int] = mapped_column(BigInteger, server_default="0")
    failed: Mapped[int] = mapped_column(BigInteger, server_default="0")
    reused: Mapped[int] = mapped_column(BigInteger, server_default="0")
    tip: Mapped[int] = mapped_column(BigInteger, server_default="0")
    prompt_tokens: Mapped[int] = mapped_column(BigInteger, server_default="0")
    completion_tokens: Mapped[int] = mapped_column(BigInteger, server_default="0")
    cached_tokens: Mapped[int] = mapped_column(BigInteger, server_default="0")
    engine_seconds: Mapped[float] = mapped_column(Double, server_default="0")
    max_cost: Mapped[Decimal | None] = mapped_column(COST)
    max_tokens_total: Mapped[int | None] = mapped_column(BigInteger)
    held_tokens: Mapped[int] = mapped_column(
        BigInteger, server_default="0",
        comment="what its running lines may take; only of a batch with a cap",
    )  # fmt: skip
    held_cost: Mapped[Decimal] = mapped_column(COST, server_default="0")
    stopped_by: Mapped[str | None] = mapped_column(String(16), comment="the cap that it reached")
    speed: Mapped[float] = mapped_column(Double, server_default="0", comment="lines a second")

    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    fingerprint: Mapped[bytes | None]

    cost: Mapped[Decimal | None] = column_property(
        select(Entry.cost).where(Entry.id == id).scalar_subquery()  # noqa: A003 - the column of this class
    )

    __table_args__ = (
        CheckConstraint(
            "status IN ('validating','failed','in_progress','finalizing','completed','expired',"
            "'cancelling','cancelled')",
            name="status",
        ),
        Index("ix_batches_tenant", "tenant_id", "id"),
        Index(
            "ix_batches_key", "tenant_id", "idempotency_key", unique=True,
            postgresql_where=text("idempotency_key IS NOT NULL"),
        ),
        Index(
            "ix_batches_open", "id",
            postgresql_where=text(
                "status IN ('validating','in_progress','finalizing','cancelling')"
            ),
        ),
    )  # fmt: skip


class BatchLine(Base):
    """`start`, `size`: where its bytes are in the input file; `hash`: of the canonical body."""

    __tablename__ = "batch_lines"

    batch_id: Mapped[str] = mapped_column(
        ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True
    )
    line: Mapped[int] = mapped_column(primary_key=True, comment="of the input file, from 1")
    custom_id: Mapped[str] = mapped_column(Text)
    start: Mapped[int] = mapped_column(BigInteger, comment="its first byte in the file")
    size: Mapped[int]
    tokens: Mapped[int] = mapped_column(server_default="0", comment="what it may take")
    hash: Mapped[bytes] = mapped_column(comment="of the canonical body")
    state: Mapped[str] = mapped_column(String(8), server_default="pending")
    alone: Mapped[bool] = mapped_column(
        server_default=text("false"), comment="has had a shard to itself"
    )
    held_tokens: Mapped[int | None] = mapped_column(BigInteger, comment="while it runs")
    held_cost: Mapped[Decimal | None] = mapped_column(COST)
    done_seq: Mapped[int | None]
    response: Mapped[str | None] = mapped_column(Text, comment="JSON, as the output file has it")
    error: Mapped[str | None] = mapped_column(Text, comment="JSON, as the error file has it")

    __table_args__ = (
        CheckConstraint("state IN ('pending','done','failed')", name="state"),
        Index("ix_batch_lines_custom_id", "batch_id", "custom_id", unique=True),
        Index(
            "ix_batch_lines_done", "batch_id", "done_seq", unique=True,
            postgresql_where=text("done_seq IS NOT NULL"),
        ),
    )  # fmt: skip
