"""Readers in every condition: storms of reconnects, cursors of all kinds, slow ones, too many, and an API that dies."""

import asyncio
import json
import random
import resource
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from core.events.log import connect
from core.ids import new_id
from infra.part import Part
from tests.faults import load as loads
from tests.faults import wire
from tests.faults.invariants import REPORT, check
from tests.faults.load import Load
from tests.reader import Reader
from tests.rig import Rig
from tests.waiting import eventually

SEATS = 40
SOCKETS = 10_000


@pytest.fixture
async def key(rig: Rig) -> str:
    return await rig.key(new_id("t"))


@pytest.fixture
async def client(rig: Rig, key: str) -> AsyncIterator[httpx.AsyncClient]:
    async with rig.client(key) as opened:
        yield opened


async def submit(client: httpx.AsyncClient, tokens: int = 20, prompt: str = "The river") -> str:
    body = {"kind": "inference", "prompt": prompt, "max_tokens": tokens, "temperature": 0}
    response = await client.post("/v1/jobs", json=body)
    assert response.status_code == 202, response.text
    return str(response.json()["id"])


def second_api(rig: Rig, **env: str) -> tuple[Part, int]:
    """Another API process on the same stack, with settings of its own; the rig fixture ends it."""
    rig.parts.pop("api2", None)
    part = rig.process("api", 2)
    part.env = part.env | {f"PENSTOCK_{name.upper()}": value for name, value in env.items()}
    return part, rig.ports["api2"]


async def streams_open(client: httpx.AsyncClient) -> float:
    """The server's own count of its open streams."""
    page = (await client.get("/metrics")).text
    families = {family.name: family for family in text_string_to_metric_families(page)}
    return families["penstock_sse_streams"].samples[0].value


# Cursors.


