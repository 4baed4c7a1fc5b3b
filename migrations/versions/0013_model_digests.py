"""Models carry the digest of their files; a batch reuses answers only of the same."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "models",
        sa.Column(
            "digest", sa.String(length=64), server_default="", nullable=False,
            comment="SHA-256 of its files; empty: not known",
        ),
    )  # fmt: skip


def downgrade() -> None:
    op.drop_column("models", "digest")
