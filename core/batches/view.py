"""A batch as OpenAI's clients read it, with what only ours has."""

from datetime import datetime
from typing import Any

from core.batches.service import progress
from core.batches.tables import Batch
from core.ledger.caps import plain

_TIMES = (
    "in_progress_at", "finalizing_at", "completed_at", "failed_at", "expired_at", "cancelling_at",
    "cancelled_at",
)  # fmt: skip


def _seconds(at: datetime | None) -> int | None:
    return int(at.timestamp()) if at is not None else None


def shown(row: Batch) -> dict[str, Any]:
    """`reused` and the fields below it are our own additions."""
    return {
        "id": row.id,
        "object": "batch",
        "endpoint": row.endpoint,
        "model": row.model,
        "errors": row.errors,
        "input_file_id": row.input_file_id,
        "completion_window": row.completion_window,
        "status": row.status,
        "output_file_id": row.output_file_id,
        "error_file_id": row.error_file_id,
        "created_at": _seconds(row.created_at),
        "expires_at": _seconds(row.deadline),
        **{name: _seconds(getattr(row, name)) for name in _TIMES},
        "request_counts": {
            "total": row.total,
            "completed": row.completed,
            "failed": row.failed,
        },
        "usage": {
            "input_tokens": row.prompt_tokens,
            "input_tokens_details": {"cached_tokens": row.cached_tokens},
            "output_tokens": row.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": row.prompt_tokens + row.completion_tokens,
        },
        "metadata": row.labels,
        "reused": row.reused,
        "retry_of": row.retry_of,
        "resume_from": row.resume_from,
        "progress": progress(row),
        "max_cost": plain(row.max_cost) if row.max_cost is not None else None,
        "max_tokens_total": row.max_tokens_total,
        "stopped_by": row.stopped_by,
        "cost": plain(row.cost) if row.cost is not None else None,
    }
