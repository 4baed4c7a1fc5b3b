"""The ledger's rows: one for each job and each batch, reserved when it is accepted and settled when it ends.

The steps of a batch have none: its lines are charged to the batch. A row's prices are those of the
moment of its acceptance. No foreign keys: what was charged stays when a job is deleted.
"""

from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import BigInteger, CheckConstraint, Double, Index, Numeric, String, func, text
from sqlalchemy.orm import Mapped, mapped_column

from core.db.base import Base

# Prices have six decimals for a million tokens, so a cost has twelve: nothing is ever rounded.
PRICE = Numeric(18, 6)
COST = Numeric(30, 12)


class Entry(Base):
    """Reserved while `settled_at` and `cost` are null, settled for good afterwards."""

    __tablename__ = "ledger"

    id: Mapped[str] = mapped_column(String(40), primary_key=True, comment="the job's or batch's")
    tenant_id: Mapped[str] = mapped_column(String(40))
    key_id: Mapped[str | None] = mapped_column(String(40))
    model: Mapped[str]
    kind: Mapped[str] = mapped_column(String(32))
    day: Mapped[date] = mapped_column(
        server_default=text("(now() AT TIME ZONE 'UTC')::date"), comment="accepted on, in UTC"
    )
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    settled_at: Mapped[datetime | None]

    price_in: Mapped[Decimal] = mapped_column(PRICE, comment="of a million tokens")
    price_out: Mapped[Decimal] = mapped_column(PRICE)
    price_cached: Mapped[Decimal] = mapped_column(PRICE)
    reserved_tokens: Mapped[int] = mapped_column(BigInteger)
    reserved_cost: Mapped[Decimal] = mapped_column(COST)

    prompt_tokens: Mapped[int] = mapped_column(BigInteger, server_default="0")
    cached_tokens: Mapped[int] = mapped_column(
        BigInteger, server_default="0", comment="of the prompt tokens"
    )
    completion_tokens: Mapped[int] = mapped_column(BigInteger, server_default="0")
    engine_seconds: Mapped[float] = mapped_column(Double, server_default="0")
    cache: Mapped[str] = mapped_column(
        String(8), server_default="none", comment="which cache answered instead of the engine"
    )
    cost: Mapped[Decimal | None] = mapped_column(COST)

    __table_args__ = (
        CheckConstraint("cache IN ('none','exact','semantic')", name="cache"),
        CheckConstraint("(settled_at IS NULL) = (cost IS NULL)", name="settled"),
        Index("ix_ledger_usage", "tenant_id", "day"),
    )
