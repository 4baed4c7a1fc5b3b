"""Where a job stands: positions in the order in which jobs are taken, reasons, and ETAs from known speeds."""

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import select, text

from core.db.session import Database
from core.ids import new_id
from core.jobs import outlook as outlook_module
from core.jobs.job import Job
from core.jobs.line import Line as Look
from core.jobs.line import look
from core.jobs.outlook import POSITION_CAP, Outlook, outlooks
from tests.core.test_shares import Line

_WORKER = text(
    """INSERT INTO workers (id, role, queues, slots, host, pid)
       VALUES (:id, 'inference', ARRAY[:queue], :slots, 'here', 1)"""
)
# So many jobs one after the other, on each of some slots, until just now.
_ENDED = text(
    """INSERT INTO jobs (id, tenant_id, kind, model, priority, rank, queue, spec, metadata, state, reserved_tokens,
                         charged_tokens, usage, started_at, finished_at)
       SELECT 'old_' || gen_random_uuid()::text, :tenant, 'inference', 'm', 'interactive', 0, :queue, '{}', '{}',
              'succeeded', cast(:tokens AS int), cast(:tokens AS int),
              jsonb_build_object('total_tokens', cast(:tokens AS int)),
              now() - make_interval(secs => :idle + n * :each),
              now() - make_interval(secs => :idle + (n - 1) * :each)
       FROM generate_series(1, :count) AS n, generate_series(1, :slots)"""
)


@pytest.fixture
def line(database: Database) -> Line:
    return Line(database)


async def worker(line: Line, slots: int) -> str:
    name = new_id("wrk")
    async with line.database.begin() as session:
        await session.execute(_WORKER, {"id": name, "queue": line.queue, "slots": slots})
    return name


async def ended(
    line: Line, *, count: int, tokens: int, each: float, slots: int = 1, idle: float = 0.0
) -> None:
    values = {"count": count, "tokens": tokens, "each": each, "slots": slots, "idle": idle}
    async with line.database.begin() as session:
        await session.execute(
            _ENDED, values | {"queue": line.queue, "tenant": next(iter(line.tenants.values()))}
        )


async def stand(line: Line, ids: Sequence[str]) -> list[Outlook]:
    """Each job's outlook, as its own tenant asks for it."""
    async with line.database.begin() as session:
        seen = await look(session, line.queue)
        jobs = {j.id: j for j in await session.scalars(select(Job).where(Job.id.in_(ids)))}
        found: dict[str, Outlook] = {}
        for who in {line.owner[job_id] for job_id in ids}:
            mine = [jobs[job_id] for job_id in ids if line.owner[job_id] == who]
            found |= await outlooks(session, mine, {line.queue: seen})
    return [found[job_id] for job_id in ids]


async def seen(line: Line) -> Look:
    async with line.database.begin() as session:
        return await look(session, line.queue)


async def change(line: Line, ids: Sequence[str], values: str) -> None:
    async with line.database.begin() as session:
        await session.execute(
            text(f"UPDATE jobs SET {values} WHERE id = ANY(:ids)"), {"ids": list(ids)}
        )


RUNNING = "state = 'running', rung_at = NULL, attempt = 1, lease_until = now() + interval '1 h'"


async def positions(line: Line) -> None:
    """Ask for the position of each waiting job, then take them one by one: they must agree."""
    waiting = list(line.owner)
    told = {job: one.position for job, one in zip(waiting, await stand(line, waiting), strict=True)}
    taken: list[str] = []
    while picked := await line.pick(1):
        taken += picked
        await line.end(picked)
    assert sorted(told, key=lambda job: told[job] or 0) == taken
    assert sorted(p or 0 for p in told.values()) == list(range(1, len(waiting) + 1))


async def test_positions_are_the_order_in_which_jobs_are_taken(line: Line) -> None:
    """Of three tenants with other weights, other sizes and other lengths of their lines."""
    await line.add("a", 12, tokens=10)
    await line.add("b", 5, tokens=30)
    await line.add("c", 7, tokens=10)
    await line.weigh("c", 2)
    gone = await line.served(4)
    line.owner = {job: who for job, who in line.owner.items() if job not in gone}
    await positions(line)


async def test_one_more_tenant_moves_a_long_line_by_its_share_and_not_by_its_length(
    line: Line,
) -> None:
    first = await line.add("a", 100)
    assert [o.position for o in await stand(line, first)] == list(range(1, 101))
    await line.add("b", 10_000)
    told = [o.position or 0 for o in await stand(line, first)]
    assert told == [2 * n + 1 for n in range(100)]
    assert (await stand(line, list(line.owner)[100:101]))[0].position == 2


async def test_jobs_that_are_rung_for_stand_first_in_their_order(line: Line) -> None:
    await line.add("a", 4)
    await line.add("b", 4)
    rung = await line.pick(5)
    assert rung is not None
    rest = [job for job in line.owner if job not in rung]
    assert [o.position for o in await stand(line, rung)] == [1, 2, 3, 4, 5]
    assert sorted(o.position or 0 for o in await stand(line, rest)) == [6, 7, 8]


async def test_a_position_is_counted_up_to_a_cap(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlook_module, "POSITION_CAP", 10)
    jobs = await line.add("a", 15)
    await worker(line, 1)
    await ended(line, count=5, tokens=10, each=1)
    told = await stand(line, jobs)
    assert [o.position for o in told] == [*range(1, 10), *[10] * 6]
    assert told[-1].eta_s is None, "what is not counted is not promised"
    assert POSITION_CAP == 10_000


