"""Inference workers killed, stopped, drained and poisoned while they hold jobs."""

import asyncio
import os
import signal
from contextlib import suppress
from datetime import datetime
from typing import Any

import httpx
import psutil
import pytest
from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text

from core.db.session import Database
from infra.part import Part
from tests.faults import load as loads
from tests.faults.conftest import LEASE_S
from tests.faults.invariants import REPORT, check, ended, orphans
from tests.faults.load import Load
from tests.rig import Rig
from tests.waiting import eventually, until

pytestmark = pytest.mark.fault

_COUNT = text(
    """SELECT count(*) FILTER (WHERE state NOT IN ('queued', 'running')) AS ended,
              count(*) FILTER (WHERE state = 'running') AS running
       FROM jobs WHERE tenant_id = (SELECT tenant_id FROM jobs WHERE id = :id)"""
)
_HELD = text(
    """SELECT id, attempt FROM jobs WHERE state = 'running'
       AND tenant_id = (SELECT tenant_id FROM jobs WHERE id = :id)"""
)
_NEXT = text(
    """SELECT e.job_id, e.attempt, e.at FROM job_events e
       WHERE e.job_id = ANY(:ids) AND e.type = 'job.started'"""
).bindparams(bindparam("ids", type_=ARRAY(Text)))


async def counted(db: Database, load: Load) -> Any:
    async with db.begin() as session:
        return (await session.execute(_COUNT, {"id": load.ids[0]})).one()


async def now(db: Database) -> datetime:
    async with db.begin() as session:
        at: datetime = await session.scalar(text("SELECT clock_timestamp()"))
        return at


async def running(db: Database, load: Load, least: int) -> None:
    async def enough() -> bool:
        return bool((await counted(db, load)).running >= least)

    await eventually(enough, f"{least} jobs run")


async def test_a_killed_workers_jobs_run_again(
    rig: Rig, client: httpx.AsyncClient, db: Database, load: Load
) -> None:
    """SIGKILL at three random points of a load of 240 jobs. Within lease + 2 s of a worker being up
    again, every job that the dead one held runs again. All of one priority: a batch job would
    rightly wait for the interactive ones that came meanwhile."""
    worker = rig.process("inference")
    sending = asyncio.create_task(
        loads.submit(load, client, 240, pause_s=0.05, priority="interactive")
    )
    held: dict[str, int] = {}
    ups: list[datetime] = []
    for point in sorted(load.rng.sample(range(10, 200), 3)):

        async def reached(point: int = point) -> bool:
            return bool(load.bodies) and (await counted(db, load)).ended >= point

        await eventually(reached, f"{point} jobs have ended")
        async with db.begin() as session:
            lost = (await session.execute(_HELD, {"id": load.ids[0]})).all()
        await asyncio.to_thread(worker.kill)
        load.kills += 1
        await asyncio.to_thread(worker.start)
        ups.append(await now(db))
        held |= {job.id: job.attempt for job in lost}
    await sending
    await check(rig, load, client)
    async with db.begin() as session:
        starts = (await session.execute(_NEXT, {"ids": list(held)})).all()
    # What ended between the look and the kill was not lost; a worker that was killed too early to take
    # its jobs back was not up.
    again = [s.at for s in starts if s.attempt == held[s.job_id] + 1]
    assert again, "no kill met a running job"
    waits = [(at - max(up for up in ups if up <= at)).total_seconds() for at in again]
    REPORT.append(f"  {len(again)} jobs were held by killed workers; the last of them ran again"
                  f" {max(waits):.1f} s after a worker was up")  # fmt: skip
    assert max(waits) <= LEASE_S + 2, f"too late: {sorted(waits)}"


async def test_a_stopped_worker_that_wakes_changes_nothing(
    rig: Rig, client: httpx.AsyncClient, db: Database, load: Load
) -> None:
    """SIGSTOP past twice the lease; a second worker finishes the jobs; SIGCONT: what the first still
    wants to say is refused."""
    await loads.submit(load, client, 24, max_tokens=120, follow_every=2)
    await running(db, load, 8)
    sleeper, other = rig.process("inference"), rig.process("inference", 2)
    await asyncio.to_thread(sleeper.stop)
    load.kills += 1
    stopped = await now(db)
    await asyncio.to_thread(other.start)
    await ended(db, load.ids)

    async def twice_the_lease() -> bool:
        return (await now(db) - stopped).total_seconds() > 2 * LEASE_S

    await eventually(twice_the_lease, "the clock goes on")
    sleeper.cont()
    metrics = f"http://127.0.0.1:{rig.ports['inference']}/metrics"
    counts = await check(rig, load, client)
    assert counts.requeues["lease_expired"] + counts.requeues["worker_lost"] >= 8

    async def refused() -> bool:
        async with httpx.AsyncClient(trust_env=False) as plain:
            lines = (await plain.get(metrics)).text.splitlines()
        lost = [line for line in lines if line.startswith("penstock_leases_lost_total{")]
        idle = "penstock_attempts_running 0.0" in lines
        return idle and sum(float(line.split()[-1]) for line in lost) >= 8

    await eventually(refused, "the woken worker was told that its leases are lost")
    # And once more, now that it has had its say.
    await check(rig, load, client)


