"""What keys and tenants may take a minute: null is the settings' default, 0 no limit."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_COLUMNS = ("requests_per_minute", "tokens_per_minute")


def upgrade() -> None:
    for table in ("tenants", "api_keys"):
        for column in _COLUMNS:
            op.add_column(table, sa.Column(column, sa.Integer(), nullable=True))


def downgrade() -> None:
    for table in ("api_keys", "tenants"):
        for column in reversed(_COLUMNS):
            op.drop_column(table, column)
