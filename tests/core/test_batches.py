"""A batch's moves on a real Postgres: lines recorded once by whoever may, and lost steps carried on."""

import asyncio
import hashlib
from typing import Any

import pytest
from sqlalchemy import select, text

from core.batches import lines, moves, service, sweep
from core.batches.lines import NewLine, Outcome
from core.batches.service import NewBatch
from core.batches.tables import Batch, BatchLine
from core.catalog.models import Served
from core.db.session import Database
from core.jobs import attempts
from core.jobs.attempts import Claim
from core.jobs.job import Job, State
from core.security.keys import Caller
from tests.fakes.webhooks import tenant

MODEL = Served("rill", "here", 2048)
CHAT = "/v1/chat/completions"


@pytest.fixture
async def caller(database: Database) -> Caller:
    return await tenant(database)


async def begun(database: Database, caller: Caller, count: int, window: str = "24h") -> str:
    """A batch in progress with so many lines; its validate step is done."""
    async with database.begin() as session:
        made, _ = await service.create(
            session, caller, NewBatch("file_" + "0" * 26, CHAT, window), MODEL
        )
    (step,) = await claimed(database, made.id)
    async with database.begin() as session:
        batch = await moves.locked(session, made.id)
        assert batch is not None
        new = [
            NewLine(n, f"r{n}", n * 10, 9, hashlib.sha256(b"%d" % n).digest(), 12)
            for n in range(1, count + 1)
        ]
        assert await lines.put(session, batch.id, new) == []
        batch.total = count
        await moves.begin(session, batch)
    await finish(database, step)
    return made.id


async def claimed(database: Database, batch_id: str) -> list[Claim]:
    """Every queued step, claimed, in the order of their ids."""
    async with database.begin() as session:
        ids = await session.scalars(
            select(Job.id).where(
                Job.spec["batch_id"].astext == batch_id, Job.state == "queued"
            )
        )  # fmt: skip
        claims = await attempts.claim(session, list(ids), worker_id="w", lease_s=60)
    return sorted(claims, key=lambda claim: claim.id)


async def finish(database: Database, claim: Claim, state: str = "succeeded") -> None:
    async with database.begin() as session:
        outcome = attempts.Outcome(claim.id, claim.attempt, State(state), claim.seq + 1)
        await attempts.finish(session, [outcome])


def good(number: int) -> Outcome:
    return Outcome(number, 200, "{}", None, {"prompt_tokens": 2, "completion_tokens": 3})


async def seen(database: Database, batch_id: str) -> tuple[Batch, list[BatchLine]]:
    async with database.begin() as session:
        batch = await session.get_one(Batch, batch_id)
        rows = await session.scalars(
            select(BatchLine).where(BatchLine.batch_id == batch_id).order_by(BatchLine.line)
        )
        return batch, list(rows)


async def record(database: Database, batch_id: str, claim: Claim, *outcomes: Outcome) -> bool:
    async with database.begin() as session:
        return await lines.record(session, batch_id, (claim.id, claim.attempt), outcomes)


async def test_numbers_have_no_holes_however_many_record_at_once(
    database: Database, caller: Caller
) -> None:
    batch_id = await begun(database, caller, 200)
    steps = await claimed(database, batch_id)
    assert len(steps) == 4
    steps.sort(key=lambda step: int(step.spec["first"]))
    ranges = [range(s.spec["first"], s.spec["last"] + 1) for s in steps]
    assert [n for r in ranges for n in r] == list(range(1, 201))
    await asyncio.gather(
        *(
            record(database, batch_id, step, *(good(n) for n in numbers[at : at + 7]))
            for step, numbers in zip(steps, ranges, strict=True)
            for at in range(0, len(numbers), 7)
        )
    )
    batch, rows = await seen(database, batch_id)
    assert sorted(r.done_seq or 0 for r in rows) == list(range(1, 201))
    assert (batch.completed, batch.failed, batch.tip) == (200, 0, 200)
    assert (batch.prompt_tokens, batch.completion_tokens) == (400, 600)
    assert (batch.status, batch.ending) == ("finalizing", "completed")
    assert [s.spec["step"] for s in await claimed(database, batch_id)] == ["finish"]


