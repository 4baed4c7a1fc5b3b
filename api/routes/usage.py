"""Usage: what the caller's tenant took and what it cost, by day, key and model."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import AfterValidator, BaseModel, StringConstraints

from api import views
from api.deps import CallerDep, PartsDep, SessionDep
from api.routes.jobs import ERRORS, answer
from core.errors import InvalidInput
from core.jobs.sampling import no_nul
from core.ledger import usage
from core.ledger.caps import plain
from core.ledger.usage import Sum, Wanted

router = APIRouter(prefix="/v1/usage", tags=["usage"], responses=ERRORS)

# Not a date: pydantic would take seconds since 1970 for one, too.
Day = Annotated[str, StringConstraints(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
Name = Annotated[str, AfterValidator(no_nul)]
# Days, when no start is given.
MONTH = 30


class UsageView(BaseModel):
    """`cost` and `reserved_cost` are decimals in `currency`; `open`: jobs and batches not ended, to which the
    `reserved_` fields belong. Of `day`, `key_id` and `model` those are null that are not in `group_by`."""

    id: str
    object: str
    day: str | None
    key_id: str | None
    model: str | None
    jobs: int
    batches: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    engine_seconds: float
    cache_hits: int
    cost: str
    currency: str
    open: int
    reserved_tokens: int
    reserved_cost: str


class UsageList(BaseModel):
    object: str
    data: list[UsageView]
    first_id: str | None
    last_id: str | None
    has_more: bool


@router.get("", responses={200: {"model": UsageList}})
async def listed(
    caller: CallerDep,
    parts: PartsDep,
    session: SessionDep,
    start: Annotated[Day | None, Query(description="a day in UTC; default: 30 before end")] = None,
    end: Annotated[Day | None, Query(description="the last day; default: today")] = None,
    group_by: Annotated[
        str,
        Query(
            pattern="^(|(day|key|model)(,(day|key|model)){0,2})$",
            description="day, key, model, separated by commas; empty: one sum",
        ),
    ] = "day",
    key_id: Annotated[str | None, Query(pattern="^key_[0-9a-z]{26}$")] = None,
    model: Annotated[Name | None, Query(max_length=256)] = None,
    after: Annotated[Name | None, Query(max_length=512)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Your usage in groups, oldest first; `after=<last_id>` continues. A job counts on the day it was accepted."""
    last = _day("end", end) or datetime.now(UTC).date()
    first = _day("start", start) or last - min(timedelta(days=MONTH), last - date.min)
    wanted = Wanted(first, last, [name for name in group_by.split(",") if name], key_id, model)
    found, more = await usage.summed(session, caller, wanted, after=after, limit=limit)
    shown = [_shown(one, wanted, parts.settings.currency) for one in found]
    return answer(views.page(shown, more))


def _day(param: str, written: str | None) -> date | None:
    try:
        return date.fromisoformat(written) if written is not None else None
    except ValueError as error:
        raise InvalidInput(f"{param}: there is no day {written}", param=param) from error


def _shown(one: Sum, wanted: Wanted, currency: str) -> dict[str, Any]:
    group = dict(zip(wanted.groups, one.group, strict=True))
    return {
        "id": one.id,
        "object": "usage",
        "day": group["day"].isoformat() if "day" in group else None,
        "key_id": group.get("key") or None,
        "model": group.get("model"),
        "jobs": one.jobs,
        "batches": one.batches,
        "prompt_tokens": one.prompt_tokens,
        "cached_tokens": one.cached_tokens,
        "completion_tokens": one.completion_tokens,
        "engine_seconds": round(one.engine_seconds, 4),
        "cache_hits": one.cache_hits,
        "cost": plain(one.cost),
        "currency": currency,
        "open": one.open,
        "reserved_tokens": one.reserved_tokens,
        "reserved_cost": plain(one.reserved_cost),
    }
