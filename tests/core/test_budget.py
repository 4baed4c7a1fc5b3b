"""The cap of a batch on a real Postgres: one account however many shards start lines at once."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text

from core.batches import budget, lines, moves, service, sweep
from core.batches.budget import Fit
from core.batches.tables import Batch
from core.catalog import models
from core.catalog.models import Served
from core.catalog.prices import Prices
from core.db.session import Database
from core.ids import new_id
from core.jobs import attempts
from core.jobs.attempts import Claim
from core.security.keys import Caller
from tests.core.test_batches import begun, claimed, finish, good, seen
from tests.core.test_ledger import entry
from tests.fakes.webhooks import tenant

PRICES = Prices(Decimal(1), Decimal(4), Decimal(1))


@pytest.fixture
async def caller(database: Database) -> Caller:
    return await tenant(database)


async def capped(
    database: Database,
    caller: Caller,
    count: int,
    tokens: int | None = None,
    cost: str | None = None,
) -> tuple[str, list[Claim]]:
    """A batch in progress with a cap, its shards claimed."""
    batch_id = await begun(database, caller, count)
    async with database.begin() as session:
        cap = {"id": batch_id, "tokens": tokens, "cost": cost}
        await session.execute(
            text(
                "UPDATE batches SET max_tokens_total = :tokens, max_cost = cast(:cost AS numeric)"
                " WHERE id = :id"
            ),
            cap,
        )
        await session.execute(
            text("UPDATE ledger SET price_in = 1, price_out = 4, price_cached = 1 WHERE id = :id"),
            cap,
        )
    return batch_id, await claimed(database, batch_id)


async def take(
    database: Database, batch_id: str, shard: Claim, line: int, prompt: int = 2, said: int = 8
) -> Fit:
    async with database.begin() as session:
        return await budget.take(
            session,
            batch_id,
            (shard.id, shard.attempt),
            line,
            prompt + said,
            PRICES.cost(prompt, said),
        )


async def record(database: Database, batch_id: str, shard: Claim, *numbers: int) -> None:
    async with database.begin() as session:
        done = [good(number) for number in numbers]
        assert await lines.record(session, batch_id, (shard.id, shard.attempt), done)


async def test_many_shards_never_pass_the_cap_together(database: Database, caller: Caller) -> None:
    batch_id, shards = await capped(database, caller, 200, tokens=155)
    assert len(shards) == 4
    fits = await asyncio.gather(
        *(take(database, batch_id, shard, int(shard.spec["first"]) + n)
          for n in range(10) for shard in shards)
    )  # fmt: skip
    assert fits.count(Fit.TAKEN) == 15
    assert fits.count(Fit.WAIT) == 25
    batch, _ = await seen(database, batch_id)
    assert (batch.held_tokens, batch.held_cost) == (150, 15 * PRICES.cost(2, 8))


@pytest.mark.parametrize(
    "cap", [{"tokens": 21}, {"cost": "0.000075"}], ids=["max_tokens_total", "max_cost"]
)
async def test_what_a_line_leaves_is_for_the_next_and_the_last_one_ends_the_batch(
    database: Database, caller: Caller, cap: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    batch_id, (shard,) = await capped(database, caller, 10, **cap)
    assert await take(database, batch_id, shard, 1) is Fit.TAKEN
    assert await take(database, batch_id, shard, 2) is Fit.TAKEN
    assert await take(database, batch_id, shard, 3) is Fit.WAIT
    # Each took 2 + 3 of the ten that were held for it.
    await record(database, batch_id, shard, 1, 2)
    assert await take(database, batch_id, shard, 3) is Fit.TAKEN
    assert await take(database, batch_id, shard, 4) is Fit.WAIT
    await record(database, batch_id, shard, 3)
    assert await take(database, batch_id, shard, 4) is Fit.ENDED
    batch, rows = await seen(database, batch_id)
    assert (batch.status, batch.ending) == ("finalizing", "completed")
    assert batch.stopped_by == request.node.callspec.id
    assert (batch.held_tokens, batch.completed) == (0, 3)
    assert [r.line for r in rows if r.state == "pending"] == list(range(4, 11))
    assert await take(database, batch_id, shard, 5) is Fit.ENDED
    async with database.begin() as session:
        assert await attempts.wishes(session, [shard.id]) == {shard.id: True}, (
            "the shards are stopped"
        )


async def test_an_attempt_that_begins_anew_gives_back_what_the_last_one_held(
    database: Database, caller: Caller
) -> None:
    batch_id, (shard,) = await capped(database, caller, 10, tokens=20)
    assert await take(database, batch_id, shard, 1) is Fit.TAKEN
    assert await take(database, batch_id, shard, 2) is Fit.TAKEN
    async with database.begin() as session:
        back = attempts.Requeue(shard.id, shard.attempt, shard.seq + 1, None, "x", charged=False)
        await attempts.requeue(session, back)
    (second,) = await claimed(database, batch_id)
    assert await take(database, batch_id, shard, 1) is Fit.ENDED, "the first attempt has no say"
    async with database.begin() as session:
        await budget.release(session, batch_id, (shard.id, shard.attempt), 1, 10)
    assert (await seen(database, batch_id))[0].held_tokens == 20
    async with database.begin() as session:
        await budget.release(session, batch_id, (second.id, second.attempt), 1, 10)
    assert (await seen(database, batch_id))[0].held_tokens == 0
    assert await take(database, batch_id, second, 1) is Fit.TAKEN


@pytest.mark.parametrize("lost", ["waits in the queue", "was given up"])
async def test_what_a_lost_shard_held_does_not_keep_the_others_waiting(
    database: Database, caller: Caller, lost: str
) -> None:
    batch_id, shards = await capped(database, caller, 200, tokens=20)
    shards.sort(key=lambda one: int(one.spec["first"]))
    first, second = shards[:2]
    line = int(second.spec["first"])
    assert await take(database, batch_id, first, 1) is Fit.TAKEN
    assert await take(database, batch_id, first, 2) is Fit.TAKEN
    assert await take(database, batch_id, second, line) is Fit.WAIT
    if lost == "was given up":
        await finish(database, first, "failed")
    else:
        async with database.begin() as session:
            back = attempts.Requeue(first.id, first.attempt, first.seq + 1, None, "x", charged=True)
            await attempts.requeue(session, back)
    assert await take(database, batch_id, second, line) is Fit.TAKEN
    assert (await seen(database, batch_id))[0].held_tokens == 10


async def test_lines_that_end_without_a_worker_leave_what_was_held(
    database: Database, caller: Caller
) -> None:
    batch_id, (shard,) = await capped(database, caller, 1, tokens=20)
    await take(database, batch_id, shard, 1)
    for _ in range(2):
        await finish(database, shard, "failed")
        async with database.begin() as session:
            await session.execute(text("UPDATE batches SET created_at = now() - interval '1 min'"))
        async with database.begin() as session:
            assert batch_id in await sweep.carry_on(session)
        (shard,) = await claimed(database, batch_id)
    batch, _ = await seen(database, batch_id)
    assert (batch.failed, batch.held_tokens, batch.status) == (1, 0, "finalizing")
    assert batch.stopped_by is None


async def ending(database: Database, batch_id: str) -> Batch:
    """As the finish step ends it."""
    async with database.begin() as session:
        batch = await moves.locked(session, batch_id)
        assert batch is not None
        await moves.end(session, batch, batch.ending or "failed")
    return (await seen(database, batch_id))[0]


async def test_a_batch_is_settled_once_for_the_lines_it_recorded(
    database: Database, caller: Caller
) -> None:
    batch_id, (shard,) = await capped(database, caller, 10)
    row = await entry(database, batch_id)
    assert (row.kind, row.reserved_tokens, row.cost) == ("batch", 120, None)
    assert (row.tenant_id, row.key_id) == (caller.tenant_id, caller.key_id)
    await record(database, batch_id, shard, 1, 2, 3)
    await record(database, batch_id, shard, 3, 4)
    async with database.begin() as session:
        await service.cancel(session, caller, batch_id)
    batch = await ending(database, batch_id)
    row = await entry(database, batch_id)
    assert (row.prompt_tokens, row.completion_tokens) == (8, 12)
    assert row.cost == batch.cost == PRICES.cost(8, 12)
    await ending(database, batch_id)
    assert (await entry(database, batch_id)).settled_at == row.settled_at


async def test_a_batch_that_cannot_be_run_costs_nothing(database: Database, caller: Caller) -> None:
    new = service.NewBatch("file_" + "0" * 26, "/v1/chat/completions", "24h")
    async with database.begin() as session:
        made, _ = await service.create(session, caller, new, Served("rill", "here", 2048))
        batch = await moves.locked(session, made.id)
        assert batch is not None
        await moves.fail(session, batch, [{"code": "x", "message": "x"}])
    row = await entry(database, made.id)
    assert (row.reserved_tokens, row.cost, row.prompt_tokens) == (0, Decimal(0), 0)


async def test_a_batch_keeps_the_prices_it_was_made_at_and_its_key_its_cap(
    database: Database, caller: Caller
) -> None:
    model = Served(new_id("m"), "here", 2048)
    new = service.NewBatch(
        "file_" + "0" * 26, "/v1/chat/completions", "24h", max_cost=Decimal("0.5"), key="k"
    )
    async with database.begin() as session:
        await models.register(session, model)
        await models.price(session, model.name, PRICES)
        made, _ = await service.create(session, caller, new, model)
        await models.price(session, model.name, Prices())
    row = await entry(database, made.id)
    assert Prices(row.price_in, row.price_out, row.price_cached) == PRICES
    async with database.begin() as session:
        again, replayed = await service.create(session, caller, new, model)
    assert (again.id, replayed) == (made.id, True)
    assert (await seen(database, made.id))[0].max_cost == Decimal("0.5")
    assert (
        new.fingerprint()
        != service.NewBatch(
            "file_" + "0" * 26, "/v1/chat/completions", "24h", key="k"
        ).fingerprint()
    )
