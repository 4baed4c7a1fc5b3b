"""Corrections: from an audit that failed to the audit of the model that was trained on its findings."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, func
from sqlalchemy.orm import Mapped, mapped_column

from core.db.base import Base


class Correction(Base):
    """preparing -> training -> auditing -> done, or failed from each with a reason.

    `training`, `second`: the jobs of the steps, each made in the very transaction that takes the step.
    """

    __tablename__ = "corrections"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    key_id: Mapped[str] = mapped_column(String(40))
    first: Mapped[str] = mapped_column(
        ForeignKey("jobs.id", ondelete="CASCADE"), comment="the audit that failed"
    )
    wish: Mapped[dict[str, Any]] = mapped_column(comment="{suffix, seed, hyperparameters}")
    state: Mapped[str] = mapped_column(String(16), server_default="preparing")
    suites: Mapped[list[str]] = mapped_column(comment="whose templates are learnt from")
    lessons: Mapped[int | None]
    training: Mapped[str | None] = mapped_column(
        ForeignKey("jobs.id", ondelete="SET NULL"), unique=True
    )
    second: Mapped[str | None] = mapped_column(
        ForeignKey("jobs.id", ondelete="SET NULL"), unique=True
    )
    outcome: Mapped[dict[str, Any] | None] = mapped_column(
        comment="on held-out templates, before and after"
    )
    reason: Mapped[str | None] = mapped_column(comment="why it failed")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    ended_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint(
            "state IN ('preparing','training','auditing','done','failed')", name="state"
        ),
        CheckConstraint("(state IN ('done','failed')) = (ended_at IS NOT NULL)", name="ended"),
        Index("ix_corrections_first", "first"),
        Index("ix_corrections_open", "id", postgresql_where="ended_at IS NULL"),
    )
