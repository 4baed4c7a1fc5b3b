"""Trainings: what was told of each step, their checkpoints; jobs that can be paused."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

NOW = sa.text("now()")


def upgrade() -> None:
    op.add_column(
        "jobs",
        sa.Column(
            "pause_requested_at", sa.DateTime(timezone=True), nullable=True,
            comment="until it is resumed: queued and not to be had, or running and about to be",
        ),
    )  # fmt: skip
    op.create_table(
        "training_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("mark", sa.String(length=64), nullable=False),
        sa.Column(
            "type", sa.String(length=16), nullable=False,
            comment="metrics, checkpoint, progress or problem",
        ),
        sa.Column("data", JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_training_events_job_id_jobs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_training_events")),
    )  # fmt: skip
    op.create_index("ix_training_events_mark", "training_events", ["job_id", "mark"], unique=True)
    op.create_index("ix_training_events_job", "training_events", ["job_id", "id"])
    op.create_table(
        "training_checkpoints",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("files", JSONB(), nullable=False),
        sa.Column("metrics", JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column(
            "broken_at", sa.DateTime(timezone=True), nullable=True,
            comment="its bytes were not what they should be",
        ),
        sa.Column(
            "dropped_at", sa.DateTime(timezone=True), nullable=True,
            comment="its bytes are gone, by retention",
        ),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_training_checkpoints_job_id_jobs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "step", name=op.f("pk_training_checkpoints")),
        sa.UniqueConstraint("id", name=op.f("uq_training_checkpoints_id")),
    )  # fmt: skip


def downgrade() -> None:
    op.drop_table("training_checkpoints")
    op.drop_table("training_events")
    op.drop_column("jobs", "pause_requested_at")
