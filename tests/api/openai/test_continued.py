"""An answer whose worker is killed: every choice of it goes on where it stopped, with its probabilities."""

import asyncio
from typing import Any

import httpx
import pytest

from core.ids import new_id
from tests.asking import JOBS, ended
from tests.reader import Reader
from tests.rig import Rig
from tests.waiting import eventually

SPEC: dict[str, Any] = {"kind": "inference", "prompt": "The river", "max_tokens": 300}


@pytest.mark.fault
@pytest.mark.parametrize(
    "fields",
    [
        {"n": 3, "logprobs": 1},
        # These walk their way again: the engine is told the tokens and says them once more.
        {"n": 2, "seed": 4, "temperature": 1.0},
        {"frequency_penalty": 0.5, "logprobs": 0, "prompt_logprobs": 0},
        {"structured": {"regex": "x" * 250}},
    ],
    ids=",".join,
)
async def test_every_answer_goes_on_where_it_stopped(fragile: Rig, fields: dict[str, Any]) -> None:
    worker = fragile.process("inference")
    async with fragile.client(await fragile.key(new_id("t"))) as client:
        calm = await ended(client, await _submit(client, fields))
        job_id = await _submit(client, fields)
        reader = Reader(job_id)
        reading = asyncio.create_task(reader.follow(client))

        async def half_said() -> bool:
            return len(reader.text) > 60

        await eventually(half_said, "some of the answer")
        await asyncio.to_thread(worker.kill)
        await asyncio.to_thread(worker.start, 60)
        await reading
        rough = await ended(client, job_id)
    assert rough["attempt"] == 2
    assert rough["state"] == "succeeded"
    assert rough["result"] == calm["result"]
    assert rough["usage"]["completion_tokens"] == calm["usage"]["completion_tokens"]
    for index, choice in enumerate(rough["result"].get("choices", [rough["result"]])):
        said = [
            event["data"]["text"]
            for event in reader.events
            if event["type"] == "output.delta" and event["data"].get("index", 0) == index
        ]
        assert "".join(said) == choice["text"]


@pytest.mark.fault
async def test_a_job_outlives_the_api_process_that_made_it(fragile: Rig) -> None:
    """It is cancelled by a client that leaves, not by a server that dies."""
    api = fragile.process("api")
    body = {"model": "rill", "prompt": "The mill", "max_tokens": 500, "stream": True}
    async with fragile.client(await fragile.key(new_id("t"))) as client:
        async with client.stream("POST", "/v1/completions", json=body) as answer:
            job_id = answer.headers["x-penstock-job"]
            await anext(answer.aiter_lines())
            await asyncio.to_thread(api.kill)
        await asyncio.to_thread(api.start, 60)
        job = await ended(client, job_id)
    assert (job["state"], job["usage"]["completion_tokens"]) == ("succeeded", 500)


async def _submit(client: httpx.AsyncClient, fields: dict[str, Any]) -> str:
    answer = await client.post(JOBS, json=SPEC | fields)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])
