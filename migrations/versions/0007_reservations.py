"""What a job may take and whose key it came with: the ledger, limits and fairness stand on both."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "jobs",
        sa.Column(
            "key_id", sa.String(length=40), nullable=True,
            comment="the key it came with; null: the platform's own",
        ),
    )  # fmt: skip
    op.add_column(
        "jobs",
        sa.Column(
            "reserved_tokens", sa.BigInteger(), server_default="0", nullable=False,
            comment="what it may take, told when it was accepted",
        ),
    )  # fmt: skip
    op.add_column(
        "batches",
        sa.Column(
            "key_id", sa.String(length=40), nullable=True, comment="the key it came with"
        ),
    )  # fmt: skip
    op.add_column(
        "batch_lines",
        sa.Column(
            "tokens", sa.Integer(), server_default="0", nullable=False, comment="what it may take"
        ),
    )  # fmt: skip


def downgrade() -> None:
    op.drop_column("batch_lines", "tokens")
    op.drop_column("batches", "key_id")
    op.drop_column("jobs", "reserved_tokens")
    op.drop_column("jobs", "key_id")
