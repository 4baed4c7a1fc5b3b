"""Whose turn it is: tenants share a queue by their weights in tokens, and are charged once a job."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from sqlalchemy import text

from core.db.session import Database
from core.errors import InvalidInput, NotFound
from core.ids import new_id
from core.jobs import ringing, shares
from core.jobs.ringing import suspect_after
from core.security import keys

SUSPECT = suspect_after(5)
_ADD = text(
    """INSERT INTO jobs (id, tenant_id, kind, model, priority, rank, queue, spec, metadata, reserved_tokens)
       SELECT v.id, :tenant, 'inference', 'm', 'interactive', :rank, :queue, '{}', '{}', :tokens
       FROM unnest(cast(:ids AS text[])) AS v(id)"""
)
_END = text(
    """UPDATE jobs SET state = 'succeeded', rung_at = NULL, finished_at = now(),
           usage = jsonb_build_object('total_tokens', cast(:took AS int)) WHERE id = ANY(:ids)"""
)


@dataclass
class Line:
    """One queue of its own, tenants by short names, and jobs that end the moment they were rung for."""

    database: Database
    queue: str = field(default_factory=lambda: new_id("q"))
    tenants: dict[str, str] = field(default_factory=dict)
    owner: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)

    async def add(self, who: str, count: int, tokens: int = 10, rank: int = 0) -> list[str]:
        ids = sorted(new_id("job") for _ in range(count))
        async with self.database.begin() as session:
            if who not in self.tenants:
                key, _ = await keys.create(session, tenant=new_id(who), name="x")
                self.tenants[who] = key.tenant_id
            values = {"tenant": self.tenants[who], "queue": self.queue, "rank": rank}
            await session.execute(_ADD, values | {"ids": ids, "tokens": tokens})
        self.owner |= dict.fromkeys(ids, who)
        self.tokens |= dict.fromkeys(ids, tokens)
        return ids

    async def weigh(self, who: str, weight: float) -> None:
        async with self.database.begin() as session:
            await session.execute(
                text("UPDATE tenants SET weight = :weight WHERE id = :id"),
                {"weight": weight, "id": self.tenants[who]},
            )

    async def pick(self, room: int) -> list[str] | None:
        async with self.database.single() as session:
            turn = await session.scalar(
                text("SELECT turn FROM queue_clocks WHERE queue = :queue"), {"queue": self.queue}
            )
            return await shares.pick(session, self.queue, turn, room=room, suspect=SUSPECT)

    async def served(self, room: int) -> list[str]:
        picked = await self.pick(room)
        assert picked is not None
        await self.end(picked)
        return picked

    async def end(self, ids: Sequence[str], took: int | None = None) -> None:
        async with self.database.begin() as session:
            await session.execute(_END, {"ids": list(ids), "took": took})

    async def put_back(self, ids: Sequence[str], **columns: object) -> None:
        """As a lost doorbell or a requeue would."""
        values = ", ".join(f"{name} = :{name}" for name in {"rung_at": None} | columns)
        async with self.database.begin() as session:
            await session.execute(
                text(f"UPDATE jobs SET {values} WHERE id = ANY(:ids)"),
                {"rung_at": None, **columns, "ids": list(ids)},
            )

    async def virtual(self, who: str) -> float:
        async with self.database.begin() as session:
            found = await session.scalar(
                text("SELECT virtual FROM tenant_shares WHERE queue = :q AND tenant_id = :t"),
                {"q": self.queue, "t": self.tenants[who]},
            )
        return float(found or 0)

    def took(self, ids: Sequence[str]) -> Counter[str]:
        """Tokens by tenant."""
        count: Counter[str] = Counter()
        for job_id in ids:
            count[self.owner[job_id]] += self.tokens[job_id]
        return count

    def who(self, ids: Sequence[str]) -> str:
        return "".join(self.owner[job_id] for job_id in ids)


@pytest.fixture
def line(database: Database) -> Line:
    return Line(database)


async def test_tokens_are_shared_by_weight_at_every_moment(line: Line) -> None:
    """Two to one, within a job of each, after every single choice and not only at the end."""
    await line.add("a", 200, tokens=10)
    await line.add("b", 200, tokens=10)
    await line.weigh("a", 2)
    served: list[str] = []
    for room in (1, 2, 5, 1, 7, 24, 60, 1, 1, 30):
        served += await line.served(room)
        for end in range(1, len(served) + 1):
            took = line.took(served[:end])
            assert abs(took["a"] / 2 - took["b"]) <= 10 / 2 + 10
    took = line.took(served)
    assert took["a"] == pytest.approx(2 * took["b"], abs=20)


async def test_jobs_of_unequal_size_share_tokens_and_not_turns(line: Line) -> None:
    await line.add("a", 900, tokens=10)
    await line.add("b", 9, tokens=1000)
    served: list[str] = []
    while len(served) < 500:
        served += await line.served(24)
    took = line.took(served)
    assert abs(took["a"] - took["b"]) <= 1000 + 10
    assert line.who(served).count("a") > 90 * line.who(served).count("b")


async def test_a_tenant_that_was_away_has_saved_nothing_and_waits_behind_nobody(line: Line) -> None:
    await line.add("b", 1)
    await line.add("a", 400)
    served = await line.served(1) + await line.served(1) + await line.served(200)
    assert line.took(served)["a"] >= 2000
    # b was served once, long ago: it is neither owed 200 turns nor sent behind 199 jobs.
    await line.add("b", 100)
    assert line.who(await line.served(1)) == "b"
    took = line.took(await line.served(60))
    assert abs(took["a"] - took["b"]) <= 20
    await line.add("c", 100)
    assert "c" in line.who(await line.served(2)), "nor does a new one wait"


async def test_ten_thousand_jobs_of_one_tenant_hold_up_nobody(line: Line) -> None:
    await line.add("a", 10_000, tokens=1000)
    await line.served(144)
    mine = await line.add("b", 10, tokens=10)
    served = await line.served(2)
    while not set(mine) <= set(served):
        served += await line.served(2)
    # Its hundred tokens are less than one job of the other: at most one of those goes before the last.
    assert len(served) <= 10 + 2
    assert [job for job in served if job in mine] == mine, (
        "first come, first served within a tenant"
    )


async def test_everybody_is_served_among_many(line: Line) -> None:
    names = [f"{n:02}" for n in range(40)]
    for name in names:
        await line.add(name, 20, tokens=10 if name != "07" else 3000)
    served = [job for _ in range(8) for job in await line.served(5)]
    assert sorted(line.owner[job] for job in served) == names


async def test_one_choice_keeps_the_order_of_turns(line: Line) -> None:
    first = await line.add("a", 6)
    await line.add("b", 6)
    picked = await line.pick(12)
    assert picked is not None
    assert line.who(picked) == "ab" * 6, "not all of a, whose ids are lower"
    assert [job for job in picked if job in first] == first
    async with line.database.begin() as session:
        kept = await session.scalars(
            text("SELECT id FROM jobs WHERE queue = :q ORDER BY rung_at"), {"q": line.queue}
        )
    assert list(kept) == picked, "rung_at tells the order of one choice, too"


async def test_rank_goes_before_shares(line: Line) -> None:
    await line.add("a", 5, rank=1)
    await line.add("b", 5, tokens=10_000, rank=0)
    assert line.who(await line.served(3) + await line.served(7)) == "bbbbbaaaaa"


async def test_a_job_is_charged_once_however_often_it_is_rung(line: Line) -> None:
    jobs = await line.add("a", 3, tokens=100)
    assert await line.pick(3) == jobs
    charged = await line.virtual("a")
    assert charged == 300
    for _ in range(3):
        await line.put_back(jobs)
        assert await line.pick(3) == jobs
    await line.put_back(jobs[:1], attempt=2, failures=1)
    assert await line.pick(3) == jobs[:1]
    assert await line.virtual("a") == charged


async def test_a_job_that_comes_back_does_not_queue_again(line: Line) -> None:
    """Its tenant has paid for it, so it goes before what is yet to be charged."""
    lost = (await line.add("a", 1, tokens=5000))[0]
    await line.pick(1)
    await line.add("a", 5)
    await line.add("b", 50)
    await line.served(20)
    await line.put_back([lost])
    assert await line.served(1) == [lost]


async def test_what_waits_for_its_backoff_holds_up_neither_its_tenant_nor_others(
    line: Line,
) -> None:
    for name in ("a", "b", "c"):
        await line.add(name, 1)
    later = [job for job in line.owner if line.owner[job] in "ab"]
    async with line.database.begin() as session:
        await session.execute(
            text("UPDATE jobs SET available_at = now() + interval '1 h' WHERE id = ANY(:ids)"),
            {"ids": later},
        )
    ready = await line.add("b", 1)
    assert set(await line.served(2)) == {*ready, *(j for j in line.owner if line.owner[j] == "c")}
    assert await line.pick(2) == []


async def test_of_suspects_one_is_out_at_a_time(line: Line) -> None:
    bad = await line.add("a", 3)
    good = await line.add("b", 2)
    await line.put_back(bad, failures=SUSPECT)
    picked = await line.pick(10)
    assert picked is not None
    assert set(picked) == {bad[0], *good}
    assert await line.pick(10) == []
    await line.end(bad[:1])
    assert await line.pick(10) == [bad[1]]


async def test_what_is_rung_for_nothing_is_charged_for_something(line: Line) -> None:
    await line.add("a", 50, tokens=0)
    await line.add("b", 50, tokens=1)
    assert Counter(line.who(await line.served(20))) == {"a": 10, "b": 10}


async def test_two_dispatchers_never_decide_on_the_same_numbers(line: Line) -> None:
    await line.add("a", 300)
    await line.add("b", 300)
    await line.weigh("b", 3)
    served: list[str] = []
    beaten = 0

    async def dispatcher() -> None:
        nonlocal beaten
        while len(served) < 300:
            picked = await line.pick(5)
            if picked is None:
                beaten += 1
                continue
            served.extend(picked)

    await asyncio.gather(*(dispatcher() for _ in range(4)))
    assert len(served) == len(set(served)), "no job was rung for by two"
    assert beaten > 0, "they did meet"
    took = line.took(served)
    assert abs(took["b"] / 3 - took["a"]) <= 10 + 10 / 3
    assert await line.virtual("a") == took["a"], "no charge was lost"
    assert await line.virtual("b") * 3 == pytest.approx(took["b"])


async def test_a_choice_made_on_old_numbers_is_not_made(line: Line) -> None:
    await line.add("a", 3)
    await line.served(1)
    async with line.database.single() as session:
        assert await shares.pick(session, line.queue, 0, room=3, suspect=SUSPECT) is None
        assert await shares.pick(session, line.queue, None, room=3, suspect=SUSPECT) is None
    assert len(await line.served(3)) == 2


async def test_a_job_that_somebody_holds_is_passed_over_and_not_charged(line: Line) -> None:
    held, free = await line.add("a", 2)
    async with line.database.begin() as session:
        await session.execute(text("SELECT id FROM jobs WHERE id = :id FOR UPDATE"), {"id": held})
        assert await line.pick(5) == [free]
    assert await line.virtual("a") == 10
    assert await line.pick(5) == [held]
    assert await line.virtual("a") == 20


async def test_who_reserves_more_than_it_takes_is_charged_for_what_it_takes(line: Line) -> None:
    """A client that names no max_tokens reserves the whole context, and takes as little as the others."""
    await line.add("a", 200, tokens=2000)
    await line.add("b", 200, tokens=20)
    first = await line.pick(40)
    assert first is not None
    assert line.who(first).count("a") <= 2, "nothing is known yet"
    await line.end(first, took=20)
    async with line.database.begin() as session:
        await shares.learn(session)
    count = Counter(line.who(await line.served(1) + await line.served(120)))
    # What a was charged too much before is not given back: it has begun at the queue's own time again.
    assert abs(count["a"] - count["b"]) <= 2000 / 20 + 2
    count = Counter(line.who(await line.served(40)))
    assert abs(count["a"] - count["b"]) <= 2


async def test_a_choice_takes_every_queue_and_its_doorbells_follow_the_turns(line: Line) -> None:
    other = Line(line.database)
    await line.add("a", 3)
    await line.add("b", 3)
    await other.add("c", 2)
    async with line.database.single() as session:
        chosen = await ringing.choose(session, SUSPECT)
    rung = {
        q: [j for n, jobs in chosen.doorbells if n == q for j in jobs] for q, _ in chosen.doorbells
    }
    # Nobody works on these queues: a few are rung, so that the first worker starts at once.
    assert line.who(rung[line.queue]) == "abab"
    assert other.who(rung[other.queue]) == "cc"


async def test_weights_are_checked(database: Database) -> None:
    name = new_id("t")
    async with database.begin() as session:
        await keys.create(session, tenant=name, name="x")
        await keys.weigh(session, name, 3)
        weights = {
            tenant.name: (tenant.weight, count) for tenant, count in await keys.tenants(session)
        }
        assert weights[name] == (3, 1)
        for bad in (0, -1, 1001, float("nan"), float("inf")):
            with pytest.raises(InvalidInput) as refused:
                await keys.weigh(session, name, bad)
            assert refused.value.param == "weight"
        with pytest.raises(NotFound, match="penstock tenants list"):
            await keys.weigh(session, "nobody", 1)
