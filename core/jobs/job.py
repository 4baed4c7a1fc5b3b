"""The Job row, its states, and the numbers that fence and order what is said about it.

    queued -> running -> succeeded | failed | cancelled | expired
       ^         |
       '-requeue-'

`attempt` rises with each claim and fences every later write of that attempt. `seq` is the last event
number that Postgres vouches for: `progress` holds everything said up to it. `seq_ceiling` bounds the
numbers a running attempt may have used, so that a lost one's numbers are never given out twice.
"""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    SmallInteger,
    String,
    func,
    select,
    text,
)
from sqlalchemy.orm import Mapped, column_property, mapped_column

from core.db.base import Base
from core.ledger.tables import Entry


class State(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


TERMINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED, State.EXPIRED})


# A paused job waits until then; far enough for anybody, and a time that every driver reads.
FAR = "timestamptz '9999-01-01 00:00:00+00'"

# What a client may see of a job that no worker will finish, in SQL: `partial` of each kind.
PARTIAL = """CASE WHEN kind = 'finetune' THEN (
        SELECT jsonb_object_agg(key, value) FROM jsonb_each(progress)
        WHERE key IN ('phase', 'metrics', 'validation', 'checkpoint', 'estimate', 'hyperparameters', 'data'))
    WHEN kind = 'dataset' THEN progress
    WHEN kind = 'audit' THEN (
        SELECT jsonb_object_agg(key, value) FROM jsonb_each(progress)
        WHERE key IN ('phase', 'done', 'total', 'eta_s', 'plan', 'findings'))
    WHEN kind = 'explain' THEN (
        SELECT jsonb_object_agg(key, value) FROM jsonb_each(progress)
        WHERE key IN ('phase', 'done', 'total', 'target'))
    WHEN progress ? 'text' THEN jsonb_build_object('text', progress -> 'text') ||
    CASE WHEN progress ? 'choices' OR progress ? 'logprobs' THEN jsonb_build_object('choices',
        jsonb_build_array(progress - '{choices,tokens,finish,took,raw,done,pending}'::text[]
            || jsonb_build_object('index', 0))
        || coalesce((SELECT jsonb_agg(c - '{tokens,finish,raw,done,pending}'::text[])
                     FROM jsonb_array_elements(progress -> 'choices') AS c), jsonb_build_array()))
    ELSE jsonb_build_object() END END"""

# Of an audit: on its row from its first recorded answer on (core/audits/answers.py), and no statement takes it away.
COUNTED = """coalesce({job}usage, '{{"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0,
    "cached_tokens": 0, "engine_seconds": 0}}'::jsonb)"""

# core.jobs.inference.usage in SQL, for the same jobs.
USAGE = f"""CASE WHEN kind = 'audit' THEN {COUNTED.format(job="")} WHEN kind NOT IN ('batch', 'dataset') THEN (
    SELECT jsonb_build_object('prompt_tokens', t.asked, 'completion_tokens', t.said,
        'total_tokens', t.asked + t.said, 'cached_tokens', t.cached, 'engine_seconds', t.seconds)
    FROM (SELECT coalesce((progress #>> '{{took,prompt_tokens}}')::bigint, 0) AS asked,
                 coalesce((progress #>> '{{took,cached_tokens}}')::bigint, 0) AS cached,
                 coalesce((progress #>> '{{took,engine_seconds}}')::numeric, 0) AS seconds,
                 coalesce(jsonb_array_length(progress -> 'tokens'), 0) + coalesce((
                     SELECT sum(jsonb_array_length(c -> 'tokens'))
                     FROM jsonb_array_elements(progress -> 'choices') AS c), 0) AS said) t) END"""  # noqa: S608 - only constants are formatted in


