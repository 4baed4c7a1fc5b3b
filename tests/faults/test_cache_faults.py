"""Answers from the cache while processes are killed and Redis forgets: each job once, whole, with one end."""

import asyncio
import random
from typing import Any

import httpx
import pytest

from core.db.session import Database
from core.events.log import connect
from core.ids import new_id
from tests import asking
from tests.api.test_caches import story
from tests.faults.invariants import one_story
from tests.reader import Reader
from tests.rig import Rig

pytestmark = pytest.mark.fault
JOBS = 120
ASKED: dict[str, Any] = {
    "kind": "inference", "prompt": "The river", "max_tokens": 12, "temperature": 0.0,
    "cache": {"mode": "exact"},
}  # fmt: skip


async def submitted(client: httpx.AsyncClient, number: int) -> dict[str, Any]:
    """Sent again under the same key until it is answered, as a client does whose connection broke."""
    key = {"idempotency-key": f"hit-{number}"}
    while True:
        try:
            answer = await client.post(asking.JOBS, json=ASKED, headers=key)
        except httpx.TransportError:
            await asyncio.sleep(0.05)  # the API is being started again
            continue
        assert answer.status_code == 202, answer.text
        job: dict[str, Any] = answer.json()
        return job


async def test_an_api_killed_while_it_answers_from_the_cache_makes_each_job_once(rig: Rig) -> None:
    rng, seats = random.Random(7), asyncio.Semaphore(4)
    db = Database(rig.settings(), name="test", pool=2)
    redis = connect(rig.settings())
    async with rig.client(await rig.key(new_id("t"))) as client:
        first = await asking.ended(client, (await submitted(client, 0))["id"])

        async def one(number: int) -> dict[str, Any]:
            async with seats:
                return await submitted(client, number)

        storm = [asyncio.create_task(one(number)) for number in range(1, JOBS)]
        for kill in range(3):
            await asyncio.sleep(rng.uniform(0.02, 0.2))  # the moment of the kill is random
            await asyncio.to_thread(rig.parts["api"].kill)
            if kill == 1:
                await redis.flushall()
            await asyncio.to_thread(rig.parts["api"].start)
        jobs = await asyncio.gather(*storm)
        assert len({job["id"] for job in jobs}) == JOBS - 1
        ended = [await asking.ended(client, job["id"]) for job in jobs]
        found = [job for job in ended if job["cache"] is not None]
        assert found, "nothing was answered from the cache"
        for job in ended:
            assert (job["state"], job["result"]) == ("succeeded", first["result"])
            one_story(*await story(db, job["id"]))
        for job in found[::10]:
            reader = Reader(job["id"])
            await reader.connect(client)
            assert reader.text == first["result"]["text"]
            assert job["usage"] == first["usage"] | {"cache": "exact", "engine_seconds": 0}
    await redis.aclose()
    await db.close()
