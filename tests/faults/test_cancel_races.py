"""Cancelling and running out of time, in every state and against the end of the job."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text

from core.db.session import Database
from tests.faults import load as loads
from tests.faults.invariants import REPORT, check
from tests.faults.load import Load
from tests.reader import Reader
from tests.rig import Rig
from tests.waiting import eventually

pytestmark = pytest.mark.fault

RACES = 400
_WAITS = text(
    """SELECT extract(epoch FROM finished_at - cancel_requested_at)::float8 FROM jobs
       WHERE id = ANY(:ids) AND state = 'cancelled'"""
).bindparams(bindparam("ids", type_=ARRAY(Text)))


async def cancel(client: httpx.AsyncClient, job_id: str) -> httpx.Response:
    return await client.post(f"/v1/jobs/{job_id}/cancel")


async def job_of(client: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
    job: dict[str, Any] = (await client.get(f"/v1/jobs/{job_id}")).json()
    return job


async def speaks(reader: Reader) -> None:
    """Wait until the reader has got text."""

    async def got_text() -> bool:
        return bool(reader.text)

    await eventually(got_text, f"{reader.job_id} says something")


async def idle(rig: Rig) -> None:
    """Wait until the worker holds no attempt: the engine's generators are closed before that."""
    metrics = f"http://127.0.0.1:{rig.ports['inference']}/metrics"

    async def nothing_runs() -> bool:
        async with httpx.AsyncClient(trust_env=False) as plain:
            return "penstock_attempts_running 0.0" in (await plain.get(metrics)).text

    await eventually(nothing_runs, "the worker runs nothing")


async def test_a_queued_job_is_cancelled_at_once(
    rig: Rig, client: httpx.AsyncClient, load: Load
) -> None:
    rig.process("inference").kill()
    [job_id] = await loads.submit(load, client, 1, follow_every=1)
    answer = await cancel(client, job_id)
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    twice = await cancel(client, job_id)
    assert (twice.status_code, twice.json()["state"]) == (200, "cancelled")
    await asyncio.to_thread(rig.process("inference").start)
    await check(rig, load, client, ends=("cancelled",))
    assert (await job_of(client, job_id))["attempt"] == 0


async def test_running_jobs_are_cancelled_within_a_second_and_keep_their_text(
    rig: Rig, client: httpx.AsyncClient, db: Database, load: Load
) -> None:
    """The last fact is recorded after the engine's generator is closed, so its time is the engine's."""
    ids = await loads.submit(load, client, 8, max_tokens=1500, stop=[], follow_every=1)
    for reader in load.readers:
        await speaks(reader)
    for answer in await asyncio.gather(*(cancel(client, job_id) for job_id in ids)):
        assert answer.status_code == 200
    await check(rig, load, client, ends=("cancelled",))
    for job_id in ids:
        assert (await job_of(client, job_id))["result"]["text"]
    await idle(rig)
    async with db.begin() as session:
        waits = (await session.scalars(_WAITS, {"ids": ids})).all()
    REPORT.append(f"  {len(waits)} running jobs cancelled, the slowest in {max(waits):.2f} s")
    assert max(waits) <= 1.0


async def test_a_running_job_is_cancelled_when_redis_carries_no_hint(
    rig: Rig, client: httpx.AsyncClient, load: Load
) -> None:
    """Workers ask Postgres too."""
    [job_id] = await loads.submit(load, client, 1, max_tokens=1500, stop=[], follow_every=1)
    await speaks(load.readers[0])
    redis = rig.stack.parts["redis"]
    redis.stop()
    try:
        assert (await cancel(client, job_id)).status_code == 200

        async def ended() -> bool:
            return bool((await job_of(client, job_id))["state"] == "cancelled")

        await eventually(ended, "the worker asked Postgres")
    finally:
        redis.cont()
    await check(rig, load, client, ends=("cancelled",))


async def test_an_ended_job_is_not_cancelled(
    rig: Rig, client: httpx.AsyncClient, load: Load
) -> None:
    [job_id] = await loads.submit(load, client, 1, max_tokens=2, follow_every=1)
    await check(rig, load, client)
    answer = await cancel(client, job_id)
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "job_ended"
    assert answer.headers["x-should-retry"] == "false"
    assert (await job_of(client, job_id))["state"] == "succeeded"


async def test_cancel_racing_the_end_gives_one_end(
    rig: Rig, client: httpx.AsyncClient, load: Load
) -> None:
    """400 short jobs, each cancelled at a random moment around its end; whoever wins, wins alone."""
    answers: list[int] = []

    async def race(after: int, tokens: int) -> None:
        often = load.rng.choice((0, 0, 0, 0, 1))
        [job_id] = await loads.submit(
            load, client, 1, max_tokens=tokens, stop=[], follow_every=often
        )
        # A moment told in events, not in seconds: it stays near the end on a slow machine too.
        seen = Reader(job_id)

        async def near() -> bool:
            page = await client.get(f"/v1/jobs/{job_id}/events", params={"after": seen.cursor})
            for event in page.json()["data"]:
                seen.take(event)
            return seen.ended or seen.cursor >= after

        if after:
            await eventually(near, f"{job_id} gets to {after}")
        answers.append((await cancel(client, job_id)).status_code)

    tokens = 25
    for _ in range(RACES // 50):
        before = answers.count(200)
        await asyncio.gather(*(race(load.rng.randint(0, 16), tokens) for _ in range(50)))
        # On a machine that others use too, a cancellation is longer on its way: it meets longer jobs.
        if answers.count(200) - before < 10:
            tokens = min(2 * tokens, 400)
    counts = await check(rig, load, client, ends=("succeeded", "cancelled"))
    assert set(answers) <= {200, 409}
    # A 409 says that the job had succeeded; a 200 that it will be cancelled, unless its end came first.
    assert answers.count(409) <= counts.ends["succeeded"]
    assert counts.ends["cancelled"] <= answers.count(200)
    REPORT.append(f"  {len(answers)} races: {answers.count(200)} taken, {answers.count(409)} late")
    assert min(counts.ends["succeeded"], counts.ends["cancelled"]) > 10, "no race at all"


async def test_a_job_whose_window_closes_while_queued_expires(
    rig: Rig, client: httpx.AsyncClient, load: Load
) -> None:
    rig.process("inference").kill()
    [job_id] = await loads.submit(load, client, 1, completion_window="1s", follow_every=1)
    await check(rig, load, client, ends=("expired",))
    assert (await job_of(client, job_id))["attempt"] == 0


async def test_a_job_whose_window_closes_while_it_runs_keeps_its_text(
    rig: Rig, client: httpx.AsyncClient, load: Load
) -> None:
    [job_id] = await loads.submit(
        load, client, 1, max_tokens=1500, stop=[], completion_window="2s", follow_every=1
    )
    await check(rig, load, client, ends=("expired",))
    job = await job_of(client, job_id)
    assert job["result"]["text"]
    lived = datetime.fromisoformat(job["finished_at"]) - datetime.fromisoformat(job["created_at"])
    assert lived >= timedelta(seconds=2)
    await idle(rig)
