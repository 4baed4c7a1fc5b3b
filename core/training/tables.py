"""Rows of trainings: what was told of each step, and which checkpoints there are."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, String, func
from sqlalchemy.orm import Mapped, mapped_column

from core.db.base import Base


class TrainingEvent(Base):
    """One thing that was told of a training. `mark` names it within its job: an attempt that walks a step again
    tells it under the same mark, and the first stands."""

    __tablename__ = "training_events"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    mark: Mapped[str] = mapped_column(String(64))
    type: Mapped[str] = mapped_column(
        String(16), comment="metrics, checkpoint, progress or problem"
    )
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Checkpoint(Base):
    """A checkpoint whose bytes are in the store. `files`: [{"path", "bytes", "sha256"}]."""

    __tablename__ = "training_checkpoints"
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(String(40), unique=True)
    attempt: Mapped[int]
    files: Mapped[list[dict[str, Any]]]
    metrics: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    broken_at: Mapped[datetime | None] = mapped_column(
        comment="its bytes were not what they should be"
    )
    dropped_at: Mapped[datetime | None] = mapped_column(comment="its bytes are gone, by retention")
