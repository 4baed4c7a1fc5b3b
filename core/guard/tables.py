"""The guard's rows: settings that never change, which of them a tenant has, what they met, and the watch on gaps."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger, Double, ForeignKey, ForeignKeyConstraint, String, func
from sqlalchemy.orm import Mapped, mapped_column

from core.db.base import Base


class GuardVersion(Base):
    """Settings under their digest: every attempt of a job reads those that it was accepted with."""

    __tablename__ = "guards"
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    body: Mapped[dict[str, Any]]
    key_id: Mapped[str] = mapped_column(String(40))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class GuardCurrent(Base):
    """Which settings a tenant has now. None of its own: mode off."""

    __tablename__ = "guard_current"
    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))
    active: Mapped[str | None] = mapped_column(
        String(64), comment="the digest for new jobs; null: mode off"
    )
    set_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "digest"], ["guards.tenant_id", "guards.digest"]),
    )


class GuardCount(Base):
    """How often a category was met in answers, by day (UTC) and group. Category empty: the answers themselves."""

    __tablename__ = "guard_counts"
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    category: Mapped[str] = mapped_column(String(64), primary_key=True)
    group: Mapped[str] = mapped_column(
        "group_name", String(64), primary_key=True, comment="of the request; empty: none"
    )
    action: Mapped[str] = mapped_column(String(16), primary_key=True)
    hits: Mapped[int] = mapped_column(BigInteger)


class GuardWatch(Base):
    """The test of one gap: of a group against all others, in one category. `state`: core.measures.live.Betting."""

    __tablename__ = "guard_watches"
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    category: Mapped[str] = mapped_column(String(64), primary_key=True)
    group: Mapped[str] = mapped_column("group_name", String(64), primary_key=True)
    number: Mapped[int] = mapped_column(comment="which of the tenant's tests it is, from 1")
    alpha: Mapped[float] = mapped_column(Double, comment="its part of the chance of a false alarm")
    state: Mapped[dict[str, Any]]
    alarmed_at: Mapped[datetime | None]


class GuardQueue(Base):
    """Answers of a tenant's groups that wait for one of another group to be compared with."""

    __tablename__ = "guard_queues"
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    waiting: Mapped[dict[str, Any]] = mapped_column(
        comment="{group: [[categories met], ...]}, the oldest first"
    )
