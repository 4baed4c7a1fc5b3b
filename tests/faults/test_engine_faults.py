"""Engines that hang or die under their jobs, and the real engine's worker killed in the middle of a load."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from core.db.session import Database
from tests.faults import load as loads
from tests.faults.conftest import ENV
from tests.faults.invariants import check, ended
from tests.faults.load import Load
from tests.rig import Rig
from tests.waiting import eventually

pytestmark = pytest.mark.fault

JOBS = 200


@pytest.mark.parametrize("how", ["hang", "crash"])
async def test_a_job_survives_the_engine_it_loses(
    rig: Rig, client: httpx.AsyncClient, load: Load, how: str
) -> None:
    """The engine stops yielding, or says it is dead: its worker gives the jobs back and ends with 1,
    and the next one continues them. No attempt is charged twice for it."""
    worker = rig.process("inference")
    # Long enough to be still there when the engine goes, so that they are given back with it.
    await loads.submit(load, client, 6, max_tokens=400, stop=[], follow_every=2)
    [hurt] = await loads.submit(
        load, client, 1, max_tokens=40, prompt=f"[{how} once] The river", stop=[], follow_every=1
    )
    assert await asyncio.to_thread(worker.wait, 60), f"the worker lives on after a {how}"
    assert worker.exited() == 1, worker.tail()
    load.kills += 1
    await asyncio.to_thread(worker.start)
    counts = await check(rig, load, client)
    job = (await client.get(f"/v1/jobs/{hurt}")).json()
    assert (job["state"], job["attempt"]) == ("succeeded", 2)
    assert not counts.requeues.keys() - {"retry"}, counts.requeues
    assert max(counts.requeues.values()) <= len(load.bodies)


async def test_an_unknown_error_is_tried_once_more(
    rig: Rig, client: httpx.AsyncClient, load: Load
) -> None:
    """Twice the same: failed, with a short reason and without the traceback. The worker lives on."""
    # A stop string might end the second attempt before it gets to its error.
    fixed: dict[str, Any] = {"max_tokens": 20, "stop": []}
    [once] = await loads.submit(load, client, 1, prompt="[error once] The river", **fixed)
    [always] = await loads.submit(load, client, 1, prompt="[error] The river", **fixed)
    await check(rig, load, client, ends=("succeeded", "failed"))
    assert (await client.get(f"/v1/jobs/{once}")).json()["state"] == "succeeded"
    job = (await client.get(f"/v1/jobs/{always}")).json()
    assert (job["state"], job["attempt"], job["error"]["code"]) == ("failed", 2, "internal_error")
    assert "scripted" not in str(job)
    assert rig.process("inference").exited() is None


@pytest.fixture
async def vllm(shared_rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    """A rig of its own on the real engine; the shared one rests meanwhile, two cores are few."""
    for part in shared_rig.parts.values():
        part.kill()
    env = ENV | {
        "PENSTOCK_ENGINE": "vllm",
        "PENSTOCK_ENGINE_DTYPE": "float32",
        # One lease survives a slow step of a busy machine.
        "PENSTOCK_INFERENCE_LEASE_S": "6",
        "PENSTOCK_STALL_S": "30",
        "PENSTOCK_ENGINE_MAX_SEQUENCES": "64",
    }
    made = Rig(tmp_path_factory.mktemp("vllm"), env)
    try:
        await asyncio.to_thread(made.start_stack)
        await asyncio.to_thread(made.start, "api", "control", "inference")
        yield made
    finally:
        made.end()


async def answers(client: httpx.AsyncClient, load: Load) -> dict[str, tuple[str, str, int]]:
    """Of every job, by its number: text, why it ended, tokens charged."""
    out = {}
    for job_id, made in load.bodies.items():
        job: Any = (await client.get(f"/v1/jobs/{job_id}")).json()
        spent = job["usage"]["completion_tokens"]
        assert 1 <= spent <= made["max_tokens"]
        result = job["result"]
        out[made["metadata"]["number"]] = (result["text"], result["finish_reason"], spent)
    return out


@pytest.mark.engine
async def test_greedy_texts_are_those_of_an_undisturbed_run(vllm: Rig) -> None:
    """The same prompts twice on the real engine; in the second run its worker is killed in the middle."""
    calm = loads.begin("greedy_undisturbed", vllm.settings())
    # The same seed, so the same bodies.
    rough = loads.Load("greedy_killed", calm.settings, calm.seed, random.Random(calm.seed))
    kill_at = random.Random(calm.seed).randint(10, JOBS // 2)
    db = Database(vllm.settings(), name="test", pool=2)
    worker = vllm.process("inference")

    async def reached() -> bool:
        async with db.begin() as session:
            done = "SELECT count(*) FROM jobs WHERE state = 'succeeded' AND id = ANY(:ids)"
            return bool(await session.scalar(text(done), {"ids": rough.ids}) >= kill_at)

    texts = []
    for load in (calm, rough):
        async with vllm.client(await vllm.key(load.name)) as client:
            sending = asyncio.create_task(
                loads.submit(load, client, JOBS, at_once=4, follow_every=8)
            )
            if load is rough:
                await eventually(reached, f"{kill_at} jobs have ended", 120)
                await asyncio.to_thread(worker.kill)
                load.kills += 1
                await asyncio.to_thread(worker.start, 120)
            await sending
            await ended(db, load.ids, 120)
            await check(vllm, load, client, oracle=False)
            texts.append(await answers(client, load))
    await db.close()
    assert texts[0] == texts[1]
