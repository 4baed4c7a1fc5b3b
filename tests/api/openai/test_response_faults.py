"""A background response followed through a killed API process, a killed worker and an emptied Redis."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import httpx2
import openai
import pytest
from openai import AsyncOpenAI, DefaultAsyncHttpxClient
from redis.asyncio import Redis

from core.events.log import connect
from core.ids import new_id
from tests.api.openai.test_responses import events
from tests.rig import Rig

PATH = "/v1/responses"
ASKED: dict[str, Any] = {
    "model": "rill",
    "input": "The river",
    "max_output_tokens": 400,
    "background": True,
}


async def some(
    client: httpx.AsyncClient, response_id: str, after: int, enough: Callable[[int], bool]
) -> list[dict[str, Any]]:
    """Events above `after`, until their number is enough or the stream ends."""
    found: list[dict[str, Any]] = []
    query = {"stream": "true"} | ({"starting_after": str(after)} if after >= 0 else {})
    async with client.stream("GET", f"{PATH}/{response_id}", params=query) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                found.append(json.loads(line[6:]))
                if enough(found[-1]["sequence_number"]):
                    break
    return found


async def emptied(rig: Rig) -> None:
    redis: Redis = connect(rig.settings())
    await redis.flushall()
    await redis.aclose()


async def api_killed(rig: Rig) -> None:
    api = rig.process("api")
    await asyncio.to_thread(api.kill)
    await asyncio.to_thread(api.start, 60)


async def worker_killed(rig: Rig) -> None:
    worker = rig.process("inference")
    await asyncio.to_thread(worker.kill)
    await asyncio.to_thread(worker.start, 60)


async def cut_off(rig: Rig, ai: AsyncOpenAI, seen: list[Any]) -> None:
    """Create a stream and kill the process that sends it."""
    async for event in await ai.responses.create(**ASKED, stream=True):
        seen.append(event)
        if len(seen) == 40:
            await asyncio.to_thread(rig.process("api").kill)


@pytest.mark.fault
async def test_openais_client_goes_on_where_a_killed_api_cut_its_stream(fragile: Rig) -> None:
    """Created as a stream in the background, the process that sends it killed, resumed from another."""
    ai = AsyncOpenAI(
        base_url=f"{fragile.base_url}/v1",
        api_key=await fragile.key(new_id("t")),
        http_client=DefaultAsyncHttpxClient(trust_env=False, timeout=60),
    )
    seen: list[Any] = []
    async with ai:
        with pytest.raises((openai.APIError, httpx2.HTTPError)):
            await cut_off(fragile, ai, seen)
        cursor, response_id = seen[-1].sequence_number, seen[0].response.id
        await asyncio.to_thread(fragile.process("api").start, 60)
        again = await ai.responses.retrieve(response_id, stream=True, starting_after=cursor)
        seen += [event async for event in again]
        whole = [e async for e in await ai.responses.retrieve(response_id, stream=True)]
    assert [e.sequence_number for e in seen] == list(range(len(seen)))
    final = seen[-1]
    assert final.type == "response.incomplete"
    said = "".join(e.delta for e in seen if e.type == "response.output_text.delta")
    assert said == final.response.output_text
    assert [e.to_dict() for e in whole] == [e.to_dict() for e in seen]


@pytest.mark.fault
@pytest.mark.parametrize("fault", [api_killed, emptied, worker_killed], ids=lambda f: f.__name__)
async def test_a_stream_goes_on_after_its_cursor(fragile: Rig, fault: Any) -> None:
    async with fragile.client(await fragile.key(new_id("t"))) as client:
        made = (await client.post(PATH, json=ASKED)).json()
        before = await some(client, made["id"], -1, lambda number: number > 30)
        await fault(fragile)
        after = await some(client, made["id"], before[-1]["sequence_number"], lambda _: False)
        seen = before + after
        assert [e["sequence_number"] for e in seen] == list(range(len(seen)))
        final = seen[-1]["response"]
        assert seen[-1]["type"] == "response.incomplete"
        said = "".join(e["delta"] for e in seen if e["type"] == "response.output_text.delta")
        assert said == final["output"][0]["content"][0]["text"]
        assert final["usage"]["output_tokens"] == ASKED["max_output_tokens"]
        # With the live log gone, Postgres tells the same events under the same numbers.
        await emptied(fragile)
        assert await events(client, made["id"]) == seen
        assert await events(client, made["id"], 57) == seen[58:]
