"""Corrections of audits that failed."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

NOW = sa.text("now()")


def upgrade() -> None:
    op.create_table(
        "corrections",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("first", sa.String(length=40), nullable=False, comment="the audit that failed"),
        sa.Column("wish", JSONB(), nullable=False, comment="{suffix, seed, hyperparameters}"),
        sa.Column("state", sa.String(length=16), server_default="preparing", nullable=False),
        sa.Column(
            "suites", ARRAY(sa.Text()), nullable=False, comment="whose templates are learnt from"
        ),
        sa.Column("lessons", sa.Integer(), nullable=True),
        sa.Column("training", sa.String(length=40), nullable=True),
        sa.Column("second", sa.String(length=40), nullable=True),
        sa.Column(
            "outcome", JSONB(), nullable=True, comment="on held-out templates, before and after"
        ),
        sa.Column("reason", sa.String(), nullable=True, comment="why it failed"),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('preparing','training','auditing','done','failed')",
            name=op.f("ck_corrections_state"),
        ),
        sa.CheckConstraint(
            "(state IN ('done','failed')) = (ended_at IS NOT NULL)",
            name=op.f("ck_corrections_ended"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_corrections_tenant_id_tenants")
        ),
        sa.ForeignKeyConstraint(
            ["first"], ["jobs.id"], name=op.f("fk_corrections_first_jobs"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["training"], ["jobs.id"], name=op.f("fk_corrections_training_jobs"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["second"], ["jobs.id"], name=op.f("fk_corrections_second_jobs"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_corrections")),
        sa.UniqueConstraint("training", name=op.f("uq_corrections_training")),
        sa.UniqueConstraint("second", name=op.f("uq_corrections_second")),
    )  # fmt: skip
    op.create_index("ix_corrections_first", "corrections", ["first"])
    op.create_index(
        "ix_corrections_open", "corrections", ["id"], postgresql_where=sa.text("ended_at IS NULL")
    )


def downgrade() -> None:
    op.drop_table("corrections")
