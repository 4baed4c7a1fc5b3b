"""Jobs and batches keep the adapter that they were accepted with; batches, whose workers answer for its model."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "jobs",
        sa.Column(
            "adapter", sa.String(length=64), nullable=True,
            comment="the artefact it was accepted with, for all its attempts; null: none",
        ),
    )  # fmt: skip
    op.add_column(
        "batches",
        sa.Column(
            "named", sa.String(), nullable=True, comment="what its first line calls the model"
        ),
    )
    op.add_column(
        "batches",
        sa.Column(
            "runs_on", sa.String(), nullable=True,
            comment="the served model whose workers answer for it; null: itself",
        ),
    )  # fmt: skip
    op.add_column(
        "batches",
        sa.Column(
            "adapter", sa.String(length=64), nullable=True,
            comment="the artefact it was accepted with; null: none",
        ),
    )  # fmt: skip


def downgrade() -> None:
    op.drop_column("batches", "adapter")
    op.drop_column("batches", "runs_on")
    op.drop_column("batches", "named")
    op.drop_column("jobs", "adapter")
