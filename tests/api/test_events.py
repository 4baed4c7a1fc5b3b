"""A job's numbered events: the same by page and by stream, from any number, live and long after."""

import asyncio
import json
from typing import Any

import httpx

from core.events.log import EventLog, fence_key, stream_key
from core.ids import new_id
from tests import asking
from tests.asking import JOBS, LONG
from tests.reader import TERMINAL, Reader
from tests.rig import Rig
from tests.waiting import eventually

Client = httpx.AsyncClient


async def _events(client: Client, job_id: str, **query: int) -> dict[str, Any]:
    answer = await client.get(f"{JOBS}/{job_id}/events", params=query)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


async def _whole(client: Client, job_id: str) -> list[dict[str, Any]]:
    """Every event of a job that has ended, once its last deltas are in Redis: its end is in Postgres a moment before,
    a longer one on a busy machine, and who asks in that moment is given a snapshot in their place."""

    async def told() -> list[dict[str, Any]]:
        log: list[dict[str, Any]] = (await _events(client, job_id, limit=1000))["data"]
        live = log[-1]["type"] in TERMINAL and all(e["type"] != "snapshot" for e in log)
        return log if live else []

    whole = await eventually(told, "the last deltas in Redis")
    assert [e["seq"] for e in whole] == list(range(1, len(whole) + 1))
    return whole


async def _forget(log: EventLog, job_id: str) -> None:
    """Have Redis lose this job, as a restart does."""
    await log.redis.delete(stream_key(job_id), fence_key(job_id))


async def test_the_events_tell_the_whole_life(client: Client) -> None:
    job = await asking.run(client, max_tokens=40)
    told = await _whole(client, job["id"])
    types = [e["type"] for e in told]
    assert types[:2] == ["job.queued", "job.started"]
    assert types[-1] == "job.succeeded"
    assert set(types[2:-1]) == {"output.delta"}
    assert {e["job_id"] for e in told} == {job["id"]}
    for event in told:
        assert set(event) == {"seq", "type", "job_id", "attempt", "at", "data"}
    said = "".join(e["data"]["text"] for e in told if e["type"] == "output.delta")
    assert said == job["result"]["text"]
    assert told[-1]["data"]["usage"] == job["usage"]
    # What only the next attempt may see stays inside.
    for event in told[2:-1]:
        assert set(event["data"]) == {"text", "tokens"}
    assert sum(e["data"]["tokens"] for e in told[2:-1]) == 40


async def test_pages_of_any_size_join_to_the_same_log(client: Client) -> None:
    job = await asking.run(client, max_tokens=60)
    whole = await _whole(client, job["id"])
    for limit in (1, 2, 7, len(whole)):
        seen: list[dict[str, Any]] = []
        more = True
        while more:
            page = await _events(
                client, job["id"], after=seen[-1]["seq"] if seen else 0, limit=limit
            )
            assert len(page["data"]) <= limit
            seen, more = seen + page["data"], page["has_more"]
        assert seen == whole
    assert (await _events(client, job["id"], after=whole[-1]["seq"]))["data"] == []
    assert (await _events(client, job["id"], after=10**6))["data"] == []
    for field, value in (("after", "-1"), ("after", "x"), ("limit", "0"), ("limit", "1001")):
        answer = await client.get(f"{JOBS}/{job['id']}/events", params={field: value})
        asking.error(answer, 422, field)


async def test_a_stream_is_live_and_ends_with_the_job(client: Client) -> None:
    job = await asking.submit(client, max_tokens=200)
    url = f"{JOBS}/{job['id']}/stream"
    async with client.stream("GET", url) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-cache"
        reader, states = Reader(job["id"]), set()
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                reader.take(json.loads(line.removeprefix("data: ")))
                if len(reader.events) == 5:
                    states.add((await asking.get(client, job["id"]))["state"])
    assert states == {"running"}, "the fifth event was read while the job ran"
    ended = await asking.get(client, job["id"])
    assert reader.text == ended["result"]["text"]
    reader.agrees(await _whole(client, job["id"]))


async def test_a_stream_resumes_from_every_number(client: Client) -> None:
    job = await asking.run(client, max_tokens=30)
    whole = await _whole(client, job["id"])

    async def rest(cursor: int, by_header: bool) -> list[dict[str, Any]]:
        if by_header:
            reader = Reader(job["id"], whole[:cursor])
            await reader.connect(client)
            return reader.events
        answer = await client.get(f"{JOBS}/{job['id']}/stream", params={"after": cursor})
        lines = [x for x in answer.text.splitlines() if x.startswith("data: ")]
        return whole[:cursor] + [json.loads(x.removeprefix("data: ")) for x in lines]

    for cursor in range(len(whole)):
        assert await rest(cursor, True) == whole
        assert await rest(cursor, False) == whole


