"""The names of what can happen to a job, past tense, and the shape every reader gets."""

from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

QUEUED = "job.queued"
STARTED = "job.started"
REQUEUED = "job.requeued"
PAUSED = "job.paused"
RESUMED = "job.resumed"
SUCCEEDED = "job.succeeded"
FAILED = "job.failed"
CANCELLED = "job.cancelled"
EXPIRED = "job.expired"
# Said while a job runs; live in Redis, summed up in Postgres.
SNAPSHOT = "snapshot"
OUTPUT_DELTA = "output.delta"
PROGRESS = "progress"
METRICS = "metrics"
CHECKPOINT = "checkpoint"
FINDING = "finding"
# What an attempt says; the next one must know it all.
SAID = frozenset({OUTPUT_DELTA, PROGRESS, METRICS, CHECKPOINT, FINDING})

TERMINAL = frozenset({SUCCEEDED, FAILED, CANCELLED, EXPIRED})
BATCH_ENDED = tuple(f"batch.{s}" for s in ("completed", "failed", "expired", "cancelled"))
# Of models, not of jobs (core/catalog/withdrawals.py).
MODELS = ("model.withdrawn", "model.evidence_expiring")
# Of a tenant's guard (core/guard/counting.py).
GUARD = ("guard.alarm",)
FACTS = (QUEUED, STARTED, REQUEUED, PAUSED, RESUMED, SUCCEEDED, FAILED, CANCELLED, EXPIRED)
# What webhooks also hear at the end of a job that is a response (core/events/outbox.py).
FINE_TUNED = tuple(f"fine_tuning.job.{s}" for s in ("succeeded", "failed", "cancelled"))
# At the end of an audit that is a run of an eval; their clients write canceled with one l.
EVAL_RUNS = tuple(f"eval.run.{s}" for s in ("succeeded", "failed", "canceled"))
RESPONSES = ("response.completed", "response.failed", "response.cancelled", "response.incomplete")


class Event(NamedTuple):
    """One numbered event. `body` is its JSON, rendered once and shared by every reader."""

    seq: int
    type: str
    body: bytes

    @property
    def terminal(self) -> bool:
        return self.type in TERMINAL


def rfc3339(at: datetime) -> str:
    """UTC with microseconds and a Z, as the API writes every time."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def event(
    seq: int, kind: str, job_id: str, attempt: int, at: datetime, data: dict[str, Any]
) -> Event:
    """Render an event: {"seq", "type", "job_id", "attempt", "at", "data"}."""
    body = {"seq": seq, "type": kind, "job_id": job_id, "attempt": attempt}
    return Event(seq, kind, orjson.dumps({**body, "at": rfc3339(at), "data": data}))
