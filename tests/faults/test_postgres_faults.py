"""Postgres cut off, killed, restarted, hung: the truth is away, so nothing is accepted, and what was stays true."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import httpx
import psycopg
import pytest

from core.ids import new_id
from tests.faults import load as loads
from tests.faults.conftest import LEASE_S
from tests.faults.invariants import REPORT, check
from tests.faults.load import Load
from tests.rig import Rig
from tests.waiting import eventually

JOBS = 80
HUNG_S = 10.0


@pytest.fixture
async def client(rig: Rig) -> AsyncIterator[httpx.AsyncClient]:
    async with rig.client(await rig.key(new_id("t"))) as opened:
        yield opened


def terminate(rig: Rig) -> int:
    """Cut every connection but our own; returns how many."""
    with psycopg.connect(rig.settings().database_url, autocommit=True) as connection:
        cut = connection.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = current_database()"
        ).fetchone()
    assert cut is not None
    return int(cut[0])


def crash(rig: Rig) -> None:
    """SIGKILL of the server and of all its backends; it recovers from its log."""
    rig.stack.parts["postgres"].kill()
    rig.stack.parts["postgres"].start()


def restart(rig: Rig) -> None:
    """An orderly stop, which rolls back what is open."""
    rig.stack.parts["postgres"].end()
    rig.stack.parts["postgres"].start()


@pytest.mark.parametrize("fault", [crash, restart], ids=lambda fault: fault.__name__)
async def test_postgres_comes_back_and_every_job_ends(
    rig: Rig, load: Load, client: httpx.AsyncClient, fault: Callable[[Rig], None]
) -> None:
    """Twice in a load. Outcomes are kept by the workers until they can be written."""
    submitting = asyncio.create_task(loads.submit(load, client, JOBS, follow_every=3, pause_s=0.3))
    for _ in range(2):
        await asyncio.sleep(load.rng.uniform(0.3, 1.0))  # the moment of the fault is random
        await asyncio.to_thread(fault, rig)
        load.kills += 1
    await submitting
    await check(rig, load, client)


async def test_every_connection_is_cut_again_and_again(
    rig: Rig, load: Load, client: httpx.AsyncClient
) -> None:
    submitting = asyncio.create_task(loads.submit(load, client, JOBS, follow_every=3, pause_s=0.5))
    cut = 0
    while not submitting.done():
        cut += await asyncio.to_thread(terminate, rig)
        load.kills += 1
        await asyncio.wait([submitting], timeout=load.rng.uniform(0.2, 1.0))
    await submitting
    await check(rig, load, client)
    REPORT.append(f"  Postgres: {cut} connections cut in {load.kills} rounds")


async def test_a_hung_postgres_is_answered_503_and_costs_no_state(
    rig: Rig, load: Load, client: httpx.AsyncClient
) -> None:
    """Stopped, not dead, for longer than a lease: requests get the envelope meanwhile, not silence."""
    submitting = asyncio.create_task(loads.submit(load, client, 40, follow_every=3, pause_s=0.3))
    await eventually(lambda: _many(load, 10), "the load has begun")
    postgres = rig.stack.parts["postgres"]
    made = await loads.body(load)
    key = loads.key_of(load, made)
    postgres.stop()
    began = time.monotonic()
    try:
        answers = await asyncio.gather(
            client.post("/v1/jobs", json=made, headers={"idempotency-key": key}),
            client.get(f"/v1/jobs/{load.ids[0]}"),
            client.get(f"/v1/jobs/{load.ids[0]}/stream"),
            client.get("/v1/jobs"),
            client.get("/health/ready"),
        )
        live = await client.get("/health/live")
        answered = time.monotonic() - began
        await asyncio.sleep(max(0.0, HUNG_S - answered))  # the outage lasts 10 s
    finally:
        postgres.cont()
    assert HUNG_S > 2 * LEASE_S
    assert live.status_code == 200
    for answer in answers[:4]:
        assert answer.status_code == 503, answer.text
        assert answer.json()["error"]["type"] == "server_error"
        assert answer.headers["retry-after"] == "1"
    assert answers[4].status_code == 503
    assert answers[4].json()["checks"]["postgres"] != "ok"
    assert answered < HUNG_S, "answered only when Postgres was back"
    # A 503 leaves open whether the job was made: its client asks again under its key, and has one job.
    await loads.post(load, client, made, key)
    await submitting
    await check(rig, load, client)
    REPORT.append(f"  Postgres hung {HUNG_S:.0f} s: requests were answered after {answered:.1f} s")


async def _many(load: Load, count: int) -> bool:
    return len(load.bodies) >= count
