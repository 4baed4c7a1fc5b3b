"""The ledger, prices of models, and the caps of batches."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

NOW = sa.text("now()")
PRICE = sa.Numeric(18, 6)
COST = sa.Numeric(30, 12)

# What was there before it had a ledger: free, as everything was, and settled where it has ended.
_JOBS = """
INSERT INTO ledger (id, tenant_id, key_id, model, kind, day, created_at, settled_at, price_in, price_out,
                    price_cached, reserved_tokens, reserved_cost, prompt_tokens, cached_tokens,
                    completion_tokens, cost)
SELECT id, tenant_id, key_id, model, kind, (created_at AT TIME ZONE 'UTC')::date, created_at, finished_at, 0, 0, 0,
       reserved_tokens, 0, coalesce((usage ->> 'prompt_tokens')::bigint, 0),
       coalesce((usage ->> 'cached_tokens')::bigint, 0),
       coalesce((usage ->> 'completion_tokens')::bigint, 0),
       CASE WHEN finished_at IS NOT NULL THEN 0 END
FROM jobs WHERE kind <> 'batch'
"""
_BATCHES = """
INSERT INTO ledger (id, tenant_id, key_id, model, kind, day, created_at, settled_at, price_in, price_out,
                    price_cached, reserved_tokens, reserved_cost, prompt_tokens, cached_tokens,
                    completion_tokens, cost)
SELECT id, tenant_id, key_id, model, 'batch', (created_at AT TIME ZONE 'UTC')::date, created_at, ended, 0, 0, 0, 0, 0,
       prompt_tokens, cached_tokens, completion_tokens, CASE WHEN ended IS NOT NULL THEN 0 END
FROM (SELECT *, coalesce(completed_at, failed_at, expired_at, cancelled_at) AS ended FROM batches) b
"""


def upgrade() -> None:
    for name in ("price_in", "price_out", "price_cached"):
        op.add_column("models", sa.Column(name, PRICE, server_default="0", nullable=False))
    op.create_table(
        "ledger",
        sa.Column("id", sa.String(length=40), nullable=False, comment="the job's or batch's"),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=True),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column(
            "day", sa.Date(), server_default=sa.text("(now() AT TIME ZONE 'UTC')::date"),
            nullable=False, comment="accepted on, in UTC",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("price_in", PRICE, nullable=False, comment="of a million tokens"),
        sa.Column("price_out", PRICE, nullable=False),
        sa.Column("price_cached", PRICE, nullable=False),
        sa.Column("reserved_tokens", sa.BigInteger(), nullable=False),
        sa.Column("reserved_cost", COST, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column(
            "cached_tokens", sa.BigInteger(), server_default="0", nullable=False,
            comment="of the prompt tokens",
        ),
        sa.Column("completion_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("engine_seconds", sa.Double(), server_default="0", nullable=False),
        sa.Column(
            "cache", sa.String(length=8), server_default="none", nullable=False,
            comment="which cache answered instead of the engine",
        ),
        sa.Column("cost", COST, nullable=True),
        sa.CheckConstraint("cache IN ('none','exact','semantic')", name=op.f("ck_ledger_cache")),
        sa.CheckConstraint("(settled_at IS NULL) = (cost IS NULL)", name=op.f("ck_ledger_settled")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger")),
    )  # fmt: skip
    # Each row is written twice: with room on its page the second time touches no index.
    op.execute("ALTER TABLE ledger SET (fillfactor = 75)")
    op.create_index("ix_ledger_usage", "ledger", ["tenant_id", "day"])
    op.add_column(
        "batches",
        sa.Column("engine_seconds", sa.Double(), server_default="0", nullable=False),
    )
    op.add_column("batches", sa.Column("max_cost", COST, nullable=True))
    op.add_column("batches", sa.Column("max_tokens_total", sa.BigInteger(), nullable=True))
    op.add_column(
        "batches",
        sa.Column(
            "held_tokens", sa.BigInteger(), server_default="0", nullable=False,
            comment="what its running lines may take; only of a batch with a cap",
        ),
    )  # fmt: skip
    op.add_column("batches", sa.Column("held_cost", COST, server_default="0", nullable=False))
    op.add_column(
        "batches",
        sa.Column(
            "stopped_by", sa.String(length=16), nullable=True, comment="the cap that it reached"
        ),
    )
    op.add_column(
        "batch_lines",
        sa.Column("held_tokens", sa.BigInteger(), nullable=True, comment="while it runs"),
    )
    op.add_column("batch_lines", sa.Column("held_cost", COST, nullable=True))
    op.execute(_JOBS)
    op.execute(_BATCHES)


def downgrade() -> None:
    for name in ("held_cost", "held_tokens"):
        op.drop_column("batch_lines", name)
    for name in ("stopped_by", "held_cost", "held_tokens", "max_tokens_total", "max_cost",
                 "engine_seconds"):  # fmt: skip
        op.drop_column("batches", name)
    op.drop_index("ix_ledger_usage", table_name="ledger")
    op.drop_table("ledger")
    for name in ("price_cached", "price_out", "price_in"):
        op.drop_column("models", name)