async def test_a_stopping_worker_finishes_what_it_holds(
    rig: Rig, client: httpx.AsyncClient, db: Database, load: Load
) -> None:
    """SIGTERM with jobs shorter than the grace time: they end here, the rest waits, none is charged."""
    await loads.submit(load, client, 40, max_tokens=60, stop=[])
    await running(db, load, 8)
    worker = rig.process("inference")
    worker.ask_to_end()
    assert await asyncio.to_thread(worker.wait, 30)
    assert worker.exited() == 0, worker.tail()
    assert (await counted(db, load)).running == 0
    await asyncio.to_thread(worker.start)
    counts = await check(rig, load, client)
    assert not counts.requeues.keys() - {"released"}, counts.requeues


async def test_a_stopping_worker_hands_back_long_jobs_uncharged(
    rig: Rig, client: httpx.AsyncClient, db: Database, load: Load
) -> None:
    """SIGTERM with jobs longer than the grace time: released, continued by the next worker, not charged."""
    await loads.submit(load, client, 8, max_tokens=700, stop=[], follow_every=1)
    await running(db, load, 8)
    worker = rig.process("inference")
    worker.ask_to_end()
    assert await asyncio.to_thread(worker.wait, 30)
    assert worker.exited() == 0, worker.tail()
    await asyncio.to_thread(worker.start)
    counts = await check(rig, load, client)
    assert counts.requeues == {"released": 8}


async def test_a_worker_killed_while_it_drains_loses_nothing(
    rig: Rig, client: httpx.AsyncClient, db: Database, load: Load
) -> None:
    await loads.submit(load, client, 30, max_tokens=150, stop=[])
    await running(db, load, 16)
    worker = rig.process("inference")
    worker.ask_to_end()

    async def draining() -> bool:
        async with db.begin() as session:
            return bool(await session.scalar(text("SELECT count(*) FROM workers WHERE draining")))

    await eventually(draining, "the worker says that it drains")
    await asyncio.to_thread(worker.kill)
    load.kills += 1
    await asyncio.to_thread(worker.start)
    counts = await check(rig, load, client)
    assert counts.requeues


async def kept_up(worker: Part, load: Load) -> None:
    """What a supervisor does: start it again whenever it is gone."""
    while True:
        await asyncio.to_thread(until, lambda: worker.exited() is not None, "it ends", 3600)
        load.kills += 1
        await asyncio.to_thread(worker.start)


async def test_a_poison_job_ends_failed_and_its_neighbours_succeed(
    rig: Rig, client: httpx.AsyncClient, db: Database, load: Load
) -> None:
    """A job that kills its worker each time, among neighbours: three attempts, then it is failed."""
    control, worker = rig.process("control"), rig.process("inference")
    before = control.env["PENSTOCK_MAX_ATTEMPTS"]
    keeper = None
    try:
        for part in (control, worker):
            part.env["PENSTOCK_MAX_ATTEMPTS"] = "3"
            await asyncio.to_thread(part.kill)
            await asyncio.to_thread(part.start)
        keeper = asyncio.create_task(kept_up(worker, load))
        neighbours = await loads.submit(load, client, 12, max_tokens=40, stop=[])
        [poison] = await loads.submit(load, client, 1, max_tokens=60, prompt="[die] soon", stop=[])
        neighbours += await loads.submit(load, client, 12, max_tokens=40, stop=[])
        await check(rig, load, client, ends=("succeeded", "failed"), timeout_s=90)
        job = (await client.get(f"/v1/jobs/{poison}")).json()
        assert (job["state"], job["attempt"]) == ("failed", 3)
        assert job["error"]["code"] == "attempts_exhausted"
        listed = (await client.get("/v1/jobs", params={"state": "failed"})).json()["data"]
        assert [j["id"] for j in listed] == [poison], f"neighbours {neighbours} failed too"
        assert load.kills == 3
    finally:
        if keeper is not None:
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper
        for part in (control, worker):
            part.env["PENSTOCK_MAX_ATTEMPTS"] = before
            part.kill()


async def test_a_worker_killed_alone_leaves_no_process(rig: Rig) -> None:
    """SIGKILL to the one process, not to its family: whatever it had started goes with it."""
    worker = rig.process("inference")
    family = worker.family()
    os.kill(worker.pid, signal.SIGKILL)
    await asyncio.to_thread(worker.wait, 10)
    _, alive = await asyncio.to_thread(psutil.wait_procs, family, 5)
    assert not alive
    assert not orphans(rig)
