"""Responses: what a job was asked for under /v1/responses, beside the job that is its record."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "responses",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column(
            "asked", JSONB(), nullable=False,
            comment="the request, its input as a list of items with ids",
        ),
        sa.Column("background", sa.Boolean(), nullable=False),
        sa.Column(
            "hidden", sa.Boolean(), nullable=False,
            comment="deleted by its owner, or not to be stored",
        ),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_responses_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_responses")),
    )  # fmt: skip


def downgrade() -> None:
    op.drop_table("responses")
