"""Batches, and the lines they are made of."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

NOW = sa.text("now()")


def _moment(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=True)


def _count(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), server_default="0", nullable=False)


def upgrade() -> None:
    op.create_table(
        "batches",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("endpoint", sa.String(length=64), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("mark", sa.String(length=64), nullable=False, comment="of the model's weights"),
        sa.Column("input_file_id", sa.String(length=40), nullable=False),
        sa.Column("completion_window", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column(
            "ending", sa.String(length=16), nullable=True,
            comment="the status that follows once the files are made",
        ),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column(
            "keep_s", sa.Integer(), nullable=True, comment="output files expire after so long"
        ),
        sa.Column("errors", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("output_file_id", sa.String(length=40), nullable=True),
        sa.Column("error_file_id", sa.String(length=40), nullable=True),
        sa.Column("retry_of", sa.String(length=40), nullable=True),
        sa.Column("resume_from", sa.String(length=40), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("deadline", sa.DateTime(timezone=True), nullable=False),
        *map(
            _moment,
            ("in_progress_at", "finalizing_at", "cancelling_at", "completed_at", "failed_at",
             "expired_at", "cancelled_at", "recorded_at"),
        ),
        *map(
            _count,
            ("total", "completed", "failed", "reused", "tip", "prompt_tokens",
             "completion_tokens", "cached_tokens"),
        ),
        sa.Column(
            "speed", sa.Double(), server_default="0", nullable=False, comment="lines a second"
        ),
        sa.Column("idempotency_key", sa.String(length=255), nullable=True),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint(
            "status IN ('validating','failed','in_progress','finalizing','completed','expired',"
            "'cancelling','cancelled')",
            name=op.f("ck_batches_status"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_batches_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
    )  # fmt: skip
    op.create_index("ix_batches_tenant", "batches", ["tenant_id", "id"])
    op.create_index(
        "ix_batches_key", "batches", ["tenant_id", "idempotency_key"], unique=True,
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    )  # fmt: skip
    op.create_index(
        "ix_batches_open", "batches", ["id"],
        postgresql_where=sa.text(
            "status IN ('validating','in_progress','finalizing','cancelling')"
        ),
    )  # fmt: skip
    op.create_table(
        "batch_lines",
        sa.Column("batch_id", sa.String(length=40), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False, comment="of the input file, from 1"),
        sa.Column("custom_id", sa.Text(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False, comment="its first byte in the file"),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False, comment="of the canonical body"),
        sa.Column("state", sa.String(length=8), server_default="pending", nullable=False),
        sa.Column(
            "alone", sa.Boolean(), server_default=sa.text("false"), nullable=False,
            comment="has had a shard to itself",
        ),
        sa.Column("done_seq", sa.Integer(), nullable=True),
        sa.Column("response", sa.Text(), nullable=True, comment="JSON, as the output file has it"),
        sa.Column("error", sa.Text(), nullable=True, comment="JSON, as the error file has it"),
        sa.CheckConstraint(
            "state IN ('pending','done','failed')", name=op.f("ck_batch_lines_state")
        ),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batches.id"], name=op.f("fk_batch_lines_batch_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("batch_id", "line", name=op.f("pk_batch_lines")),
    )  # fmt: skip
    op.create_index(
        "ix_batch_lines_custom_id", "batch_lines", ["batch_id", "custom_id"], unique=True
    )
    op.create_index(
        "ix_batch_lines_done", "batch_lines", ["batch_id", "done_seq"], unique=True,
        postgresql_where=sa.text("done_seq IS NOT NULL"),
    )  # fmt: skip
    op.create_index(
        "ix_jobs_batch", "jobs", [sa.text("(spec ->> 'batch_id')")],
        postgresql_where=sa.text("kind = 'batch' AND state IN ('queued', 'running')"),
    )  # fmt: skip


def downgrade() -> None:
    op.drop_index("ix_jobs_batch", "jobs")
    op.drop_table("batch_lines")
    op.drop_table("batches")
