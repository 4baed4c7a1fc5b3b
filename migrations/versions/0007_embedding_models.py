"""Models say which kind of jobs they are for; jobs say when a cache answered them; vectors of what was asked."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "models",
        sa.Column("kind", sa.String(), server_default=sa.text("'inference'"), nullable=False),
    )
    op.add_column(
        "models",
        sa.Column("dimensions", sa.Integer(), server_default=sa.text("0"), nullable=False),
    )
    op.add_column(
        "models",
        sa.Column("truncates", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.add_column(
        "jobs",
        sa.Column(
            "cache", postgresql.JSONB(astext_type=sa.Text()), nullable=True,
            comment="how a cache answered it",
        ),
    )  # fmt: skip
    op.execute(_VECTORS)


# Only where the server has pgvector and lets us load it; without it semantic mode is refused by name.
_VECTORS = """
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector') THEN
        CREATE EXTENSION IF NOT EXISTS vector;
        CREATE TABLE cache_vectors (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            tenant_id varchar(40) NOT NULL REFERENCES tenants (id),
            context varchar(64) NOT NULL,
            job_id varchar(40) NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
            vector vector NOT NULL,
            expires_at timestamptz NOT NULL
        );
        CREATE INDEX ix_cache_vectors_place ON cache_vectors (tenant_id, context);
        CREATE INDEX ix_cache_vectors_job ON cache_vectors (job_id);
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'pgvector may not be loaded by this role: no semantic cache';
END $$
"""


def downgrade() -> None:
    op.execute("DROP TABLE IF EXISTS cache_vectors")
    op.drop_column("jobs", "cache")
    for name in ("truncates", "dimensions", "kind"):
        op.drop_column("models", name)
