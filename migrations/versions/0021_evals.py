"""Evals, as OpenAI's clients keep them, and their runs: each an audit."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

NOW = sa.text("now()")


def upgrade() -> None:
    op.create_table(
        "evals",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column(
            "data_source_config", JSONB(), nullable=False, comment="as the client gave it"
        ),
        sa.Column("testing_criteria", JSONB(), nullable=False, comment="likewise"),
        sa.Column("metadata", JSONB(), nullable=False, comment="the client's own pairs"),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_evals_tenant_id_tenants")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evals")),
    )  # fmt: skip
    op.create_index("ix_evals_tenant", "evals", ["tenant_id", "id"])
    op.create_table(
        "eval_runs",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("eval_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("data_source", JSONB(), nullable=False, comment="as the client gave it"),
        sa.Column("criteria", JSONB(), nullable=False, comment="[{name, type, suite, grader}]"),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_eval_runs_job_id_jobs"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["eval_id"], ["evals.id"], name=op.f("fk_eval_runs_eval_id_evals"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_eval_runs")),
    )  # fmt: skip
    op.create_index("ix_eval_runs_eval", "eval_runs", ["eval_id", "job_id"])


def downgrade() -> None:
    op.drop_table("eval_runs")
    op.drop_table("evals")
