"""What the guard's routes take and give."""

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from api.guards import Routes
from core.events.types import rfc3339
from core.guard.service import Current
from core.guard.settings import GuardSettings
from core.guard.tables import GuardCount, GuardWatch
from core.guard.trying import Tried
from core.jobs.sampling import no_nul
from core.measures import live


class RoutingView(BaseModel):
    """`all_shown`: the classifier is shown every sentence, because of `why`."""

    state: Literal["routing", "all_shown"]
    why: str


class GuardView(BaseModel):
    """`settings`: everything written out. `digest`: of what jobs are pinned to, and what caches are keyed by.
    `routing`: how its router does; null: it has none."""

    object: Literal["guard"]
    digest: str
    set_at: datetime | None
    routing: RoutingView | None
    settings: GuardSettings


class CountView(BaseModel):
    """`category` empty, `action` answered: finished answers, whatever was met in them."""

    day: date
    category: str
    group: str
    action: str
    hits: int


class CountList(BaseModel):
    object: Literal["list"]
    data: list[CountView]


class WatchView(BaseModel):
    """The test whether `category` is met more often in this group's answers than in the others'. `evidence`: alarms
    for good once it has been `needed`; may be looked at at any time."""

    category: str
    group: str
    pairs: int
    evidence: float
    needed: float
    alarmed_at: datetime | None


class WatchList(BaseModel):
    object: Literal["list"]
    data: list[WatchView]


class Test(BaseModel):
    """`guard`: other settings than the tenant's. `json`: the text is JSON, as a structured answer or a call."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)
    text: Annotated[str, Field(max_length=100_000), AfterValidator(no_nul)]
    guard: GuardSettings | None = None
    is_json: bool = Field(False, alias="json")


class HitView(BaseModel):
    category: str
    action: str
    hits: int


class TestView(BaseModel):
    """`finish_reason`: content_filter where an answer would have been stopped."""

    object: Literal["guard.test"]
    text: str
    finish_reason: Literal["stop", "content_filter"]
    hits: list[HitView]


def guard(current: Current, routes: Routes | None) -> dict[str, Any]:
    at = current.set_at
    state = None
    if routes is not None:
        state = {"state": "all_shown" if routes.why else "routing", "why": routes.why}
    return {
        "object": "guard",
        "digest": current.digest,
        "set_at": None if at is None else rfc3339(at),
        "routing": state,
        "settings": current.settings.model_dump(mode="json"),
    }


def counted(rows: list[GuardCount]) -> dict[str, Any]:
    return {
        "object": "list",
        "data": [
            {"day": row.day.isoformat(), "category": row.category, "group": row.group,
             "action": row.action, "hits": row.hits}
            for row in rows
        ],
    }  # fmt: skip


def watched(rows: list[GuardWatch]) -> dict[str, Any]:
    return {"object": "list", "data": [_watch(row) for row in rows]}


def _watch(row: GuardWatch) -> dict[str, Any]:
    betting = live.restored(row.state)
    return {
        "category": row.category,
        "group": row.group,
        "pairs": betting.n,
        "evidence": betting.peak,
        "needed": 1 / row.alpha,
        "alarmed_at": None if row.alarmed_at is None else rfc3339(row.alarmed_at),
    }


def tested(found: Tried) -> dict[str, Any]:
    return {
        "object": "guard.test",
        "text": found.text,
        "finish_reason": "content_filter" if found.stopped else "stop",
        "hits": [
            {"category": category, "action": action, "hits": hits}
            for (category, action), hits in sorted(found.hits.items())
        ],
    }