async def test_a_page_of_large_answers_ends_early(database: Database, caller: Caller) -> None:
    batch_id = await begun(database, caller, 5)
    (step,) = await claimed(database, batch_id)
    large = '"' + "x" * (lines.PAGE_BYTES // 2) + '"'
    ended = [Outcome(n, 200, large, None, {}) for n in (1, 2, 3)]
    ended += [Outcome(4, 0, None, "{}", {}), Outcome(5, 200, "{}", None, {})]
    assert await record(database, batch_id, step, *ended)
    pages, after = [], 0
    async with database.begin() as session:
        while rows := await lines.done(session, batch_id, after, 100):
            pages.append([row.done_seq for row in rows])
            after = rows[-1].done_seq
    assert pages == [[1, 2], [3, 4, 5]]


async def test_a_line_is_recorded_once_and_only_by_the_attempt_that_has_it(
    database: Database, caller: Caller
) -> None:
    batch_id = await begun(database, caller, 10)
    (step,) = await claimed(database, batch_id)
    assert await record(database, batch_id, step, good(1), good(2))
    assert await record(database, batch_id, step, good(2), good(3))
    async with database.begin() as session:
        back = attempts.Requeue(step.id, step.attempt, step.seq + 1, None, "x", charged=False)
        await attempts.requeue(session, back)
    (second,) = await claimed(database, batch_id)
    assert not await record(database, batch_id, step, good(4))
    assert await record(database, batch_id, second, good(5))
    batch, rows = await seen(database, batch_id)
    assert {r.line: r.done_seq for r in rows if r.done_seq} == {1: 1, 2: 2, 3: 3, 5: 4}
    assert (batch.tip, batch.completion_tokens) == (4, 12)


async def test_after_a_cancel_nothing_is_recorded(database: Database, caller: Caller) -> None:
    batch_id = await begun(database, caller, 10)
    (step,) = await claimed(database, batch_id)
    async with database.begin() as session:
        batch = await service.cancel(session, caller, batch_id)
    assert (batch.status, batch.ending) == ("cancelling", "cancelled")
    assert not await record(database, batch_id, step, good(1))
    async with database.begin() as session:
        assert await attempts.wishes(session, [step.id]) == {step.id: True}


async def test_a_window_that_is_over_ends_the_batch_once(
    database: Database, caller: Caller
) -> None:
    batch_id = await begun(database, caller, 10)
    async with database.begin() as session:
        await session.execute(
            text("UPDATE batches SET deadline = now() - interval '1 s' WHERE id = :id"),
            {"id": batch_id},
        )

    async def expire() -> list[str]:
        async with database.begin() as session:
            return await sweep.expire(session)

    ended = await asyncio.gather(*(expire() for _ in range(4)))
    assert [one for some in ended for one in some] == [batch_id]
    batch, _ = await seen(database, batch_id)
    assert (batch.status, batch.ending) == ("finalizing", "expired")
    assert [s.spec["step"] for s in await claimed(database, batch_id)] == ["finish"]


async def carry_on(database: Database) -> list[str]:
    async with database.begin() as session:
        await session.execute(text("UPDATE batches SET created_at = now() - interval '1 min'"))
    async with database.begin() as session:
        return await sweep.carry_on(session)


async def test_lines_of_a_shard_that_was_given_up_get_one_of_their_own(
    database: Database, caller: Caller
) -> None:
    batch_id = await begun(database, caller, 3)
    (step,) = await claimed(database, batch_id)
    assert batch_id not in await carry_on(database), "a job carries it"
    await record(database, batch_id, step, good(2))
    await finish(database, step, "failed")
    assert batch_id in await carry_on(database)
    alone: list[Any] = await claimed(database, batch_id)
    assert sorted((s.spec["first"], s.spec["last"]) for s in alone) == [(1, 1), (3, 3)]
    one, three = sorted(alone, key=lambda s: int(s.spec["first"]))
    await record(database, batch_id, three, good(3))
    await finish(database, three)
    await finish(database, one, "failed")
    assert batch_id in await carry_on(database)
    batch, rows = await seen(database, batch_id)
    assert (batch.completed, batch.failed, batch.status) == (2, 1, "finalizing")
    assert "attempts_exhausted" in (rows[0].error or "")


async def test_a_step_that_was_given_up_is_made_again_or_fails_the_batch(
    database: Database, caller: Caller
) -> None:
    batch_id = await begun(database, caller, 1)
    (step,) = await claimed(database, batch_id)
    await record(database, batch_id, step, good(1))
    await finish(database, step)
    (files,) = await claimed(database, batch_id)
    await finish(database, files, "failed")
    assert batch_id in await carry_on(database)
    assert [s.spec["step"] for s in await claimed(database, batch_id)] == ["finish"]
    async with database.begin() as session:
        made, _ = await service.create(
            session, caller, NewBatch("file_" + "0" * 26, CHAT, "24h"), MODEL
        )
    (validate,) = await claimed(database, made.id)
    await finish(database, validate, "failed")
    assert made.id in await carry_on(database)
    batch, _ = await seen(database, made.id)
    assert batch.status == "failed"
    assert batch.errors is not None
