"""The ledger on a real Postgres: reserved with the job, settled once with its end, whoever ends it."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select, text

from core.catalog import models, prices
from core.catalog.models import Served
from core.catalog.prices import Prices
from core.db.session import Database
from core.errors import Conflict, InvalidInput, NotFound
from core.ids import new_id
from core.jobs import attempts, kinds, rescue, service
from core.jobs.attempts import Claim, Outcome, Requeue
from core.jobs.job import Job, State
from core.jobs.kinds import InferenceJob
from core.jobs.submission import Wish, submit_all
from core.ledger import usage
from core.ledger.tables import Entry
from core.ledger.usage import Wanted
from core.security.keys import Caller
from tests.fakes.webhooks import tenant

MODEL = Served("rill", "here", 2048)
PRICES = Prices(Decimal("0.5"), Decimal(2), Decimal("0.05"))
USED = {"prompt_tokens": 20, "completion_tokens": 30, "cached_tokens": 8, "engine_seconds": 1.5}
# Millionths: 12 at a half, 8 at a twentieth, 30 at two.
COST = Decimal("0.0000664")


@pytest.fixture
async def caller(database: Database) -> Caller:
    return await tenant(database)


@pytest.fixture
async def model(database: Database) -> Served:
    """A model that nothing else uses, with prices."""
    served = Served(new_id("m"), "here", 2048, prices=PRICES)
    async with database.begin() as session:
        await models.register(session, served)
        await models.price(session, served.name, PRICES)
    return served


def spec(**fields: Any) -> InferenceJob:
    plain = {"kind": "inference", "prompt": "x" * 40, "max_tokens": 100}
    return InferenceJob.model_validate(plain | fields)


async def submitted(
    database: Database, caller: Caller, model: Served, key: str | None = None, **fields: Any
) -> str:
    async with database.begin() as session:
        done = await service.submit(session, caller, spec(**fields), model, idempotency_key=key)
    return done.job.id


async def claimed(database: Database, job_id: str) -> Claim:
    async with database.begin() as session:
        (claim,) = await attempts.claim(session, [job_id], worker_id="w", lease_s=60)
    return claim


async def ended(database: Database, claim: Claim, **used: Any) -> bool:
    async with database.begin() as session:
        end = Outcome(claim.id, claim.attempt, State.SUCCEEDED, claim.seq + 1, usage=USED | used)
        return claim.id in await attempts.finish(session, [end])


async def entry(database: Database, subject: str) -> Entry:
    async with database.begin() as session:
        return (await session.scalars(select(Entry).where(Entry.id == subject))).one()


async def test_a_job_is_reserved_when_accepted_and_settled_when_it_ends(
    database: Database, caller: Caller, model: Served
) -> None:
    job_id = await submitted(database, caller, model)
    row = await entry(database, job_id)
    assert (row.tenant_id, row.key_id, row.model) == (caller.tenant_id, caller.key_id, model.name)
    assert (row.kind, row.settled_at, row.cost) == ("inference", None, None)
    # 40 bytes are taken for ten tokens.
    assert (row.reserved_tokens, row.reserved_cost) == (110, Decimal("0.000205"))
    assert row.day == datetime.now(UTC).date()
    assert await ended(database, await claimed(database, job_id))
    row = await entry(database, job_id)
    assert (row.prompt_tokens, row.cached_tokens, row.completion_tokens) == (20, 8, 30)
    assert (row.engine_seconds, row.cost, row.cache) == (1.5, COST, "none")
    assert row.settled_at is not None
    async with database.begin() as session:
        assert (await service.get(session, caller, job_id)).cost == COST


async def test_a_price_change_touches_nothing_that_was_accepted(
    database: Database, caller: Caller, model: Served
) -> None:
    job_id = await submitted(database, caller, model)
    async with database.begin() as session:
        await models.price(session, model.name, Prices(Decimal(9), Decimal(9), Decimal(9)))
    later = await submitted(database, caller, model)
    for one in (job_id, later):
        assert await ended(database, await claimed(database, one))
    assert (await entry(database, job_id)).cost == COST
    assert (await entry(database, later)).cost == Decimal("0.00045")


async def test_only_one_of_many_ends_settles(
    database: Database, caller: Caller, model: Served
) -> None:
    claim = await claimed(database, await submitted(database, caller, model))
    said = [{"completion_tokens": n} for n in range(8)]
    won = await asyncio.gather(*(ended(database, claim, **one) for one in said))
    assert sum(won) == 1
    row = await entry(database, claim.id)
    assert row.completion_tokens == won.index(True)
    assert not await ended(database, claim, completion_tokens=99), "it has ended"
    assert (await entry(database, claim.id)).completion_tokens == won.index(True)


async def test_a_replay_reserves_nothing(database: Database, caller: Caller, model: Served) -> None:
    wishes = [Wish(caller, spec(), model, "twin"), Wish(caller, spec(), model, "twin"),
              Wish(caller, spec(seed=3), model, "twin")]  # fmt: skip
    async with database.begin() as session:
        answers = await submit_all(session, wishes)
    assert any(isinstance(a, Conflict) for a in answers)
    await asyncio.gather(*(submitted(database, caller, model, "again") for _ in range(6)))
    async with database.begin() as session:
        rows = (await session.scalars(select(Entry).where(Entry.model == model.name))).all()
        jobs = (await session.scalars(select(Job.id).where(Job.model == model.name))).all()
    assert len(rows) == 2
    assert {row.id for row in rows} == set(jobs)


async def test_a_transaction_that_fails_leaves_no_row(
    database: Database, caller: Caller, model: Served
) -> None:
    class UndoError(Exception):
        pass

    async def undone() -> None:
        async with database.begin() as session:
            await service.submit(session, caller, spec(), model)
            raise UndoError

    with pytest.raises(UndoError):
        await undone()
    async with database.begin() as session:
        assert not (await session.scalars(select(Entry).where(Entry.model == model.name))).all()


SAID = {"text": "a b", "tokens": [1, 2],
        "took": {"prompt_tokens": 9, "cached_tokens": 4, "engine_seconds": 0.25}}  # fmt: skip
SEVERAL = SAID | {"choices": [{"index": 1, "text": "c", "tokens": [3, 4, 5]}]}


async def queued_again(database: Database, claim: Claim, said: dict[str, Any] | None) -> None:
    async with database.begin() as session:
        back = Requeue(
            claim.id, claim.attempt, claim.seq + 1, said, "worker_lost", charged=False
        )  # fmt: skip
        assert await attempts.requeue(session, back)


@pytest.mark.parametrize(
    ("said", "tokens", "seconds"),
    [(None, (0, 0, 0), 0), (SAID, (9, 2, 4), 0.25), (SEVERAL, (9, 5, 4), 0.25)],
    ids=["said nothing", "one answer", "several"],
)
@pytest.mark.parametrize("how", ["cancelled", "expired"])
async def test_a_job_that_ends_in_the_queue_is_charged_what_it_has_said(
    database: Database, caller: Caller, model: Served, how: str, said: dict[str, Any] | None,
    tokens: tuple[int, int, int], seconds: float,
) -> None:  # fmt: skip
    job_id = await submitted(database, caller, model, completion_window="1h")
    await queued_again(database, await claimed(database, job_id), said)
    async with database.begin() as session:
        if how == "cancelled":
            await service.cancel(session, caller, job_id)
        else:
            past = text("UPDATE jobs SET deadline = now() - interval '1 s' WHERE id = :id")
            await session.execute(past, {"id": job_id})
            assert job_id in await rescue.expire_queued(session)
    async with database.begin() as session:
        job = await service.get(session, caller, job_id)
    assert job.state == how
    assert job.usage == {
        "prompt_tokens": tokens[0], "completion_tokens": tokens[1],
        "total_tokens": tokens[0] + tokens[1], "cached_tokens": tokens[2],
        "engine_seconds": seconds,
    }  # fmt: skip
    assert kinds.usage("inference", said) == job.usage, "as a worker would have told"
    row = await entry(database, job_id)
    assert (row.prompt_tokens, row.completion_tokens, row.cached_tokens) == tokens
    assert (row.engine_seconds, row.cost) == (seconds, job.cost)
    assert row.cost == PRICES.cost(*tokens)


async def test_what_a_cache_answered_is_counted_and_free(
    database: Database, caller: Caller, model: Served
) -> None:
    claim = await claimed(database, await submitted(database, caller, model))
    await ended(database, claim, cache="exact")
    row = await entry(database, claim.id)
    assert (row.cache, row.cost, row.completion_tokens) == ("exact", Decimal(0), 30)


async def sums(database: Database, caller: Caller, **fields: Any) -> list[usage.Sum]:
    today = datetime.now(UTC).date()
    wanted = replace(Wanted(today, today, ["day"]), **fields)
    found: list[usage.Sum] = []
    more = True
    while more:
        async with database.begin() as session:
            last = found[-1].id if found else None
            page, more = await usage.summed(session, caller, wanted, after=last, limit=2)
        found += page
    return found


async def test_usage_sums_what_is_settled_and_shows_what_is_reserved(
    database: Database, caller: Caller, model: Served
) -> None:
    for _ in range(3):
        await ended(database, await claimed(database, await submitted(database, caller, model)))
    claim = await claimed(database, await submitted(database, caller, model))
    await ended(database, claim, cache="exact")
    await submitted(database, caller, model)
    (found,) = await sums(database, caller)
    assert (found.jobs, found.batches, found.open, found.cache_hits) == (4, 0, 1, 1)
    assert (found.prompt_tokens, found.cached_tokens, found.completion_tokens) == (80, 32, 120)
    assert (found.cost, found.engine_seconds) == (3 * COST, 6.0)
    assert (found.reserved_tokens, found.reserved_cost) == (110, Decimal("0.000205"))
    stranger = await tenant(database)
    assert await sums(database, stranger) == []
    assert await sums(database, stranger, key_id=caller.key_id) == []


async def test_usage_is_paged_by_its_groups(
    database: Database, caller: Caller, model: Served
) -> None:
    other = Caller(caller.tenant_id, new_id("key"))
    for number in range(3):
        named = Served(f"{model.name}/part-{number}", "here", 2048)
        for who in (caller, other, caller):
            await submitted(database, who, named)
    groups = await sums(database, caller, by=["model", "key"])
    assert [g.group for g in groups] == [
        (key, f"{model.name}/part-{n}")
        for key in sorted((caller.key_id, other.key_id))
        for n in range(3)
    ]
    assert sorted(g.open for g in groups) == [1, 1, 1, 2, 2, 2]
    assert len(await sums(database, caller, by=["day", "key", "model"])) == 6
    assert [g.open for g in await sums(database, caller, by=[])] == [9]
    assert [g.open for g in await sums(database, caller, key_id=other.key_id)] == [3]
    some = await sums(database, caller, model=f"{model.name}/part-1")
    assert [g.open for g in some] == [3]
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    assert await sums(database, caller, start=tomorrow, end=tomorrow) == []


TODAY = datetime(2026, 7, 1, tzinfo=UTC).date()


@pytest.mark.parametrize(
    ("fields", "after", "param"),
    [
        ({"by": ["hour"]}, None, "group_by"),
        ({"by": ["day", "day"]}, None, "group_by"),
        ({"end": TODAY - timedelta(days=1)}, None, "end"),
        ({"end": TODAY + timedelta(days=366)}, None, "start"),
        ({}, "yesterday", "after"),
        ({"by": ["day", "key"]}, "2026-07-01", "after"),
        ({"by": []}, "total", "after"),
    ],
)
async def test_what_usage_cannot_answer_is_refused_by_name(
    database: Database, caller: Caller, fields: dict[str, Any], after: str | None, param: str
) -> None:
    wanted = replace(Wanted(TODAY, TODAY, ["day"]), **fields)
    async with database.begin() as session:
        with pytest.raises(InvalidInput) as refused:
            await usage.summed(session, caller, wanted, after=after, limit=2)
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("written", "param"),
    [
        (("x", "1", None), "in"),
        (("-1", "1", None), "in"),
        (("1", "0.0000001", None), "out"),
        (("1", "inf", None), "out"),
        (("1", "1", "2"), "cached"),
        (("1", "1", "nan"), "cached"),
    ],
)
def test_prices_that_cannot_be_are_refused(
    written: tuple[str, str, str | None], param: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        prices.checked(*written)
    assert refused.value.param == param


async def test_prices_are_kept_for_models_that_are_there(database: Database, model: Served) -> None:
    assert prices.checked("0.5", "2", None) == Prices(
        Decimal("0.5"), Decimal(2), Decimal("0.5")
    )  # fmt: skip
    async with database.begin() as session:
        # A worker that starts again leaves them.
        await models.register(session, model)
        (found,) = [m for m in await models.listed(session) if m.name == model.name]
        assert found.prices == PRICES
        with pytest.raises(NotFound) as missing:
            await models.price(session, "nowhere", PRICES)
    assert missing.value.param == "model"
