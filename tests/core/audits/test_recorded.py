"""An audit's rows on a real Postgres: answers recorded once, usage with them, evidence published by the end alone."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select, text

from core.audits import answers, keeping
from core.audits.answers import MODEL, NewAnswer, Place
from core.audits.asking import Answer, Likelihood
from core.audits.new import NewAudit
from core.audits.shapes import answer_of
from core.catalog import models
from core.catalog.models import Served
from core.catalog.prices import Prices
from core.db.session import Database
from core.gate.tables import Audit
from core.ids import new_id
from core.jobs import attempts, rescue, service
from core.jobs.attempts import Claim, Outcome, Requeue
from core.jobs.job import Job, State
from core.jobs.kinds import AuditJob
from core.jobs.submission import Submitted, Wish, submit_all
from core.ledger.tables import Entry
from core.measures.rows import Row
from core.security.keys import Caller
from tests.fakes.webhooks import tenant
from tests.waiting import eventually

USED = {"prompt_tokens": 7, "completion_tokens": 3, "cached_tokens": 2, "engine_seconds": 0.1}
FOUND = {"verdict": "PASS", "reasons": [], "checks": [], "suites": []}


@pytest.fixture
async def caller(database: Database) -> Caller:
    return await tenant(database)


@pytest.fixture
async def model(database: Database) -> Served:
    served = Served(new_id("m"), "here", 2048, digest="d" * 64)
    async with database.begin() as session:
        await models.register(session, served)
        await models.price(session, served.name, Prices(1, 2, 0))  # type: ignore[arg-type]
    return served


def bound(caller: Caller, model: Served, **more: Any) -> NewAudit:
    new = NewAudit(
        caller.tenant_id, model.name, None, model.digest, "", "", [], {"max_age_days": 3}, "p", 1, "e" * 64,
        None, {"seed": 0, "render": "auto", "confidence": 0.95, "imports": [], "served": model.digest},
    )  # fmt: skip
    return replace(new, **more)


async def submitted(database: Database, caller: Caller, model: Served, **fields: Any) -> str:
    spec = AuditJob.model_validate({"kind": "audit", **fields})
    async with database.begin() as session:
        (done,) = await submit_all(session, [Wish(caller, spec, model, audit=bound(caller, model))])
    assert isinstance(done, Submitted)
    return done.job.id


async def claimed(database: Database, job_id: str) -> Claim:
    async with database.begin() as session:
        (claim,) = await attempts.claim(session, [job_id], worker_id="w", lease_s=60)
    return claim


async def running(database: Database, caller: Caller, model: Served) -> Claim:
    return await claimed(database, await submitted(database, caller, model))


def new(number: int, **more: Any) -> NewAnswer:
    made = NewAnswer(
        MODEL, "s", f"i{number}", number, "Why?", Answer(("Because\x00.",), finish=("stop",)),
        Row(f"i{number}", "c", True, {"right": 1.0}, {"group": "a"}, "p"), USED,
    )  # fmt: skip
    return replace(made, **more)


async def record(database: Database, claim: Claim, *some: NewAnswer, attempt: int = 0) -> bool:
    async with database.single() as session:
        return await answers.record(session, (claim.id, attempt or claim.attempt), some)


async def job_of(database: Database, job_id: str) -> Job:
    async with database.single() as session:
        found = await session.get(Job, job_id)
    assert found is not None
    return found


async def audit_of(database: Database, job_id: str) -> Audit:
    async with database.single() as session:
        return await keeping.of_job(session, job_id)


async def ended(database: Database, claim: Claim, state: State) -> bool:
    async with database.single() as session:
        end = Outcome(claim.id, claim.attempt, state, claim.seq + 1, usage={"prompt_tokens": 999})
        return claim.id in await attempts.finish(session, [end])


async def test_an_answer_is_recorded_once_and_paid_once(
    database: Database, caller: Caller, model: Served
) -> None:
    claim = await running(database, caller, model)
    assert await record(database, claim, new(0), new(1))
    assert await record(database, claim, new(1), new(2))
    job = await job_of(database, claim.id)
    assert job.usage == {
        "prompt_tokens": 21, "completion_tokens": 9, "total_tokens": 30, "cached_tokens": 6,
        "engine_seconds": 0.3,
    }  # fmt: skip
    rows = [row async for page in answers.rows(database, claim.id, "s") for row in page]
    assert rows == [new(number).row for number in range(3)]
    async with database.single() as session:
        found, more = await answers.page(session, claim.id, after=Place("s", MODEL, 0), limit=1)
    assert ([one.item for one in found], more) == (["i1"], True)
    assert answer_of(found[0].answer).texts == ("Because\ufffd.",)


async def test_likelihoods_come_back_as_they_were(
    database: Database, caller: Caller, model: Served
) -> None:
    claim = await running(database, caller, model)
    told = Answer(likelihoods=(Likelihood(-1.25, 2, 7, True), Likelihood(-0.5, 1, 3)))
    await record(database, claim, new(0, answer=told))
    async with database.single() as session:
        found, _ = await answers.page(session, claim.id)
    assert answer_of(found[0].answer) == told


async def test_only_the_running_attempt_records_and_judges(
    database: Database, caller: Caller, model: Served
) -> None:
    claim = await running(database, caller, model)
    assert not await record(database, claim, new(0), attempt=claim.attempt + 1)
    async with database.begin() as session:
        back = Requeue(claim.id, claim.attempt, claim.seq + 1, None, "retry", charged=False)
        assert await attempts.requeue(session, back)
    assert not await record(database, claim, new(0))
    async with database.single() as session:
        assert not await keeping.judge(session, (claim.id, claim.attempt), FOUND)
        assert not await keeping.plan(session, (claim.id, claim.attempt), {"items": 1}, [])
        assert await answers.count(session, claim.id) == 0
    assert (await audit_of(database, claim.id)).verdict is None


async def test_the_end_that_succeeds_publishes_and_keeps_what_was_counted(
    database: Database, caller: Caller, model: Served
) -> None:
    claim = await running(database, caller, model)
    await record(database, claim, new(0))
    async with database.single() as session:
        assert await keeping.judge(session, (claim.id, claim.attempt), FOUND)
    assert (await audit_of(database, claim.id)).published_at is None
    assert await ended(database, claim, State.SUCCEEDED)
    audit, job = await audit_of(database, claim.id), await job_of(database, claim.id)
    assert audit.published_at is not None
    assert audit.expires_at is not None
    assert (audit.expires_at - audit.published_at).days == 3
    assert audit.published_at == job.finished_at
    async with database.single() as session:
        entry = (await session.scalars(select(Entry).where(Entry.id == claim.id))).one()
    assert job.usage is not None
    assert (entry.prompt_tokens, job.usage["prompt_tokens"]) == (7, 7)
    assert entry.cost is not None
    assert float(entry.cost) == pytest.approx((5 + 3 * 2) / 1e6)


@pytest.mark.parametrize("state", [State.FAILED, State.CANCELLED, State.EXPIRED])
async def test_no_other_end_publishes(
    database: Database, caller: Caller, model: Served, state: State
) -> None:
    claim = await running(database, caller, model)
    await record(database, claim, new(0))
    async with database.single() as session:
        await keeping.judge(session, (claim.id, claim.attempt), FOUND)
    assert await ended(database, claim, state)
    audit, job = await audit_of(database, claim.id), await job_of(database, claim.id)
    assert (audit.published_at, audit.expires_at) == (None, None)
    assert job.usage is not None
    assert job.usage["prompt_tokens"] == 7


async def _cancelled(database: Database, caller: Caller, job_id: str) -> None:
    async with database.begin() as session:
        await service.cancel(session, caller, job_id)


async def _expired(database: Database, _: Caller, job_id: str) -> None:
    async with database.begin() as session:
        await session.execute(
            text("UPDATE jobs SET deadline = now() - interval '1 s' WHERE id = :id"), {"id": job_id}
        )
        assert job_id in await rescue.expire_queued(session)


async def _stranded(database: Database, _: Caller, job_id: str) -> None:
    async with database.begin() as session:
        queue = (await session.scalars(select(Job.queue).where(Job.id == job_id))).one()
        await rescue.strand(session, [queue], {"code": "gone", "message": "nobody"})


@pytest.mark.parametrize("how", [_cancelled, _expired, _stranded])
async def test_a_queued_audit_that_is_ended_keeps_and_pays_what_an_attempt_left(
    database: Database, caller: Caller, model: Served, how: Any
) -> None:
    claim = await running(database, caller, model)
    await record(database, claim, new(0))
    async with database.single() as session:
        await keeping.judge(session, (claim.id, claim.attempt), FOUND)
    told = {"phase": "collect", "done": 1, "total": 9, "secret": 1}
    async with database.begin() as session:
        back = Requeue(claim.id, claim.attempt, claim.seq + 1, told, "retry", charged=False)
        assert await attempts.requeue(session, back)
    await how(database, caller, claim.id)
    job = await job_of(database, claim.id)
    assert job.usage is not None
    assert job.usage["total_tokens"] == 10
    assert job.result == {"phase": "collect", "done": 1, "total": 9}
    async with database.single() as session:
        entry = (await session.scalars(select(Entry).where(Entry.id == claim.id))).one()
    assert entry.prompt_tokens == 7
    assert (await audit_of(database, claim.id)).published_at is None


async def test_an_audit_without_answers_is_settled_at_nothing(
    database: Database, caller: Caller, model: Served
) -> None:
    job_id = await submitted(database, caller, model)
    await _cancelled(database, caller, job_id)
    job = await job_of(database, job_id)
    assert job.usage == dict.fromkeys(
        ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "engine_seconds"), 0
    )


async def test_an_end_waits_for_the_answers_that_are_being_recorded(
    database: Database, caller: Caller, model: Served
) -> None:
    """The race that a sum over answers would lose: it would be of a look taken before they were there."""
    claim = await running(database, caller, model)
    async with database.begin() as session:
        assert await answers.record(session, (claim.id, claim.attempt), [new(0)])
        ending = asyncio.create_task(ended(database, claim, State.CANCELLED))
        await _blocked(database)
    assert await ending
    job = await job_of(database, claim.id)
    assert job.usage is not None
    assert job.usage["prompt_tokens"] == 7


async def _blocked(database: Database) -> None:
    """Wait until somebody waits for a row's lock."""

    async def waits() -> bool:
        query = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        async with database.single() as session:
            return bool(await session.scalar(query))

    await eventually(waits, "the end waits for the job's row")


async def test_the_row_of_an_audit_is_made_with_its_job_or_not_at_all(
    database: Database, caller: Caller, model: Served
) -> None:
    key = new_id("key")
    spec = AuditJob.model_validate({"kind": "audit"})
    wish = Wish(caller, spec, model, key, audit=bound(caller, model))
    async with database.begin() as session:
        (first,) = await submit_all(session, [wish])
    async with database.begin() as session:
        (again,) = await submit_all(session, [wish])
    assert isinstance(first, Submitted)
    assert isinstance(again, Submitted)
    assert (again.replayed, again.job.id) == (True, first.job.id)
    async with database.single() as session:
        query = select(func.count()).select_from(Audit).where(Audit.tenant_id == caller.tenant_id)
        assert await session.scalar(query) == 1
