"""What a tenant used and what it cost: the ledger summed by day, key and model."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    Date,
    SQLColumnExpression,
    Text,
    and_,
    cast,
    func,
    literal,
    select,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql import ColumnElement

from core.errors import InvalidInput
from core.ledger.tables import Entry
from core.security.keys import Caller

MAX_DAYS = 366
BY: dict[str, SQLColumnExpression[Any]] = {
    "day": Entry.day,
    "key": func.coalesce(Entry.key_id, ""),
    "model": Entry.model,
}  # fmt: skip
_BATCH = "batch"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Days in UTC, both included; a job counts on the day on which it was accepted."""

    start: date
    end: date
    by: Sequence[str]
    key_id: str | None = None
    model: str | None = None

    @property
    def groups(self) -> list[str]:
        """In one order, the model last: its name may hold what separates the parts of an id."""
        return [name for name in BY if name in self.by]


@dataclass(frozen=True, slots=True)
class Sum:
    """A group's settled rows, and what is set aside for the others. `group`: its values, as in `Wanted.groups`."""

    group: tuple[Any, ...]
    jobs: int
    batches: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    engine_seconds: float
    cache_hits: int
    cost: Decimal
    open: int
    reserved_tokens: int
    reserved_cost: Decimal

    @property
    def id(self) -> str:
        """Names the group among those of the same query: the next page begins behind it."""
        return "/".join(map(str, self.group)) or "total"


def check(wanted: Wanted) -> None:
    """Raises InvalidInput naming the field at fault."""
    unknown = [name[:32] for name in wanted.by if name not in BY]
    if unknown or len(set(wanted.by)) < len(wanted.by):
        raise InvalidInput(
            f"group_by must be any of {', '.join(BY)}, each once, separated by commas",
            param="group_by",
        )
    if wanted.end < wanted.start:
        raise InvalidInput(f"end is {wanted.end} and start {wanted.start}: swap them", param="end")
    if (wanted.end - wanted.start).days >= MAX_DAYS:
        raise InvalidInput(f"start to end is over {MAX_DAYS} days; ask in parts", param="start")


def _behind(wanted: Wanted, after: str) -> ColumnElement[bool]:
    """The groups that follow the one named `after`."""
    names = wanted.groups
    parts = after.split("/", len(names) - 1) if names else []
    if len(parts) != len(names) or not parts:
        raise InvalidInput("after must be a last_id of the same query", param="after")
    values: list[Any] = []
    for name, value in zip(names, parts, strict=True):
        try:
            values.append(
                literal(date.fromisoformat(value), Date) if name == "day" else literal(value, Text)
            )
        except ValueError as error:
            raise InvalidInput(
                "after must be a last_id of the same query", param="after"
            ) from error
    return tuple_(*(BY[name] for name in names)) > tuple_(*values)


async def summed(
    session: AsyncSession, caller: Caller, wanted: Wanted, *, after: str | None, limit: int
) -> tuple[list[Sum], bool]:
    """The groups in order, from behind `after`. Returns the page and whether there is more. Raises InvalidInput."""
    check(wanted)
    which = [Entry.tenant_id == caller.tenant_id, Entry.day.between(wanted.start, wanted.end)]
    if wanted.key_id is not None:
        which.append(Entry.key_id == wanted.key_id)
    if wanted.model is not None:
        which.append(Entry.model == wanted.model)
    if after is not None:
        which.append(_behind(wanted, after))
    settled = Entry.settled_at.is_not(None)
    groups = [BY[name] for name in wanted.groups]
    query = (
        select(
            *groups,
            func.count().filter(settled, Entry.kind != _BATCH),
            func.count().filter(settled, Entry.kind == _BATCH),
            *(
                cast(func.coalesce(func.sum(column), 0), column.type)
                for column in (Entry.prompt_tokens, Entry.cached_tokens, Entry.completion_tokens,
                               Entry.engine_seconds)
            ),
            func.count().filter(Entry.cache != "none"),
            func.coalesce(func.sum(Entry.cost), 0),
            func.count().filter(~settled),
            cast(func.coalesce(func.sum(Entry.reserved_tokens).filter(~settled), 0), BigInteger),
            func.coalesce(func.sum(Entry.reserved_cost).filter(~settled), 0),
        )
        .where(and_(*which))
        .group_by(*groups)
        .order_by(*groups)
        .limit(limit + 1)
    )  # fmt: skip
    count = len(groups)
    rows = [Sum(tuple(row[:count]), *row[count:]) for row in await session.execute(query)]
    return rows[:limit], len(rows) > limit