async def test_a_finished_job_is_read_after_redis_was_emptied(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    job_id = await submit(client)
    whole = await Reader(job_id).follow(client)
    redis = connect(rig.settings())
    await redis.flushall()
    await redis.aclose()
    late = await Reader(job_id).follow(client)
    told = [(e["seq"], e["type"]) for e in late.events]
    last = whole.events[-1]["seq"]
    assert told == [
        (1, "job.queued"),
        (2, "job.started"),
        (last - 1, "snapshot"),
        (last, "job.succeeded"),
    ]
    assert late.text == whole.text
    # From the middle of what is gone: one snapshot, no hole.
    halfway = Reader(job_id, whole.events[: last // 2])
    await halfway.follow(client)
    assert halfway.text == whole.text
    page = (await client.get(f"/v1/jobs/{job_id}/events")).json()
    assert page["data"] == late.events
    assert not page["has_more"]


async def test_a_reader_that_has_the_last_event_is_told_so(
    client: httpx.AsyncClient,
) -> None:
    job_id = await submit(client)
    read = await Reader(job_id).follow(client)
    last = str(read.cursor)
    url = f"/v1/jobs/{job_id}/stream"
    assert (await client.get(url, headers={"last-event-id": last})).status_code == 204
    # The header is newer than the address that the client was first given.
    assert (await client.get(f"{url}?after=1", headers={"last-event-id": last})).status_code == 204


@pytest.mark.parametrize(
    "cursor", ["x", "-1", "1.5", "٣", "12345678901", "999999999", "1;2", "0x1"]
)
async def test_a_cursor_that_is_no_events_number_is_refused(
    client: httpx.AsyncClient, cursor: str
) -> None:
    job_id = await submit(client, tokens=1)
    await Reader(job_id).follow(client)
    headers = [(b"last-event-id", cursor.encode())]
    response = await client.get(f"/v1/jobs/{job_id}/stream", headers=headers)
    assert response.status_code == 422
    assert response.json()["error"]["param"] == "Last-Event-ID"


async def test_a_number_beyond_the_end_of_an_ended_job_is_refused(
    client: httpx.AsyncClient,
) -> None:
    job_id = await submit(client, tokens=1)
    read = await Reader(job_id).follow(client)
    url = f"/v1/jobs/{job_id}/stream"
    response = await client.get(url, headers={"last-event-id": str(read.cursor + 1)})
    assert response.status_code == 422
    assert response.json()["error"]["param"] == "Last-Event-ID"
    response = await client.get(f"{url}?after={read.cursor + 1}")
    assert response.status_code == 422
    assert response.json()["error"]["param"] == "after"


async def test_a_number_nobody_said_yet_ends_with_the_job_and_holds_nobody_up(
    rig: Rig, key: str, client: httpx.AsyncClient
) -> None:
    """Up to the ceiling of a running attempt any number may have been said to somebody."""
    job_id = await submit(client, tokens=80)
    port = rig.ports["api"]
    async with wire.stream(port, job_id, key) as first:
        events = first.events()
        seen = [await anext(events) for _ in range(3)]
        async with wire.stream(port, job_id, key, last=4000) as bogus:
            assert bogus.status == 200
            ahead = asyncio.create_task(_collect(bogus))
            seen += [event async for event in events]
            assert [e["seq"] for e in seen] == list(range(1, len(seen) + 1))
            assert seen[-1]["type"] == "job.succeeded"
            assert await asyncio.wait_for(ahead, 10) == []


async def _collect(line: wire.Line) -> list[int]:
    return [event["seq"] async for event in line.events()]


# Many readers.


async def test_a_storm_of_reconnects_loses_nothing(
    rig: Rig, key: str, client: httpx.AsyncClient
) -> None:
    """1,000 connections with random cursors; half hang up, some before the answer's head has come."""
    rng = random.Random(7)
    job_id = await submit(client, tokens=250)
    faithful = Reader(job_id)
    following = asyncio.create_task(faithful.follow(client))
    await eventually(lambda: _reached(faithful, 10), "the job speaks")
    seen: Counter[str] = Counter()
    told: dict[int, str] = {}

    async def visit(number: int) -> None:
        cursor = rng.randint(0, faithful.cursor)
        if number % 4 == 0:
            _, writer = await wire.dial(
                rig.ports["api"], f"/v1/jobs/{job_id}/stream", key, last=cursor
            )
            await asyncio.sleep(rng.random() * 0.02)  # it hangs up at a random moment
            writer.transport.abort()
            seen["hung up"] += 1
            return
        async with wire.stream(rig.ports["api"], job_id, key, last=cursor) as line:
            if line.status == 204:
                seen["nothing more"] += 1
                return
            assert line.status == 200
            wanted = rng.choice([1, 3, 10])
            async for event in line.events():
                cursor += 1
                assert event["seq"] == cursor
                assert told.setdefault(cursor, json.dumps(event)) == json.dumps(event)
                seen["events"] += 1
                wanted -= 1
                if not wanted:
                    break

    gate = asyncio.Semaphore(50)

    async def guarded(number: int) -> None:
        async with gate:
            await visit(number)

    await asyncio.gather(*(guarded(n) for n in range(1000)))
    await following
    assert [e["seq"] for e in faithful.events] == list(range(1, faithful.cursor + 1))
    await eventually(lambda: _closed(client), "every seat is free again")
    REPORT.append(f"storm of 1000 reconnects: {dict(seen)}")


async def _reached(reader: Reader, number: int) -> bool:
    return reader.cursor >= number


async def _closed(client: httpx.AsyncClient) -> bool:
    return await streams_open(client) == 0


async def test_an_api_killed_under_many_readers_costs_a_reconnect(
    rig: Rig, load: Load, client: httpx.AsyncClient
) -> None:
    jobs = [loads.body(load, max_tokens=60) for _ in range(20)]
    for number, made in enumerate([await job for job in jobs]):
        job_id = await loads.post(load, client, made, f"many-{number}")
        for _ in range(5):
            loads.read(load, client, job_id)
    for _ in range(3):
        await asyncio.sleep(load.rng.uniform(0.05, 0.4))  # the moment of the kill is random
        rig.parts["api"].kill()
        load.kills += 1
        await asyncio.to_thread(rig.parts["api"].start)
    await check(rig, load, client)


async def test_two_api_processes_tell_one_story(
    rig: Rig, key: str, client: httpx.AsyncClient
) -> None:
    """Each reader changes over after every few events; the other process knows the same numbers."""
    other, port = second_api(rig)
    await asyncio.to_thread(other.start)
    ports = (rig.ports["api"], port)
    ids = [await submit(client, tokens=60, prompt=f"Job {n}") for n in range(5)]

    async def wander(job_id: str, turn: int) -> Reader:
        reader = Reader(job_id)
        while not reader.ended:
            turn += 1
            async with wire.stream(ports[turn % 2], job_id, key, last=reader.cursor) as line:
                taken = 0
                async for event in line.events():
                    reader.take(event)
                    taken += 1
                    if taken == 7:
                        break
        return reader

    async with asyncio.timeout(60):
        read = await asyncio.gather(*(wander(job_id, turn) for job_id in ids for turn in (0, 1)))
    for one, two in zip(read[::2], read[1::2], strict=True):
        assert (one.text, one.cursor) == (two.text, two.cursor)
        # One that came back between the end in Postgres and its echo in Redis was told the whole at once.
        if not one.snapshots and not two.snapshots:
            assert one.events == two.events


# Slow ones, quiet ones, too many.


async def test_readers_that_stop_reading_hold_nobody_up(
    rig: Rig, key: str, client: httpx.AsyncClient
) -> None:
    """Ten readers take nothing until the job has ended and another reader has it all; then they catch up."""
    job_id = await submit(client, tokens=900)
    async with AsyncExitStack() as stack:
        stuck = [
            await stack.enter_async_context(wire.stream(rig.ports["api"], job_id, key, buffer=4096))
            for _ in range(10)
        ]
        async with asyncio.timeout(60):
            quick = await Reader(job_id).follow(client)
        assert quick.reconnects == 1
        assert (await client.get(f"/v1/jobs/{job_id}")).json()["state"] == "succeeded"
        for line in stuck:
            late = [event async for event in line.events()]
            assert late == quick.events


async def test_a_quiet_stream_shows_that_it_lives(rig: Rig) -> None:
    """Keep-alive comments while nothing happens, and none of them is an event."""
    part, port = second_api(rig, sse_keepalive_s="0.2")
    await asyncio.to_thread(part.start)
    # The worker stands still, so the job says nothing.
    key = await rig.key(new_id("t"))
    rig.parts["inference"].stop()
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", headers={"authorization": f"Bearer {key}"}
    ) as client:
        job_id = await submit(client)
        async with wire.stream(port, job_id, key) as line:
            async with asyncio.timeout(10):
                blocks = [await line.block() for _ in range(6)]
            assert blocks[0] == b"retry: 1000"
            assert blocks[1].startswith(b"id: 1\nevent: job.queued\n")
            assert blocks[2:] == [b": still here"] * 4
            rig.parts["inference"].cont()
            async with asyncio.timeout(30):
                assert [e["type"] async for e in line.events()][-1] == "job.succeeded"


async def test_streams_beyond_the_limit_are_refused_and_the_rest_goes_on(rig: Rig) -> None:
    part, port = second_api(
        rig, sse_max_connections=str(SEATS), sse_max_connections_per_tenant="30"
    )
    await asyncio.to_thread(part.start)
    keys = [await rig.key(new_id("t")) for _ in range(2)]
    jobs = []
    rig.parts["inference"].stop()
    async with AsyncExitStack() as stack:
        for key in keys:
            client = await stack.enter_async_context(rig.client(key))
            jobs.append((key, await submit(client)))
        lines = [
            await stack.enter_async_context(wire.stream(port, job_id, key))
            for key, job_id in jobs
            for _ in range(31)
        ]
        statuses = [line.status for line in lines]
        # One over the first tenant's share, then what is left of the process's.
        assert statuses == [200] * 30 + [429] + [200] * 10 + [429] * 21
        for line in (lines[30], lines[-1]):
            error = (await line.body())["error"]
            assert (error["type"], error["code"]) == ("rate_limit_error", "too_many_streams")
            assert int(line.headers["retry-after"]) >= 1
        lines[0].writer.transport.abort()
        await eventually(lambda: _taken(port, jobs[0]), "a seat that was left is given again")


async def _taken(port: int, job: tuple[str, str]) -> bool:
    async with wire.stream(port, job[1], job[0]) as line:
        return line.status == 200


async def test_ten_thousand_streams_beyond_the_limit_leave_the_server_well(
    rig: Rig, client: httpx.AsyncClient, key: str
) -> None:
    """All of them stay connected; those with a seat hear the end of their job, and others are served."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(SOCKETS, hard - 1000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + 1000), hard))
    part, port = second_api(rig, sse_max_connections="500")
    await asyncio.to_thread(part.start)
    rig.parts["inference"].stop()
    job_id = await submit(client)
    lines: list[wire.Line] = []

    async def open_some(number: int) -> None:
        for _ in range(number):
            line = await wire.get(port, f"/v1/jobs/{job_id}/stream", key)
            lines.append(line)

    try:
        await asyncio.gather(*(open_some((count + 500) // 50) for _ in range(50)))
        statuses = Counter(line.status for line in lines)
        assert statuses == {200: 500, 429: len(lines) - 500}
        refused = [line for line in lines if line.status == 429]
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", headers=client.headers, trust_env=False
        ) as there:
            assert (await there.get("/health/live")).status_code == 200
            second = await submit(there)
            assert await streams_open(there) == 500
            rig.parts["inference"].cont()
            seated = [line for line in lines if line.status == 200]
            async with asyncio.timeout(60):
                told = await asyncio.gather(*(_collect(line) for line in seated))
            assert len({tuple(numbers) for numbers in told}) == 1
            assert (await Reader(second).follow(there)).ended
        REPORT.append(
            f"too many streams: {len(seated)} seated, {len(refused)} refused and held open"
        )
    finally:
        for line in lines:
            line.writer.transport.abort()
        part.kill()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
