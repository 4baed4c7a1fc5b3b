"""The relay, the dispatcher and the rescuer killed, doubled and raced; doorbells lost and sent too often."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text

from core.db.session import Database
from core.events.log import EventLog
from core.ids import new_id
from core.jobs import attempts, rescue, ringing
from core.jobs.attempts import Outcome, Renewal
from core.jobs.job import State
from core.jobs.kinds import queue_name
from tests.faults import load as loads
from tests.faults.invariants import REPORT, check, dump
from tests.faults.load import Load
from tests.rig import Rig
from tests.waiting import eventually
from workers import app

pytestmark = pytest.mark.fault

ROWS = 6000
_WAITING = text("SELECT count(*) FROM outbox")
_ROW = text(
    """INSERT INTO outbox (type, job_id, payload)
       SELECT 'job.started', :name || n, jsonb_build_object('event_id', :name || n, 'kind', 'inference',
           'tenant', 'none', 'state', 'running', 'attempt', 1, 'seq', n)
       FROM generate_series(cast(:first AS int), cast(:last AS int)) AS n"""
).bindparams(bindparam("name", type_=Text))
_OVER = text("SELECT count(*) FROM jobs WHERE id = ANY(:ids) AND lease_until < now()").bindparams(
    bindparam("ids", type_=ARRAY(Text))
)


async def waiting_rows(db: Database) -> int:
    async with db.begin() as session:
        return int(await session.scalar(_WAITING) or 0)


async def relayed(rig: Rig, name: str) -> list[str]:
    """The job ids beginning with `name` on penstock.events, repeats included."""
    events = await asyncio.to_thread(dump, rig.settings().kafka_bootstrap_servers)
    return [e["data"]["job_id"] for e in events if e["data"]["job_id"].startswith(name)]


async def test_a_relay_killed_five_times_loses_no_row(rig: Rig, db: Database, load: Load) -> None:
    """6,000 rows wait; each relay is killed as soon as it has carried some of them away."""
    control, name = rig.process("control"), f"{new_id('relay')}-"
    await asyncio.to_thread(control.kill)
    async with db.begin() as session:
        await session.execute(_ROW, {"name": name, "first": 1, "last": ROWS})
    for _ in range(5):
        before = await waiting_rows(db)
        assert before, "the relay was done before it was killed five times"
        control.spawn()

        async def moved(before: int = before) -> bool:
            return await waiting_rows(db) < before

        await eventually(moved, "the relay carries rows")
        await asyncio.to_thread(control.kill)
        load.kills += 1
    await asyncio.to_thread(control.start)

    async def empty() -> bool:
        return await waiting_rows(db) == 0

    await eventually(empty, "the outbox is empty")
    came = await relayed(rig, name)
    assert set(came) == {f"{name}{n}" for n in range(1, ROWS + 1)}
    REPORT.append(f"relay: seed {load.seed}, {load.kills} kills over {ROWS} rows, "
                  f"{len(came) - ROWS} sent again")  # fmt: skip


async def test_a_row_that_commits_late_is_relayed(rig: Rig, db: Database) -> None:
    """Its number is lower than that of a row that has left already."""
    name = f"{new_id('late')}-"
    async with db.begin() as slow:
        await slow.execute(_ROW, {"name": name, "first": 1, "last": 1})
        async with db.begin() as session:
            await session.execute(_ROW, {"name": name, "first": 2, "last": 2})

        async def second_left() -> bool:
            return await waiting_rows(db) == 0

        await eventually(second_left, "the second row leaves")
        assert await relayed(rig, name) == [f"{name}2"]
    await eventually(second_left, "the first row leaves")
    assert sorted(await relayed(rig, name)) == [f"{name}1", f"{name}2"]


async def test_a_dispatcher_killed_between_its_decision_and_the_doorbell(
    rig: Rig, client: httpx.AsyncClient, db: Database, load: Load
) -> None:
    """The jobs are marked as rung and no doorbell is out: they are rung again."""
    control = rig.process("control")
    await asyncio.to_thread(control.kill)
    load.kills += 1
    ids = await loads.submit(load, client, 12)
    async with db.begin() as session:
        chosen = await ringing.choose(session)
    assert set(ids) <= {job_id for _, jobs in chosen.doorbells for job_id in jobs}
    await asyncio.to_thread(control.start)
    counts = await check(rig, load, client)
    assert counts.attempts == len(ids)


async def test_every_doorbell_sent_three_times_runs_each_job_once(
    rig: Rig, client: httpx.AsyncClient, load: Load
) -> None:
    """And no dispatcher has decided on any of them: the claim alone keeps them apart."""
    control = rig.process("control")
    await asyncio.to_thread(control.kill)
    config = rig.settings()
    ids = await loads.submit(load, client, 60, priority="interactive")
    queue = queue_name("inference", "interactive", config.served_name)
    doorbells = [(queue, [job_id]) for job_id in ids] * 3
    load.rng.shuffle(doorbells)
    await app.Bell(app.make(config)).ring(doorbells)
    await asyncio.to_thread(control.start)
    counts = await check(rig, load, client)
    assert counts.attempts == len(ids)


async def test_two_controls_killed_in_turn_lose_nothing(
    rig: Rig, client: httpx.AsyncClient, db: Database, load: Load
) -> None:
    """Two at once, and one of them killed at four random points of a load: no job runs twice."""
    pair = [rig.process("control"), rig.process("control", 2)]
    await asyncio.to_thread(pair[1].start)
    sending = asyncio.create_task(loads.submit(load, client, 150, pause_s=0.1))
    done = text("SELECT count(*) FROM jobs WHERE id = ANY(:ids) AND state = 'succeeded'")
    for turn, point in enumerate(sorted(load.rng.sample(range(5, 140), 4))):

        async def reached(point: int = point) -> bool:
            async with db.begin() as session:
                return bool(await session.scalar(done, {"ids": load.ids}) >= point)

        await eventually(reached, f"{point} jobs have ended")
        await asyncio.to_thread(pair[turn % 2].kill)
        load.kills += 1
        await asyncio.to_thread(pair[turn % 2].start)
    await sending
    counts = await check(rig, load, client)
    assert counts.attempts == 150, "no worker was lost, so no job runs twice"


async def test_three_rescuers_at_once_requeue_each_job_once(
    rig: Rig, client: httpx.AsyncClient, db: Database, log: EventLog, load: Load
) -> None:
    """Leases that ran out, three rescuers in one moment and one that dies in its transaction; then the
    attempts they were taken from speak up. Only the database's clock is asked."""
    for name in ("control", "inference"):
        rig.process(name).kill()
    ids = await loads.submit(load, client, 40)
    async with db.begin() as session:
        claims = await attempts.claim(session, ids, worker_id=new_id("wrk"), lease_s=0.05)
    assert len(claims) == len(ids)

    async def over() -> bool:
        async with db.begin() as session:
            return bool(await session.scalar(_OVER, {"ids": ids}) == len(ids))

    await eventually(over, "the leases run out")

    class Killed(Exception):
        """What a rescuer dies of in this test."""

    async def rescuer(*, dies: bool = False) -> list[rescue.Rescued]:
        async with db.begin() as session:
            found = await rescue.rescue(session, log, dead_workers=[], max_attempts=20, limit=25)
            if dies:
                raise Killed
        return found

    with pytest.raises(Killed):
        await rescuer(dies=True)
    took: list[str] = []
    while found := [
        one for part in await asyncio.gather(*(rescuer() for _ in range(3))) for one in part
    ]:
        took += [one.id for one in found]
    assert sorted(took) == sorted(ids)
    stale: list[Any] = [
        Outcome(c.id, c.attempt, State.SUCCEEDED, c.seq + 1, {"text": "stale"}) for c in claims
    ]
    async with db.begin() as session:
        assert not await attempts.finish(session, stale)
        late = [Renewal(c.id, c.attempt, c.seq + 9, {"text": "stale"}) for c in claims]
        assert not await attempts.renew(session, late, lease_s=60)
    await asyncio.to_thread(rig.start, "control", "inference")
    counts = await check(rig, load, client)
    assert (counts.attempts, counts.requeues) == (80, {"lease_expired": 40})
