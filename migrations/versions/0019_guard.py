"""The guard: settings under their digest, which a job is pinned to; counts, and the watch on gaps between groups."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

NOW = sa.text("now()")


def _tenant(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["tenant_id"], ["tenants.id"], name=op.f(f"fk_{table}_tenant_id")
    )


def upgrade() -> None:
    op.add_column(
        "jobs",
        sa.Column(
            "guard", sa.String(length=64), nullable=True,
            comment="digest of the guard it was accepted with, for all its attempts; null: none",
        ),
    )  # fmt: skip
    op.create_table(
        "guards",
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("body", JSONB(), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        _tenant("guards"),
        sa.PrimaryKeyConstraint("tenant_id", "digest", name=op.f("pk_guards")),
    )
    op.create_table(
        "guard_current",
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column(
            "active", sa.String(length=64), nullable=True,
            comment="the digest for new jobs; null: mode off",
        ),
        sa.Column("set_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "digest"], ["guards.tenant_id", "guards.digest"],
            name=op.f("fk_guard_current_tenant_id"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_guard_current")),
    )  # fmt: skip
    _found()


def _found() -> None:
    op.create_table(
        "guard_counts",
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("category", sa.String(length=64), nullable=False),
        sa.Column(
            "group_name", sa.String(length=64), nullable=False,
            comment="of the request; empty: none",
        ),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("hits", sa.BigInteger(), nullable=False),
        _tenant("guard_counts"),
        sa.PrimaryKeyConstraint(
            "tenant_id", "day", "category", "group_name", "action", name=op.f("pk_guard_counts")
        ),
    )  # fmt: skip
    op.create_table(
        "guard_watches",
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("category", sa.String(length=64), nullable=False),
        sa.Column("group_name", sa.String(length=64), nullable=False),
        sa.Column(
            "number", sa.Integer(), nullable=False,
            comment="which of the tenant's tests it is, from 1",
        ),
        sa.Column(
            "alpha", sa.Double(), nullable=False,
            comment="its part of the chance of a false alarm",
        ),
        sa.Column("state", JSONB(), nullable=False),
        sa.Column("alarmed_at", sa.DateTime(timezone=True), nullable=True),
        _tenant("guard_watches"),
        sa.PrimaryKeyConstraint(
            "tenant_id", "category", "group_name", name=op.f("pk_guard_watches")
        ),
    )  # fmt: skip
    op.create_table(
        "guard_queues",
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column(
            "waiting", JSONB(), nullable=False,
            comment="{group: [[categories met], ...]}, the oldest first",
        ),
        _tenant("guard_queues"),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_guard_queues")),
    )  # fmt: skip


def downgrade() -> None:
    for table in ("guard_queues", "guard_watches", "guard_counts", "guard_current", "guards"):
        op.drop_table(table)
    op.drop_column("jobs", "guard")
