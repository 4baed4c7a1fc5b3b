"""The watch on gaps: looked at after each answer, it hardly ever alarms where nothing is, and it does where one is."""

import math
import random

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.db.session import Database
from core.guard import counting
from core.guard.counting import Note
from core.guard.gaps import ANY, Gaps, Key
from core.guard.tables import GuardCount, GuardWatch
from core.security.keys import Caller
from core.webhooks.tables import WebhookDelivery, WebhookEndpoint
from tests.fakes import webhooks as given

STREAMS, ANSWERS, RATE = 400, 600, 0.2


def _stream(
    seed: int, rates: dict[str, float], answers: int = ANSWERS
) -> list[tuple[str, list[str]]]:
    chance = random.Random(seed)
    groups = sorted(rates)
    return [
        (group, ["slur"] if chance.random() < rates[group] else [])
        for group in (chance.choice(groups) for _ in range(answers))
    ]


def _alarms(stream: list[tuple[str, list[str]]]) -> list[Key]:
    gaps = Gaps(alpha=0.05)
    return [key for group, met in stream for key in gaps.seen(group, met)]


def _z_alarms(stream: list[tuple[str, list[str]]], every: int = 10) -> bool:
    """A z-test of two shares, repeated: what one would do without thinking."""
    seen = {"a": [0, 0], "b": [0, 0]}
    for number, (group, met) in enumerate(stream, 1):
        seen[group][0] += bool(met)
        seen[group][1] += 1
        (x, n), (y, m) = seen["a"], seen["b"]
        if number % every or min(n, m) < 10:
            continue
        share = (x + y) / (n + m)
        spread = math.sqrt(share * (1 - share) * (1 / n + 1 / m))
        if spread and abs(x / n - y / m) / spread > 1.96:
            return True
    return False


def test_where_nothing_is_it_hardly_ever_alarms_and_a_repeated_z_test_often_does() -> None:
    streams = [_stream(seed, {"a": RATE, "b": RATE}) for seed in range(STREAMS)]
    ours = sum(bool(_alarms(stream)) for stream in streams) / STREAMS
    theirs = sum(map(_z_alarms, streams)) / STREAMS
    assert ours < 0.05
    assert theirs > 0.2
    assert theirs > 4 * ours


def test_a_gap_is_found_in_the_group_that_has_it() -> None:
    found = [_alarms(_stream(seed, {"a": 0.5, "b": 0.05})) for seed in range(50)]
    assert all(found)
    assert {key.group for keys in found for key in keys} == {"a"}


def test_each_answer_is_in_one_pair_at_most() -> None:
    gaps = Gaps(alpha=0.05)
    for _ in range(10):
        gaps.seen("a", ["slur"])
    assert gaps.tests == {}
    for _ in range(4):
        gaps.seen("b", [])
    # The first pair brought the news of the category: its test begins behind it.
    assert gaps.tests[Key(ANY, "a")].betting.n == 3
    assert len(gaps.waiting["a"]) == 6


def test_all_parts_of_alpha_are_no_more_than_it() -> None:
    gaps = Gaps(alpha=0.05)
    for number in range(300):
        gaps.seen(f"g{number % 16}", [f"c{number % 20}"])
    assert sum(test.alpha for test in gaps.tests.values()) <= 0.05
    assert sorted(test.number for test in gaps.tests.values()) == list(
        range(1, len(gaps.tests) + 1)
    )


async def _recorded(session: AsyncSession, tenant: str, stream: list[tuple[str, list[str]]]) -> int:
    notes = [
        Note(tenant, group, {(c, "mask"): 1 for c in met}, alpha=0.05) for group, met in stream
    ]
    alarms = 0
    for at in range(0, len(notes), 7):
        alarms += len(await counting.record(session, notes[at : at + 7]))
    return alarms


async def test_its_state_survives_and_an_alarm_is_told_once(database: Database) -> None:
    caller = await given.tenant(database)
    other: Caller = await given.tenant(database)
    stream = _stream(1, {"a": 0.6, "b": 0.0}, 200)
    async with database.begin() as session:
        session.add(
            WebhookEndpoint(id=f"we_{caller.tenant_id}", tenant_id=caller.tenant_id, name="x", url="http://x.test",
                            event_types=["guard.alarm"], secret="whsec_x", enabled=True)
        )  # fmt: skip
    alarms = 0
    # Each part by a worker of its own, which knows nothing but the tables.
    for at in range(0, 200, 50):
        async with database.begin() as session:
            alarms += await _recorded(session, caller.tenant_id, stream[at : at + 50])
    assert alarms == len(_alarms(stream)) > 0
    async with database.begin() as session:
        told = await session.scalar(
            select(func.count()).select_from(WebhookDelivery).where(
                WebhookDelivery.tenant_id == caller.tenant_id, WebhookDelivery.event_type == "guard.alarm")
        )  # fmt: skip
        facts = await session.scalar(
            text(
                "SELECT count(*) FROM outbox WHERE type = 'guard.alarm' AND payload ->> 'tenant' = :tenant"
            ),
            {"tenant": caller.tenant_id},
        )
        alarmed = await session.scalar(
            select(func.count()).select_from(GuardWatch).where(
                GuardWatch.tenant_id == caller.tenant_id, GuardWatch.alarmed_at.is_not(None))
        )  # fmt: skip
        hits = await session.scalar(
            select(func.sum(GuardCount.hits)).where(
                GuardCount.tenant_id == caller.tenant_id, GuardCount.category == "slur")
        )  # fmt: skip
        strangers = await session.scalar(
            select(func.count())
            .select_from(GuardCount)
            .where(GuardCount.tenant_id == other.tenant_id)
        )
    assert told == facts == alarmed == alarms
    assert hits == sum(bool(met) for _, met in stream)
    assert strangers == 0
