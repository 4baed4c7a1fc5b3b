"""Fair shares: how far each tenant's line has got in each queue, and what finished lately for ETAs."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "tenants",
        sa.Column(
            "weight", sa.Float(), server_default="1", nullable=False,
            comment="its share of a queue beside the others' weights",
        ),
    )  # fmt: skip
    op.create_check_constraint(op.f("ck_tenants_weight"), "tenants", "weight > 0")
    op.add_column(
        "jobs",
        sa.Column(
            "charged_tokens", sa.BigInteger(), nullable=True,
            comment="what its tenant's share was charged at its first doorbell; null: not yet",
        ),
    )  # fmt: skip
    op.create_table(
        "queue_clocks",
        sa.Column("queue", sa.String(), nullable=False),
        sa.Column("virtual", sa.Float(), server_default="0", nullable=False),
        sa.Column("turn", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("queue", name=op.f("pk_queue_clocks")),
    )
    op.create_table(
        "tenant_shares",
        sa.Column("queue", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("virtual", sa.Float(), server_default="0", nullable=False),
        sa.Column(
            "taken", sa.Float(), server_default="1", nullable=False,
            comment="of what is reserved, the part that its ended jobs took",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_tenant_shares_tenant_id")
        ),
        sa.PrimaryKeyConstraint("queue", "tenant_id", name=op.f("pk_tenant_shares")),
    )  # fmt: skip
    op.create_index(
        "ix_jobs_finished", "jobs", ["queue", "finished_at"], unique=False,
        postgresql_where=sa.text("finished_at IS NOT NULL"),
    )  # fmt: skip


def downgrade() -> None:
    op.drop_index(
        "ix_jobs_finished", table_name="jobs", postgresql_where=sa.text("finished_at IS NOT NULL")
    )
    op.drop_table("tenant_shares")
    op.drop_table("queue_clocks")
    op.drop_column("jobs", "charged_tokens")
    op.drop_constraint(op.f("ck_tenants_weight"), "tenants", type_="check")
    op.drop_column("tenants", "weight")
