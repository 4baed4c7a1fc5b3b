"""What answers brought to light, written down: counts by day, category, group and action, and the watch on gaps."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from sqlalchemy import Date, bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import BigInteger, Text

from core.events import outbox
from core.guard.gaps import Gaps, Key, Test
from core.guard.judging import UNCHECKED, UNROUTED
from core.guard.tables import GuardQueue, GuardWatch
from core.measures import live

# The answers themselves, beside what was met in them.
ANSWERS, WHOLE = "", "answered"
# How the platform did, which says nothing of what a group's answers hold.
_OURS = frozenset({UNCHECKED, UNROUTED})


@dataclass(frozen=True, slots=True)
class Note:
    """One finished answer. `hits`: how often each (category, action) was met; `alpha`: of the watch, 0: none."""

    tenant_id: str
    group: str
    hits: dict[tuple[str, str], int] = field(default_factory=dict)
    alpha: float = 0.0
    day: date = field(default_factory=lambda: datetime.now(UTC).date())


@dataclass(frozen=True, slots=True)
class Alarm:
    tenant_id: str
    category: str
    group: str


_COUNT = text(
    """INSERT INTO guard_counts (tenant_id, day, category, group_name, action, hits)
       SELECT * FROM unnest(:tenants, :days, :categories, :groups, :actions, :hits)
       ON CONFLICT (tenant_id, day, category, group_name, action)
       DO UPDATE SET hits = guard_counts.hits + excluded.hits"""
).bindparams(
    *(bindparam(n, type_=ARRAY(Text)) for n in ("tenants", "categories", "groups", "actions")),
    bindparam("days", type_=ARRAY(Date)),
    bindparam("hits", type_=ARRAY(BigInteger)),
)


async def record(session: AsyncSession, notes: Sequence[Note]) -> list[Alarm]:
    """Count these answers, in the session's transaction. Returns the gaps that they revealed."""
    total: Counter[tuple[str, date, str, str, str]] = Counter()
    for note in notes:
        total[(note.tenant_id, note.day, ANSWERS, note.group, WHOLE)] += 1
        for (category, action), hits in note.hits.items():
            total[(note.tenant_id, note.day, category, note.group, action)] += hits
    if not total:
        return []
    # In one order everywhere: two workers that count at once must not wait for each other in a ring.
    tenants, days, categories, groups, actions = (
        list(column) for column in zip(*sorted(total), strict=True)
    )
    await session.execute(
        _COUNT,
        {
            "tenants": tenants, "days": days, "categories": categories, "groups": groups,
            "actions": actions, "hits": [total[key] for key in sorted(total)],
        },
    )  # fmt: skip
    alarms = []
    for tenant_id in sorted({note.tenant_id for note in notes if note.alpha and note.group}):
        ours = [n for n in notes if n.tenant_id == tenant_id and n.alpha and n.group]
        alarms += await _watched(session, tenant_id, ours)
    return alarms


async def _watched(session: AsyncSession, tenant_id: str, notes: Sequence[Note]) -> list[Alarm]:
    # One row is locked: a tenant's answers meet in one order, whichever workers wrote them.
    await session.execute(
        insert(GuardQueue).values(tenant_id=tenant_id, waiting={}).on_conflict_do_nothing()
    )
    queue = (
        await session.scalars(
            select(GuardQueue).where(GuardQueue.tenant_id == tenant_id).with_for_update()
        )
    ).one()
    rows = {
        Key(row.category, row.group): row
        for row in await session.scalars(
            select(GuardWatch).where(GuardWatch.tenant_id == tenant_id)
        )
    }
    tests = {
        key: Test(row.number, row.alpha, live.restored(row.state), row.alarmed_at is not None)
        for key, row in rows.items()
    }
    gaps = Gaps(notes[-1].alpha, {g: list(w) for g, w in queue.waiting.items()}, tests)
    revealed = [key for n in notes for key in gaps.seen(n.group, {c for c, _ in n.hits} - _OURS)]
    queue.waiting = gaps.waiting
    for key, test in gaps.tests.items():
        row = rows.get(key)
        if row is None:
            row = GuardWatch(
                tenant_id=tenant_id, category=key.category, group=key.group, number=test.number,
                alpha=test.alpha, state={}, alarmed_at=None,
            )  # fmt: skip
            session.add(row)
        row.state = test.betting.stored()
        if test.alarmed and row.alarmed_at is None:
            row.alarmed_at = datetime.now(UTC)
    await session.flush()
    for key in revealed:
        subject = f"guardwatch_{tenant_id.removeprefix('tenant_')}_{gaps.tests[key].number}"
        await outbox.tell(session, tenant_id, kind="guard", subject=subject, state="alarm")
    return [Alarm(tenant_id, *key) for key in revealed]
