"""Models say which kind of jobs they are for, and how long their vectors are."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
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


def downgrade() -> None:
    for name in ("truncates", "dimensions", "kind"):
        op.drop_column("models", name)