class Job(Base):
    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    kind: Mapped[str] = mapped_column(String(32))
    model: Mapped[str]
    adapter: Mapped[str | None] = mapped_column(
        String(64), comment="the artefact it was accepted with, for all its attempts; null: none"
    )
    guard: Mapped[str | None] = mapped_column(
        String(64),
        comment="digest of the guard it was accepted with, for all its attempts; null: none",
    )
    priority: Mapped[str] = mapped_column(String(16))
    rank: Mapped[int] = mapped_column(SmallInteger, comment="priority as a number, 0 first")
    queue: Mapped[str] = mapped_column(comment="the Celery queue: kind.class.model")
    state: Mapped[str] = mapped_column(String(16), server_default="queued")
    key_id: Mapped[str | None] = mapped_column(
        String(40), comment="the key it came with; null: the platform's own"
    )
    reserved_tokens: Mapped[int] = mapped_column(
        BigInteger, server_default="0", comment="what it may take, told when it was accepted"
    )
    charged_tokens: Mapped[int | None] = mapped_column(
        BigInteger,
        comment="what its tenant's share was charged at its first doorbell; null: not yet",
    )
    spec: Mapped[dict[str, Any]]
    labels: Mapped[dict[str, Any]] = mapped_column("metadata", comment="the client's own pairs")

    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    available_at: Mapped[datetime] = mapped_column(server_default=func.now())
    deadline: Mapped[datetime | None]
    rung_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]
    pause_requested_at: Mapped[datetime | None] = mapped_column(
        comment="until it is resumed: queued and not to be had, or running and about to be"
    )

    attempt: Mapped[int] = mapped_column(server_default="0")
    failures: Mapped[int] = mapped_column(server_default="0", comment="charged attempts")
    worker_id: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    seq: Mapped[int] = mapped_column(server_default="1")
    seq_ceiling: Mapped[int] = mapped_column(server_default="1")
    progress: Mapped[dict[str, Any] | None]

    result: Mapped[dict[str, Any] | None]
    usage: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    cache: Mapped[dict[str, Any] | None] = mapped_column(comment="how a cache answered it")

    cost: Mapped[Decimal | None] = column_property(
        select(Entry.cost).where(Entry.id == id).scalar_subquery()  # noqa: A003 - the column of this class
    )

    __table_args__ = (
        CheckConstraint(
            "state IN ('queued','running','succeeded','failed','cancelled','expired')", name="state"
        ),
        CheckConstraint("(state = 'running') = (lease_until IS NOT NULL)", name="leased"),
        Index("ix_jobs_tenant", "tenant_id", "id"),
        Index(
            "ix_jobs_queued",
            "queue",
            "tenant_id",
            "rank",
            "id",
            postgresql_where=text("state = 'queued' AND rung_at IS NULL"),
        ),
        Index(
            "ix_jobs_rung",
            "queue",
            "rung_at",
            postgresql_where=text("state = 'queued' AND rung_at IS NOT NULL"),
        ),
        Index(
            "ix_jobs_running", "queue", "lease_until", postgresql_where=text("state = 'running'")
        ),
        Index(
            "ix_jobs_deadline",
            "deadline",
            postgresql_where=text("state = 'queued' AND deadline IS NOT NULL"),
        ),
        Index(
            "ix_jobs_finished",
            "queue",
            "finished_at",
            postgresql_where=text("finished_at IS NOT NULL"),
        ),
    )

    @property
    def paused(self) -> bool:
        return self.state == State.QUEUED and self.pause_requested_at is not None


class JobEvent(Base):
    """The state changes of a job, each written in the statement that made it; and the text of an answer
    from the cache, which Redis never had."""

    __tablename__ = "job_events"
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    type: Mapped[str] = mapped_column(String(32))
    attempt: Mapped[int]
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    data: Mapped[dict[str, Any]]


class IdempotencyKey(Base):
    """A client's own name for a submission: the same key and body is the same job."""

    __tablename__ = "idempotency_keys"
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[bytes]
    job_id: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)


class Worker(Base):
    """A living worker process: what it takes, how much of it, and the lock that shows it lives."""

    __tablename__ = "workers"
    id: Mapped[str] = mapped_column(primary_key=True)
    role: Mapped[str]
    queues: Mapped[list[str]]
    slots: Mapped[int]
    host: Mapped[str]
    pid: Mapped[int]
    draining: Mapped[bool] = mapped_column(server_default=text("false"))
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_seen: Mapped[datetime] = mapped_column(server_default=func.now())
