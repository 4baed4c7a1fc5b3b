"""What a model answered in an audit, item by item: an attempt goes on at the first that is missing."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Integer, String, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from core.db.base import Base


class AuditAnswer(Base):
    """`subject`: who answered, the model or its baseline."""

    __tablename__ = "audit_answers"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    subject: Mapped[str] = mapped_column(String(8), primary_key=True, server_default="model")
    suite: Mapped[str] = mapped_column(String(64), primary_key=True)
    item: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(Integer, comment="its place in the suite")
    prompt: Mapped[str] = mapped_column(comment="exactly as the model was given it")
    answer: Mapped[dict[str, Any]] = mapped_column(comment="{texts, likelihoods, finish}")
    row: Mapped[dict[str, Any]] = mapped_column(comment="as it was scored: core.measures.rows.Row")
    usage: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    # As pages of them are read.
    __table_args__ = (
        UniqueConstraint("job_id", "suite", "subject", "number", name="uq_audit_answers_number"),
    )
