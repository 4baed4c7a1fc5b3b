"""The API killed in a storm of submissions, and commits that fail: 202 is said once, after it is true."""

import asyncio
import functools
from collections.abc import AsyncIterator

import httpx
import pytest
from sqlalchemy import text

from core.db.session import Database
from core.ids import new_id
from tests.fakes import webhooks as given
from tests.faults import load as loads
from tests.faults.invariants import check
from tests.faults.load import Load
from tests.rig import Rig
from tests.waiting import eventually

JOBS = 100

# A commit that fails after every statement has succeeded: in both ways that a client cannot tell apart.
_FUNCTION = """
CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.metadata ->> 'commit' = 'refused' THEN RAISE EXCEPTION 'no room'; END IF;
    IF NEW.metadata ->> 'commit' = 'cut' THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
    RETURN NULL;
END $$
"""
_TRIGGER = """
CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON jobs DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION at_commit()
"""


@pytest.fixture
async def client(rig: Rig) -> AsyncIterator[httpx.AsyncClient]:
    async with rig.client(await rig.key(new_id("t"))) as opened:
        yield opened


@pytest.fixture
async def db(rig: Rig) -> AsyncIterator[Database]:
    opened = Database(rig.settings(), name="test", pool=2)
    yield opened
    await opened.close()


@pytest.fixture
async def failing_commits(db: Database) -> AsyncIterator[None]:
    await given.run(db, _FUNCTION)
    await given.run(db, _TRIGGER)
    yield
    await given.run(db, "DROP TRIGGER at_commit ON jobs")
    await given.run(db, "DROP FUNCTION at_commit")


async def test_an_api_killed_in_a_storm_of_submissions_makes_each_job_once(
    rig: Rig, load: Load, client: httpx.AsyncClient
) -> None:
    """Clients send again under the same key until they are answered."""
    submitting = asyncio.create_task(
        loads.submit(load, client, JOBS, follow_every=10, at_once=24, pause_s=0.05)
    )
    while load.kills < 3 and not submitting.done():
        known = len(load.bodies)
        await asyncio.sleep(load.rng.uniform(0.02, 0.2))  # the moment of the kill is random
        await asyncio.to_thread(rig.parts["api"].kill)
        load.kills += 1
        await asyncio.to_thread(rig.parts["api"].start)
        more = functools.partial(_more, load, known, submitting)
        await eventually(more, "submissions get through")
    await submitting
    assert load.resent > 0
    await check(rig, load, client)


async def _more(load: Load, known: int, submitting: "asyncio.Task[list[str]]") -> bool:
    return len(load.bodies) > known or submitting.done()


async def test_twins_under_one_key_are_one_job(
    load: Load, client: httpx.AsyncClient, db: Database
) -> None:
    """Twenty at once with one key: one makes the job, the others are told of it."""
    made = await loads.body(load)
    key = {"idempotency-key": "twins"}
    answers = await asyncio.gather(
        *(client.post("/v1/jobs", json=made, headers=key) for _ in range(20))
    )
    assert {a.status_code for a in answers} == {202}
    assert len({a.json()["id"] for a in answers}) == 1
    assert sum(a.headers.get("idempotency-replayed") == "true" for a in answers) == 19
    other = await client.post("/v1/jobs", json=made | {"max_tokens": 61}, headers=key)
    assert other.status_code == 409
    assert await _rows(db, answers[0].json()["id"]) == 1


@pytest.mark.usefixtures("failing_commits")
@pytest.mark.parametrize("how", ["refused", "cut"])
async def test_a_commit_that_fails_is_never_answered_202(
    rig: Rig, load: Load, client: httpx.AsyncClient, db: Database, how: str
) -> None:
    """Every statement of the submission succeeds, its commit does not."""
    made = await loads.body(load)
    bad = made | {"metadata": {"commit": how}}
    answers = await asyncio.gather(
        *(
            client.post("/v1/jobs", json=bad, headers={"idempotency-key": f"{how}-{n % 3}"})
            for n in range(12)
        )
    )
    assert {a.status_code for a in answers} == {503}, [a.text for a in answers]
    assert {a.json()["error"]["type"] for a in answers} == {"server_error"}
    assert not any("location" in a.headers for a in answers)
    assert (await client.get("/v1/jobs")).json()["data"] == []
    # The key was not spent: the first commit that succeeds has it.
    good = await client.post("/v1/jobs", json=made, headers={"idempotency-key": f"{how}-0"})
    assert good.status_code == 202
    assert "idempotency-replayed" not in good.headers
    load.bodies[good.json()["id"]] = made
    await check(rig, load, client)


async def test_a_backend_cut_while_a_submission_waits_is_no_202(
    rig: Rig, load: Load, client: httpx.AsyncClient, db: Database
) -> None:
    """The request is inside its transaction, held up by a lock, when its connection is ended."""
    made = await loads.body(load)
    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name LIKE '%api'"

    async def held_up() -> int | None:
        async with db.begin() as session:
            found: int | None = await session.scalar(text(waiting))
        return found

    async with db.begin() as blocker:
        # The job's outbox row cannot be written while this is held.
        await blocker.execute(text("LOCK TABLE outbox IN SHARE MODE"))
        headers = {"idempotency-key": loads.key_of(load, made)}
        posting = asyncio.create_task(client.post("/v1/jobs", json=made, headers=headers))
        pid = await eventually(held_up, "the submission waits for the lock")
        await given.run(db, "SELECT pg_terminate_backend(:pid)", pid=pid)
        answer = await posting
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "unavailable"
    await loads.post(load, client, made, loads.key_of(load, made))
    await check(rig, load, client)


async def test_an_api_killed_before_its_answer_is_asked_again(
    rig: Rig, load: Load, client: httpx.AsyncClient, db: Database
) -> None:
    """Killed while the transaction is open: nothing of it is left, and the same key makes the job."""
    made = await loads.body(load)
    key = loads.key_of(load, made)
    async with db.begin() as blocker:
        await blocker.execute(text("LOCK TABLE outbox IN SHARE MODE"))
        posting = asyncio.create_task(
            client.post("/v1/jobs", json=made, headers={"idempotency-key": key})
        )

        async def held_up() -> bool:
            async with db.begin() as session:
                return bool(
                    await session.scalar(
                        text(
                            "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'outbox'::regclass"
                        )
                    )
                )

        await eventually(held_up, "the submission waits for the lock")
        await asyncio.to_thread(rig.parts["api"].kill)
        load.kills += 1
        with pytest.raises(httpx.TransportError):
            await posting
    await asyncio.to_thread(rig.parts["api"].start)
    await loads.post(load, client, made, key)
    await check(rig, load, client)


async def _rows(db: Database, job_id: str) -> int:
    async with db.begin() as session:
        count = await session.scalar(
            text(
                "SELECT count(*) FROM jobs WHERE tenant_id = (SELECT tenant_id FROM jobs WHERE id = :id)"
            ),
            {"id": job_id},
        )
    return int(count or 0)
