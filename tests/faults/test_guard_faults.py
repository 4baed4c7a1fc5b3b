"""A worker killed in the middle of what is not to be said: nobody hears a part of it, the next one says the rest."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from core.events.log import EventLog, connect
from core.ids import new_id
from tests.asking import ended, submit
from tests.rig import Rig

pytestmark = pytest.mark.fault

# Kills its worker once a job, after five tokens.
SPEC: dict[str, Any] = {"prompt": "[die once] beside the river", "max_tokens": 12, "temperature": 0}


async def _run(rig: Rig, client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    job = await submit(client, **(SPEC | fields))
    worker = rig.process("inference")
    assert await asyncio.to_thread(worker.wait, 60), "the worker was to be killed"
    await asyncio.to_thread(worker.start)
    return await ended(client, job["id"], timeout_s=60)


@pytest.mark.parametrize(
    "more",
    [{}, {"logprobs": 1}, {"seed": 3, "temperature": 1.0}, {"n": 2, "seed": 1, "temperature": 1.0}],
)
async def test_the_second_attempt_says_what_the_first_would_have(
    rig: Rig, more: dict[str, Any]
) -> None:
    async with rig.client(await rig.key(new_id("t"))) as client:
        plain = (await _run(rig, client, **more))["result"]["text"]
        words = plain.split()
        # Begun before the fifth token and over behind it.
        term = " ".join(words[3:7])
        settings = {"mode": "enforce", "lexicons": [{"category": "term", "terms": [term]}]}
        (await client.put("/v1/guard", json=settings)).raise_for_status()
        job = await _run(rig, client, **more)
        assert job["attempt"] == 2
        assert job["result"]["text"] == plain.replace(term, "[term]")
        told = (await client.get(f"/v1/jobs/{job['id']}/events")).json()["data"]
        assert term not in json.dumps(told)
    # What readers may see of the log; the private half of an entry is for attempts.
    redis = connect(rig.settings())
    log = EventLog(redis, rig.settings())
    said: dict[int, str] = {}
    for entry in await log.read(job["id"], 0):
        data = json.loads(entry.event.body)["data"]
        index = data.get("index", 0)
        said[index] = said.get(index, "") + data.get("text", "")
        assert not data.keys() & {"raw", "done", "pending"}
    await redis.aclose()
    # Killed behind the term's second word: no part of it is there, in any attempt's words.
    assert said[0] == plain.replace(term, "[term]")