async def test_what_a_job_waits_for(line: Line) -> None:
    jobs = await line.add("a", 3)
    told = await stand(line, jobs)
    assert {o.waiting_for for o in told} == {"worker"}
    assert "No worker that lives serves 'm'" in (told[0].note or "")
    assert told[0].eta_s is None
    await worker(line, 1)
    first, second, third = await stand(line, jobs)
    assert (first.waiting_for, second.waiting_for, third.waiting_for) == ("slot", "turn", "turn")
    assert third.note == "2 jobs are taken before it."
    await change(line, jobs[:1], "available_at = now() + interval '90 s', failures = 1")
    (later,) = await stand(line, jobs[:1])
    assert later.waiting_for == "backoff"
    assert "the next starts after 20" in (later.note or "")
    rung = await line.pick(1)
    assert rung == jobs[1:2]
    assert (await stand(line, jobs[1:2]))[0].waiting_for == "slot"
    await change(line, jobs[1:2], RUNNING)
    (running,) = await stand(line, jobs[1:2])
    assert (running.position, running.waiting_for, running.note) == (None, None, None)


async def test_a_worker_that_drains_or_was_not_seen_is_none(line: Line) -> None:
    jobs = await line.add("a", 1)
    name = await worker(line, 4)
    for change_of in ("draining = true", "draining = false, last_seen = now() - interval '1 min'"):
        assert (await stand(line, jobs))[0].waiting_for == "slot"
        async with line.database.begin() as session:
            await session.execute(
                text(f"UPDATE workers SET {change_of} WHERE id = :id"), {"id": name}
            )
        assert (await stand(line, jobs))[0].waiting_for == "worker"
        async with line.database.begin() as session:
            await session.execute(
                text("UPDATE workers SET draining = false, last_seen = now() WHERE id = :id"),
                {"id": name},
            )


async def test_nothing_is_promised_before_anything_has_ended(line: Line) -> None:
    jobs = await line.add("a", 2)
    await worker(line, 1)
    assert [o.eta_s for o in await stand(line, jobs)] == [None, None]
    await ended(line, count=3, tokens=10, each=1, idle=3600)
    assert [o.eta_s for o in await stand(line, jobs)] == [None, None], "an hour ago tells nothing"


@pytest.mark.parametrize(("slots", "each"), [(1, 2.0), (4, 2.0), (64, 10.0)])
async def test_the_eta_of_a_known_speed_is_right_within_one_job(
    line: Line, slots: int, each: float
) -> None:
    """Jobs of 50 tokens that take `each` seconds on every slot: job n ends when ceil(n / slots) rounds are over."""
    jobs = await line.add("a", 5 * slots, tokens=50)
    await worker(line, slots)
    await ended(line, count=20, tokens=50, each=each, slots=slots)
    for number, told in enumerate(await stand(line, jobs)):
        true = (number // slots + 1) * each
        assert told.eta_s == pytest.approx(true, abs=each), number


async def test_the_eta_counts_what_others_take_first(line: Line) -> None:
    """One slot, a token a second: a's third job waits for two of its own and for as many tokens of b."""
    jobs = await line.add("a", 3, tokens=20)
    await line.add("b", 50, tokens=10)
    await worker(line, 1)
    await ended(line, count=30, tokens=10, each=10)
    told = (await stand(line, jobs))[2]
    # 40 tokens of a, and of b the four jobs that begin before and at most one more; then its own 20.
    assert told.position in (7, 8)
    assert told.eta_s == pytest.approx(40 + 40 + 20, abs=10 + 10)
    await line.weigh("b", 4)
    slower = (await stand(line, jobs))[2]
    assert slower.eta_s == pytest.approx(40 + 160 + 20, abs=10 + 10)


async def test_a_queue_that_was_idle_is_not_slow(line: Line) -> None:
    jobs = await line.add("a", 10, tokens=10)
    await worker(line, 1)
    await ended(line, count=5, tokens=10, each=1, idle=400)
    await ended(line, count=5, tokens=10, each=1)
    pace = (await seen(line)).pace
    assert pace is not None
    assert pace.tokens_s == pytest.approx(10, rel=0.01)
    assert (await stand(line, jobs))[9].eta_s == pytest.approx(10, abs=1)


async def test_the_speed_is_that_of_the_newest_jobs(line: Line) -> None:
    await line.add("a", 1)
    await ended(
        line, count=100, tokens=10, each=1, slots=1, idle=50
    )  # ten tokens a second, until 50 s ago
    await ended(line, count=500, tokens=10, each=0.1)
    pace = (await seen(line)).pace
    assert pace is not None
    assert pace.tokens_s == pytest.approx(100, rel=0.02)


async def test_a_running_job_ends_when_it_has_said_what_such_jobs_say(line: Line) -> None:
    await line.add("a", 1)
    await ended(line, count=20, tokens=100, each=10)  # a tenth of a second a token
    (job,) = await line.add("a", 1, tokens=120)  # 20 asked, 100 to say
    await change(line, [job], f"{RUNNING}, started_at = now() - interval '4 s', "
                              """spec = '{"max_tokens": 100}'""")  # fmt: skip
    (early,) = await stand(line, [job])
    assert early.eta_s == pytest.approx(12 - 4, abs=0.3), "nothing is heard yet: by the clock"
    said: dict[str, Any] = {"text": "x", "tokens": list(range(70))}
    async with line.database.begin() as session:
        row = await session.get_one(Job, job)
        row.progress = said
        await session.flush()
    (later,) = await stand(line, [job])
    assert later.eta_s == pytest.approx(3.0, abs=0.2), "30 tokens are left"
    assert later.position is None
