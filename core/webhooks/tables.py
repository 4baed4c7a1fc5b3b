"""The rows behind webhooks: where a tenant wants to be told, and each thing there is to tell.

A delivery is inserted by the statement that records the fact (core/events/outbox.py), so it exists
if and only if the fact does. `claim` rises with each claim and fences every write of that try.
"""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from core.db.base import Base

PENDING = "pending"
DELIVERED = "delivered"
DEAD = "dead"
CANCELLED = "cancelled"
STATES = (PENDING, DELIVERED, DEAD, CANCELLED)


class WebhookEndpoint(Base):
    __tablename__ = "webhook_endpoints"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    name: Mapped[str]
    url: Mapped[str]
    event_types: Mapped[list[str]]
    secret: Mapped[str] = mapped_column(comment="whsec_...; signing needs it in the clear")
    old_secret: Mapped[str | None]
    old_secret_until: Mapped[datetime | None]
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    disabled_reason: Mapped[str | None]
    disabled_at: Mapped[datetime | None]
    consecutive_failures: Mapped[int] = mapped_column(server_default="0")
    failing_since: Mapped[datetime | None]
    next_probe_at: Mapped[datetime | None] = mapped_column(
        comment="nothing is sent before; set while the circuit is open"
    )
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
    # The row stays for a while: a job that ends in the same moment may still insert deliveries for
    # it, and a vanished row would fail that job's transaction on the foreign key.
    deleted_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("deleted_at IS NULL OR NOT enabled", name="deleted_is_disabled"),
        Index("ix_webhook_endpoints_tenant", "tenant_id", "id"),
    )


class WebhookDelivery(Base):
    __tablename__ = "webhook_deliveries"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(40))
    endpoint_id: Mapped[str] = mapped_column(ForeignKey("webhook_endpoints.id", ondelete="CASCADE"))
    event_id: Mapped[str] = mapped_column(comment="the webhook-id header, the same on every try")
    event_type: Mapped[str]
    body: Mapped[str] = mapped_column(comment="exactly what is signed and sent, in UTF-8")
    state: Mapped[str] = mapped_column(String(16), server_default=PENDING)
    tries: Mapped[int] = mapped_column(server_default="0", comment="since created or replayed")
    next_at: Mapped[datetime | None] = mapped_column(server_default=func.now())
    lease_until: Mapped[datetime | None]
    claim: Mapped[int] = mapped_column(server_default="0", comment="fencing number")
    rung_at: Mapped[datetime | None] = mapped_column(comment="doorbell sent and not yet answered")
    last_status: Mapped[int | None]
    last_error: Mapped[str | None]
    last_response: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    delivered_at: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("endpoint_id", "event_id"),
        CheckConstraint("state IN ('pending','delivered','dead','cancelled')", name="state"),
        # What is due at an endpoint, and what of it is in somebody's hands: both sets stay small.
        Index(
            "ix_webhook_deliveries_due", "endpoint_id", "next_at",
            postgresql_where=text("state = 'pending'"),
        ),
        Index(
            "ix_webhook_deliveries_rung", "endpoint_id", "rung_at",
            postgresql_where=text("state = 'pending' AND rung_at IS NOT NULL"),
        ),
        Index("ix_webhook_deliveries_listed", "endpoint_id", "created_at", "id"),
    )  # fmt: skip
