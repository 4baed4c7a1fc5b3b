"""What leaves the building: rows as the JSON that clients build on, and its shape for the OpenAPI page."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from core.events.types import rfc3339
from core.jobs import kinds
from core.jobs.job import TERMINAL, Job, State
from core.jobs.outlook import NONE, POSITION_CAP, Outlook, WaitingFor
from core.ledger.caps import plain


class JobView(BaseModel):
    """Times are RFC 3339 in UTC; `result` holds the text so far while the job runs; `cost` is a decimal.
    Where the job stands is told by GET and by the list, from a look at its queue that is about a second old.
    `cache`: {"hit": "exact" or "semantic", "job": whose answer this is, "similarity"}."""

    id: str
    kind: str
    state: State
    model: str
    priority: str
    attempt: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    queue_position: int | None = Field(
        description="1 is next, in the order in which jobs are taken: priority, then tenants by their shares; "
        f"{POSITION_CAP} stands for it and all beyond. null: not queued"
    )
    waiting_for: WaitingFor | None = Field(
        description="why a queued job does not run: no living worker serves its model, its turn has not come, all "
        "slots are taken, or an attempt failed and the next is not due; null: it runs or has ended"
    )
    waiting_note: str | None = Field(description="the same as a sentence, for people")
    eta_s: float | None = Field(
        description="seconds until the job has ended, at the speed of its queue's last minutes and if nobody "
        "submits more; null: it has ended, or nothing is known of the speed"
    )
    usage: dict[str, Any] | None
    cost: str | None
    result: dict[str, Any] | None
    error: dict[str, Any] | None
    cache: dict[str, Any] | None
    metadata: dict[str, str]


class JobList(BaseModel):
    object: str
    data: list[JobView]
    first_id: str | None
    last_id: str | None
    has_more: bool


class EventView(BaseModel):
    """`seq` counts from 1 through all attempts of the job."""

    seq: int
    type: str
    job_id: str
    attempt: int
    at: datetime
    data: dict[str, Any]


class EventList(BaseModel):
    object: str
    data: list[EventView]
    has_more: bool


def _time(at: datetime | None) -> str | None:
    return rfc3339(at) if at is not None else None


def job(row: Job, outlook: Outlook = NONE) -> dict[str, Any]:
    """A job as the native surface shows it."""
    done = State(row.state) in TERMINAL
    return {
        "id": row.id,
        "kind": row.kind,
        "state": row.state,
        "model": row.model,
        "priority": row.priority,
        "attempt": row.attempt,
        "created_at": _time(row.created_at),
        "started_at": _time(row.started_at),
        "finished_at": _time(row.finished_at),
        "queue_position": outlook.position,
        "waiting_for": outlook.waiting_for,
        "waiting_note": outlook.note,
        "eta_s": outlook.eta_s,
        "usage": row.usage,
        "cost": plain(row.cost) if row.cost is not None else None,
        "result": row.result if done else kinds.partial(row.kind, row.progress),
        "error": row.error,
        "cache": row.cache,
        "metadata": row.labels,
    }


def page(items: list[dict[str, Any]], has_more: bool) -> dict[str, Any]:
    """The list envelope of every surface; `after=<last_id>` is the next page."""
    return {
        "object": "list",
        "data": items,
        "first_id": items[0]["id"] if items else None,
        "last_id": items[-1]["id"] if items else None,
        "has_more": has_more,
    }
