"""Jobs say when a cache answered them. The vectors of the semantic cache are migrations/vectors.py's."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "jobs",
        sa.Column(
            "cache", postgresql.JSONB(astext_type=sa.Text()), nullable=True,
            comment="how a cache answered it",
        ),
    )  # fmt: skip


def downgrade() -> None:
    op.execute("DROP TABLE IF EXISTS cache_vectors")
    op.drop_column("jobs", "cache")
