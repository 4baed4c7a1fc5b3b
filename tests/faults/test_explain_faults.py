"""An explanation while its worker is killed: the same words, every question answered once, one story, one charge."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from core.ids import new_id
from tests.asking import JOBS, ended
from tests.faults.invariants import REPORT, no_orphans
from tests.faults.load import Load
from tests.reader import Reader
from tests.rig import Rig
from tests.waiting import eventually

pytestmark = pytest.mark.fault

SPEC = {
    "kind": "explain", "prompt": " ".join(f"The nurse number {n} closed a door." for n in range(5)),
    "target": " she", "contrast": " he", "swaps": [["nurse", "engineer"]], "priority": "batch", "unit": "word",
}  # fmt: skip


@pytest.fixture
async def slow(rig: Rig) -> AsyncIterator[None]:
    """A worker whose engine takes 0.2 s for a token, so that an explanation takes seconds."""
    part = rig.parts["inference"]
    before = part.env["PENSTOCK_SCRIPTED_TOKEN_S"]
    for value in ("0.2", before):
        part.env["PENSTOCK_SCRIPTED_TOKEN_S"] = value
        await asyncio.to_thread(part.kill)
        await asyncio.to_thread(part.start)
        if value != before:
            yield


@pytest.fixture
async def client(rig: Rig) -> AsyncIterator[httpx.AsyncClient]:
    async with rig.client(await rig.key(new_id("t"))) as opened:
        yield opened


async def scored(client: httpx.AsyncClient, job_id: str) -> None:
    """Wait until some of its questions are answered, and not all."""

    async def there() -> bool:
        answer = await client.get(f"{JOBS}/{job_id}/events", params={"limit": 1000})
        told = [event["data"] for event in answer.json()["data"] if event["type"] == "progress"]
        return any(one.get("scores") for one in told)

    await eventually(there, f"{job_id} has scores")


async def explained(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.post(JOBS, json=SPEC)
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    return job


async def test_a_killed_worker_changes_no_word_of_an_explanation(
    rig: Rig, load: Load, slow: None, client: httpx.AsyncClient
) -> None:
    calm = await ended(client, (await explained(client))["id"], timeout_s=60)
    assert calm["state"] == "succeeded", calm["error"]
    job = await explained(client)
    reader = asyncio.create_task(Reader(job["id"]).follow(client, 120))
    await scored(client, job["id"])
    await asyncio.to_thread(rig.parts["inference"].kill)
    await asyncio.to_thread(rig.parts["inference"].start)
    done = await ended(client, job["id"], timeout_s=60)
    assert done["state"] == "succeeded", done["error"]
    assert done["attempt"] == 2
    assert done["result"] == calm["result"]
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    # What was in flight was asked twice, and is charged once: it had not been told.
    assert {n: done["usage"][n] for n in names} == {n: calm["usage"][n] for n in names}
    told = (await reader).events
    assert told[-1]["data"]["usage"] == done["usage"]
    keys = [key for event in told for key in event["data"].get("scores", ())]
    assert len(keys) == len(set(keys))
    no_orphans(rig)
    REPORT.append(
        f"explanation: {len(keys)} questions, worker killed, {done['attempt']} attempts; result and tokens equal an "
        "undisturbed run's"
    )
