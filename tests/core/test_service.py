"""The client's verbs on a real Postgres: all of a submission or nothing, and cancels that race claims."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from core.catalog.models import Served
from core.db.session import Database
from core.errors import Conflict, InvalidInput, NotFound
from core.ids import new_id
from core.jobs import attempts, service
from core.jobs.attempts import Outcome, Requeue
from core.jobs.job import State
from core.jobs.kinds import InferenceJob
from core.jobs.submission import Submitted, Wish, submit_all
from core.security.keys import Caller
from tests.fakes.webhooks import tenant

MODEL = Served("rill", "here", 2048)


class Undo(Exception):
    """Ends a transaction without its commit."""


@pytest.fixture
async def caller(database: Database) -> Caller:
    return await tenant(database)


def _spec(**fields: Any) -> InferenceJob:
    return InferenceJob.model_validate({"kind": "inference", "prompt": "x"} | fields)


async def _submit(
    database: Database, caller: Caller, key: str | None = None, **fields: Any
) -> Submitted:
    async with database.begin() as session:
        return await service.submit(session, caller, _spec(**fields), MODEL, idempotency_key=key)


async def _counts(database: Database, caller: Caller) -> dict[str, int]:
    tables = {
        "jobs": "SELECT count(*) FROM jobs WHERE tenant_id = :t",
        "facts": "SELECT count(*) FROM job_events e JOIN jobs j ON j.id = e.job_id WHERE tenant_id = :t",
        "outbox": "SELECT count(*) FROM outbox WHERE payload ->> 'tenant' = :t",
        "keys": "SELECT count(*) FROM idempotency_keys WHERE tenant_id = :t",
    }
    async with database.begin() as session:
        found = {
            name: await session.scalar(text(sql), {"t": caller.tenant_id})
            for name, sql in tables.items()
        }
    return {name: count or 0 for name, count in found.items()}


async def _claim(database: Database, job_id: str, lease_s: float = 60) -> attempts.Claim | None:
    async with database.begin() as session:
        claims = await attempts.claim(session, [job_id], worker_id="w", lease_s=lease_s)
    return claims[0] if claims else None


async def test_a_submission_is_a_row_a_fact_an_outbox_row_and_a_key(
    database: Database, caller: Caller
) -> None:
    done = await _submit(database, caller, "k", metadata={"a": "b"}, completion_window="1h")
    assert not done.replayed
    assert await _counts(database, caller) == {"jobs": 1, "facts": 1, "outbox": 1, "keys": 1}
    async with database.begin() as session:
        job = await service.get(session, caller, done.job.id)
    assert (job.state, job.attempt, job.seq, job.labels) == ("queued", 0, 1, {"a": "b"})
    assert job.deadline is not None
    assert (job.deadline - job.created_at).total_seconds() == 3600
    # What is in columns of its own is not kept twice.
    assert not {"priority", "metadata", "completion_window", "kind", "model"} & set(job.spec)


async def test_without_the_commit_there_is_nothing_of_it(
    database: Database, caller: Caller
) -> None:
    async def interrupted() -> None:
        async with database.begin() as session:
            await service.submit(session, caller, _spec(), MODEL, idempotency_key="k")
            raise Undo

    with pytest.raises(Undo):
        await interrupted()
    assert await _counts(database, caller) == {"jobs": 0, "facts": 0, "outbox": 0, "keys": 0}
    # The key was never used: it is free for any body.
    assert not (await _submit(database, caller, "k", prompt="another")).replayed


async def test_a_twin_waits_for_the_first_and_is_its_job_or_takes_its_place(
    database: Database, caller: Caller
) -> None:
    for commits in (True, False):
        key, reserved, go = new_id("k"), asyncio.Event(), asyncio.Event()

        async def first(
            key: str = key, reserved: asyncio.Event = reserved, go: asyncio.Event = go,
            commits: bool = commits,
        ) -> str:  # fmt: skip
            async with database.begin() as session:
                done = await service.submit(session, caller, _spec(), MODEL, idempotency_key=key)
                reserved.set()
                await go.wait()
                if not commits:
                    raise Undo
                return done.job.id

        one = asyncio.create_task(first())
        await reserved.wait()
        two = asyncio.create_task(_submit(database, caller, key))
        go.set()
        done = await two
        if commits:
            assert (done.job.id, done.replayed) == (await one, True)
        else:
            assert not done.replayed
            with pytest.raises(Undo):
                await one
    assert (await _counts(database, caller))["jobs"] == 2


async def test_the_same_key_means_the_same_body_down_to_every_field(
    database: Database, caller: Caller
) -> None:
    await _submit(database, caller, "k", metadata={"a": "1", "b": "2"})
    assert (await _submit(database, caller, "k", metadata={"b": "2", "a": "1"})).replayed
    for other in ({"metadata": {"a": "1"}}, {"seed": 1}, {"prompt": "y"}, {"stop": ["z"]},
                  {"priority": "batch"}, {"completion_window": "1h"}):  # fmt: skip
        with pytest.raises(Conflict) as refused:
            await _submit(database, caller, "k", **({"metadata": {"a": "1", "b": "2"}} | other))
        assert refused.value.code == "idempotency_key_reused"
    for bad in ("", "k" * 256, "line\nbreak"):
        with pytest.raises(InvalidInput) as wrong:
            await _submit(database, caller, bad)
        assert wrong.value.param == "Idempotency-Key"


async def test_a_strangers_job_is_as_absent_as_none(database: Database, caller: Caller) -> None:
    stranger = await tenant(database)
    job_id = (await _submit(database, caller)).job.id
    for verb in (service.get, service.cancel):
        for who, which in ((stranger, job_id), (caller, new_id("job"))):
            async with database.begin() as session:
                with pytest.raises(NotFound) as refused:
                    await verb(session, who, which)
            assert refused.value.param == "job_id"
    async with database.begin() as session:
        assert await service.listed(session, stranger) == ([], False)
        assert (await service.get(session, caller, job_id)).state == "queued"


async def test_a_queued_job_is_cancelled_at_once_and_never_claimed(
    database: Database, caller: Caller
) -> None:
    job_id = (await _submit(database, caller)).job.id
    async with database.begin() as session:
        assert (await service.cancel(session, caller, job_id)).state == "cancelled"
    assert await _claim(database, job_id) is None
    async with database.begin() as session:
        again = await service.cancel(session, caller, job_id)
    assert (again.state, again.seq) == ("cancelled", 2)


async def test_a_running_job_is_asked_and_ends_by_its_attempts_word(
    database: Database, caller: Caller
) -> None:
    job_id = (await _submit(database, caller)).job.id
    claim = await _claim(database, job_id)
    assert claim is not None
    async with database.begin() as session:
        assert (await service.cancel(session, caller, job_id)).state == "running"
    async with database.begin() as session:
        assert await attempts.wishes(session, [job_id]) == {job_id: True}
        await attempts.finish(session, [Outcome(job_id, 1, State.CANCELLED, claim.seq + 1)])
    async with database.begin() as session:
        assert (await service.cancel(session, caller, job_id)).state == "cancelled"


async def test_a_requeued_job_that_is_cancelled_keeps_what_it_said(
    database: Database, caller: Caller
) -> None:
    job_id = (await _submit(database, caller)).job.id
    claim = await _claim(database, job_id)
    assert claim is not None
    said = {"text": "so far", "tokens": [1, 2]}
    async with database.begin() as session:
        back = Requeue(job_id, 1, claim.seq + 1, said, "released", charged=False)
        assert await attempts.requeue(session, back)
    async with database.begin() as session:
        job = await service.cancel(session, caller, job_id)
        await session.refresh(job)
    assert (job.state, job.result) == ("cancelled", {"text": "so far"})


async def test_cancels_that_race_claims_leave_each_job_cancelled_or_asked(
    database: Database, caller: Caller
) -> None:
    jobs = [(await _submit(database, caller)).job.id for _ in range(40)]

    async def cancel(job_id: str) -> str:
        async with database.begin() as session:
            return str((await service.cancel(session, caller, job_id)).state)

    answers = await asyncio.gather(
        *(task for job in jobs for task in (cancel(job), _claim(database, job)))
    )
    for job, state, claim in zip(jobs, answers[::2], answers[1::2], strict=True):
        async with database.begin() as session:
            asked = await attempts.wishes(session, [job])
        assert asked == {job: True}, "the wish is kept, whoever came first"
        assert (state == "running") == (claim is not None)


async def test_submissions_that_share_a_transaction_each_get_their_own_answer(
    database: Database, caller: Caller
) -> None:
    stranger = await tenant(database)
    used = (await _submit(database, caller, "used")).job.id
    wishes = [
        Wish(caller, _spec(), MODEL, "twin"),
        Wish(caller, _spec(prompt="alone"), MODEL),
        Wish(caller, _spec(), MODEL, "twin"),
        Wish(stranger, _spec(), MODEL, "twin"),
        Wish(caller, _spec(prompt="another"), MODEL, "twin"),
        Wish(caller, _spec(), MODEL, "used"),
        Wish(caller, _spec(seed=7), MODEL, "used"),
        Wish(caller, _spec(prompt="alone"), MODEL),
    ]
    async with database.begin() as session:
        answers = await submit_all(session, wishes)
    made = [a for a in answers if isinstance(a, Submitted)]
    refused = [n for n, a in enumerate(answers) if isinstance(a, Conflict)]
    # Which of the twins is the first is not said; the other two are its replay and a conflict.
    twins = [answers[n] for n in (0, 2, 4)]
    assert sum(isinstance(a, Submitted) and not a.replayed for a in twins) == 1
    assert refused[-1] == 6
    again = answers[5]
    assert isinstance(again, Submitted)
    assert (again.job.id, again.replayed) == (used, True)
    assert len({a.job.id for a in made if a.job.tenant_id == stranger.tenant_id}) == 1
    # Without a key the same body twice is two jobs.
    lone = [answers[n] for n in (1, 7)]
    assert len({a.job.id for a in lone if isinstance(a, Submitted)}) == 2
    assert (await _counts(database, caller))["jobs"] == 4
    assert (await _counts(database, stranger))["jobs"] == 1


async def test_batches_whose_keys_cross_do_not_wait_for_each_other_for_ever(
    database: Database, caller: Caller
) -> None:
    keys = [new_id("k") for _ in range(10)]

    async def batch(order: list[str]) -> list[str]:
        async with database.begin() as session:
            answers = await submit_all(session, [Wish(caller, _spec(), MODEL, k) for k in order])
        return [a.job.id for a in answers if isinstance(a, Submitted)]

    found = await asyncio.gather(*(batch(keys if n % 2 else keys[::-1]) for n in range(8)))
    assert all(len(ids) == 10 for ids in found)
    assert len({job for ids in found for job in ids}) == 10
