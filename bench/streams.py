"""Figure 5: thousands of event streams on one API process, what each costs and how late an event is."""

import asyncio
import json
import time
from datetime import UTC, datetime
from typing import Any

import psutil

from bench.accepted import prepared
from bench.figure import Figure, quantile, said, started
from core.catalog.models import Served
from core.db.session import Database
from core.events import types
from core.events.log import Append, Entry, EventLog, connect
from core.ids import new_id
from core.jobs import attempts
from core.jobs.attempts import Claim, Outcome
from core.jobs.job import State
from core.jobs.kinds import InferenceJob
from core.jobs.submission import Wish, submit_all
from core.security.keys import Caller
from tests.rig import Rig

DELTAS_A_JOB_S = 1.0


def measure(rig: Rig, *, readers: int = 2000, jobs: int = 100, seconds: float = 20.0) -> Figure:
    """`rig` has its stack started, and nothing of ours: this is the worker's side, by hand."""
    rig.start("api")
    tenant, key = asyncio.run(prepared(rig, new_id("t")))
    return asyncio.run(_measure(rig, tenant, key, readers, jobs, seconds))


async def _measure(
    rig: Rig, tenant: str, key: str, readers: int, jobs: int, seconds: float
) -> Figure:
    config = rig.settings()
    database, redis = Database(config, name="bench", pool=2), connect(config)
    log = EventLog(redis, config)
    claims = await _claimed(database, Caller(tenant, "bench"), jobs)
    await log.append([_append(c, c.seq, types.STARTED, {}) for c in claims])
    api = psutil.Process(rig.parts["api"].pid)
    before = api.memory_info().rss
    options = {"port": rig.ports["api"], "key": key, "each": readers // jobs,
               "jobs": [c.id for c in claims]}  # fmt: skip
    child = await asyncio.to_thread(started, "bench.readers", options, rig.environment)
    each = (api.memory_info().rss - before) / readers / 1024
    last = await _talk(log, claims, seconds)
    await _end(database, log, claims, last)
    delays = json.loads(await asyncio.to_thread(said, child))["delays_s"]
    await redis.aclose()
    await database.close()
    expected = readers * (last - claims[0].seq)
    ms = [quantile(delays, q) * 1000 for q in (0.5, 0.99)]
    rate = readers * DELTAS_A_JOB_S
    rows = [(f"{readers:,}", f"{each:.1f}", f"{rate:,.0f}", f"{ms[0]:.1f}", f"{ms[1]:.1f}",
             f"{len(delays):,} of {expected:,}")]  # fmt: skip
    return Figure(
        "streams",
        "5. Event streams on one API process",
        ("streams", "KiB each", "events/s out", "delay p50 ms", "delay p99 ms", "events received"),
        rows,
        f"every event reaches every reader; p99 {ms[1]:.0f} ms, {each:.0f} KiB a stream",
        len(delays) == expected,
        [
            (
                f"{jobs} jobs with {readers // jobs} readers each, an event a second in each job for {seconds:g} s; "
                "delay from before the append in Redis to the line in the reader's hands. Readers, server, Redis "
                "and Postgres share the machine's cores."
            ),
            "KiB: growth of the API's resident memory when all streams were open, by their number.",
        ],
        {"delay_ms": ms, "kib": each},
    )


async def _claimed(database: Database, caller: Caller, count: int) -> list[Claim]:
    spec = InferenceJob(kind="inference", prompt="The river")
    wish = Wish(caller, spec, Served("bench", "bench", 2048))
    async with database.begin() as session:
        made: list[Any] = await submit_all(session, [wish] * count)
    async with database.begin() as session:
        return await attempts.claim(
            session, [m.job.id for m in made], worker_id="bench", lease_s=3600
        )


def _append(claim: Claim, seq: int, kind: str, data: dict[str, Any]) -> Append:
    event = types.event(seq, kind, claim.id, claim.attempt, datetime.now(UTC), data)
    return Append(claim.id, claim.attempt, claim.seq, [Entry(event, b"")])


async def _talk(log: EventLog, claims: list[Claim], seconds: float) -> int:
    """One delta a turn in each job, spread over the turn. Returns the last number."""
    seq = claims[0].seq
    pause = 1 / DELTAS_A_JOB_S / len(claims)
    began = time.perf_counter()
    for number in range(int(seconds * DELTAS_A_JOB_S)):
        for place, claim in enumerate(claims):
            due = began + (number * len(claims) + place) * pause
            await asyncio.sleep(due - time.perf_counter())
            data = {"text": " word", "tokens": 1, "said": time.time()}
            await log.append([_append(claim, seq + number + 1, types.OUTPUT_DELTA, data)])
    return seq + int(seconds * DELTAS_A_JOB_S)


async def _end(database: Database, log: EventLog, claims: list[Claim], last: int) -> None:
    outcomes = [Outcome(c.id, c.attempt, State.SUCCEEDED, last + 1, {"text": ""}) for c in claims]
    async with database.begin() as session:
        await attempts.finish(session, outcomes)
    await log.append([_append(c, last + 1, types.SUCCEEDED, {}) for c in claims])
