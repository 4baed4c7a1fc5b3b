"""The stream of a batch's finished lines: complete, in order, resumable from any number."""

import asyncio
import json
from typing import Any

import httpx
from openai import AsyncOpenAI

from tests import asking
from tests.api.openai.batching import begin, content, ended, line


async def read(
    client: httpx.AsyncClient, batch_id: str, after: int = 0, *, stop_at: int | None = None
) -> tuple[list[tuple[int, dict[str, Any]]], list[str]]:
    """(number, line) of each line, and the names of all events; up to the end or the line `stop_at`."""
    lines, names = [], []
    name, number = "", 0
    headers = {"last-event-id": str(after)} if after else {}
    async with client.stream("GET", f"/v1/batches/{batch_id}/stream", headers=headers) as answer:
        assert answer.status_code == 200
        async for text in answer.aiter_lines():
            field, _, value = text.partition(": ")
            match field:
                case "id":
                    number = int(value)
                case "event":
                    name = value
                    names.append(name)
                case "data" if name == "line":
                    lines.append((number, json.loads(value)))
                    if number == stop_at:
                        break
    return lines, names


async def test_every_line_comes_once_in_order_and_the_end_comes_last(
    ai: AsyncOpenAI, client: httpx.AsyncClient
) -> None:
    batch = await begin(ai, [line(f"r{i}", max_tokens=1 + i % 7) for i in range(150)])
    lines, names = await read(client, batch.id)
    assert [number for number, _ in lines] == list(range(1, 151))
    assert names[-1] == "batch.completed"
    assert "progress" in names
    done = await ended(ai, batch.id)
    written = {one["custom_id"]: one for one in await content(ai, done.output_file_id)}
    assert {one["custom_id"]: one for _, one in lines} == written


async def test_a_reader_goes_on_from_any_number(ai: AsyncOpenAI, client: httpx.AsyncClient) -> None:
    batch = await begin(ai, [line(f"r{i}", max_tokens=20) for i in range(120)])
    first, _ = await read(client, batch.id, stop_at=31)
    rest, names = await read(client, batch.id, after=31)
    assert [n for n, _ in (*first, *rest)] == list(range(1, 121))
    assert names[-1] == "batch.completed"
    # After the end as well, and with nothing left the end alone.
    assert [n for n, _ in (await read(client, batch.id, after=118))[0]] == [119, 120]
    assert await read(client, batch.id, after=120) == ([], ["progress", "batch.completed"])
    asking.error(await client.get(f"/v1/batches/{batch.id}/stream?after=121"), 400, "after")


async def test_failed_lines_are_in_the_stream(ai: AsyncOpenAI, client: httpx.AsyncClient) -> None:
    batch = await begin(ai, [line("good"), line("bad", temperature=9)])
    lines, _ = await read(client, batch.id)
    status = {one["custom_id"]: one["response"]["status_code"] for _, one in lines}
    assert status == {"good": 200, "bad": 400}


async def test_many_readers_see_the_same(ai: AsyncOpenAI, client: httpx.AsyncClient) -> None:
    batch = await begin(ai, [line(f"r{i}", max_tokens=10) for i in range(100)])
    seen = await asyncio.gather(*(read(client, batch.id) for _ in range(8)))
    assert all(lines == seen[0][0] for lines, _ in seen)
    assert len(seen[0][0]) == 100


async def test_counts_and_the_time_left_are_told_while_it_runs(
    ai: AsyncOpenAI, client: httpx.AsyncClient
) -> None:
    batch = await begin(ai, [line(f"r{i}", ignore_eos=True, max_tokens=60) for i in range(400)])
    await read(client, batch.id, stop_at=40)
    now = (await client.get(f"/v1/batches/{batch.id}")).json()
    assert now["status"] == "in_progress"
    assert 40 <= now["request_counts"]["completed"] <= 400
    assert now["progress"]["lines_per_s"] > 0
    left = 400 - now["request_counts"]["completed"]
    assert abs(now["progress"]["eta_s"] - left / now["progress"]["lines_per_s"]) < 1
    await client.post(f"/v1/batches/{batch.id}/cancel")
    _, names = await read(client, batch.id, after=40)
    assert names[-1] == "batch.cancelled"