async def test_the_last_number_says_that_nothing_more_comes(client: Client) -> None:
    job = await asking.run(client)
    last = (await _events(client, job["id"]))["data"][-1]["seq"]
    url = f"{JOBS}/{job['id']}/stream"
    # 204 is how an EventSource is told to stop reconnecting.
    assert (await client.get(url, headers={"last-event-id": str(last)})).status_code == 204
    for number in (last + 1, 10**8):
        answer = await client.get(url, headers={"last-event-id": str(number)})
        assert str(last) in asking.error(answer, 422, "Last-Event-ID")["message"]
    for bad in ("x", "-1", "1.5", "9" * 30):
        answer = await client.get(url, headers={"last-event-id": bad})
        asking.error(answer, 422, "Last-Event-ID")
    asking.error(await client.get(url, params={"after": last + 1}), 422, "after")


async def test_without_redis_a_finished_job_is_read_from_every_number(
    client: Client, log: EventLog
) -> None:
    job = await asking.run(client, max_tokens=40)
    whole = await _whole(client, job["id"])
    await _forget(log, job["id"])
    for cursor in range(len(whole)):
        reader = Reader(job["id"], whole[:cursor])
        await reader.connect(client)
        # In place of what is lost, one snapshot: the text is whole again, the numbers still rise.
        assert reader.text == job["result"]["text"]
        assert reader.events[-1] == whole[-1]
        assert reader.snapshots <= 1
    first = await _events(client, job["id"], limit=1000)
    assert [e["type"] for e in first["data"]][:2] == ["job.queued", "job.started"]
    assert not first["has_more"]


async def test_a_reader_that_comes_while_redis_forgets_still_gets_all(
    client: Client, log: EventLog
) -> None:
    job = await asking.submit(client, max_tokens=LONG)
    early = Reader(job["id"])
    following = asyncio.create_task(early.follow(client))

    async def speaking() -> bool:
        return len(early.events) > 10

    await eventually(speaking, "ten events")
    await _forget(log, job["id"])
    late = Reader(job["id"])
    await asyncio.gather(following, late.follow(client))
    ended = await asking.get(client, job["id"])
    assert ended["state"] == "succeeded"
    assert early.text == late.text == ended["result"]["text"]


async def test_many_readers_at_any_pace_see_the_same(client: Client) -> None:
    job = await asking.submit(client, max_tokens=500)
    readers = [Reader(job["id"]) for _ in range(40)]

    async def hasty(reader: Reader) -> None:
        """Hangs up after a few events, again and again."""
        while not reader.ended:
            before = len(reader.events)
            headers = {"last-event-id": str(reader.cursor)} if before else {}
            url = f"{JOBS}/{job['id']}/stream"
            async with client.stream("GET", url, headers=headers) as response:
                async for line in response.aiter_lines():
                    if line.startswith("data: "):
                        reader.take(json.loads(line.removeprefix("data: ")))
                        if len(reader.events) >= before + 7:
                            break
            reader.reconnects += 1

    await asyncio.gather(
        *(r.follow(client) for r in readers[:35]), *(hasty(r) for r in readers[35:])
    )
    whole = await _whole(client, job["id"])
    for reader in readers:
        reader.agrees(whole)
    print(f"{len(readers)} readers of {len(whole)} events; "
          f"{sum(r.reconnects for r in readers[35:])} hang-ups, "
          f"{sum(r.snapshots for r in readers)} snapshots")  # fmt: skip


async def test_a_silent_job_sends_signs_of_life(workerless: Rig) -> None:
    async with workerless.client(await workerless.key(new_id("t"))) as client:
        job = await asking.submit(client)
        signs = 0
        async with client.stream("GET", f"{JOBS}/{job['id']}/stream") as response:
            async for line in response.aiter_lines():
                signs += line.startswith(":")
                if signs == 3:
                    break


async def test_more_streams_than_seats_are_told_when_to_come_back(workerless: Rig) -> None:
    async with (
        workerless.client(await workerless.key(new_id("t"))) as one,
        workerless.client(await workerless.key(new_id("t"))) as other,
    ):
        job, theirs = await asking.submit(one), await asking.submit(other)

        async def hold(client: Client, job_id: str, go: asyncio.Event) -> int:
            async with client.stream("GET", f"{JOBS}/{job_id}/stream") as response:
                if response.status_code == 200:
                    await go.wait()
                    return 200
                await response.aread()
                assert asking.error(response, 429)["code"] == "too_many_streams"
                assert int(response.headers["retry-after"]) > 0
                return response.status_code

        go = asyncio.Event()
        mine = [asyncio.create_task(hold(one, job["id"], go)) for _ in range(6)]

        async def refused() -> bool:
            return sum(t.done() for t in mine) == 3

        # Three for a tenant, four for all: the other tenant still finds one.
        await eventually(refused, "three of six to be refused")
        hers = [asyncio.create_task(hold(other, theirs["id"], go)) for _ in range(3)]

        async def hers_refused() -> bool:
            return sum(t.done() for t in hers) == 2

        await eventually(hers_refused, "two of three to be refused")
        # Polling needs no seat.
        assert (await _events(one, job["id"]))["data"][0]["type"] == "job.queued"
        go.set()
        assert sorted(await asyncio.gather(*mine)) == [200] * 3 + [429] * 3
        await asyncio.gather(*hers)

        async def free() -> bool:
            fresh = asyncio.Event()
            fresh.set()
            return await hold(one, job["id"], fresh) == 200

        await eventually(free, "the seats of those who left")
