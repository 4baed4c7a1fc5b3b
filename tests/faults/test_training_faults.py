"""The real trainer under kill -9, its rank and its worker: the loss curve and the weights of a quiet run."""

import os
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import psutil
import pytest

from core.ids import new_id
from tests.asking import ended, get
from tests.rig import ROOT, Rig, running
from tests.training import events, jsonl, submitted, uploaded
from tests.waiting import eventually

pytestmark = pytest.mark.fault
STEPS = 24
DATA = (ROOT / "tests" / "data" / "finetune_small.jsonl").read_bytes()


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    env = {"PENSTOCK_TRAINER": "workers.trainer", "OMP_NUM_THREADS": "1"}
    with running(
        tmp_path_factory.mktemp("training"), env, "api", "control", "inference", "finetune"
    ) as made:
        yield made


@pytest.fixture
async def client(real: Rig) -> AsyncIterator[httpx.AsyncClient]:
    async with real.client(await real.key(new_id("t"))) as opened:
        yield opened


async def submit(client: httpx.AsyncClient) -> str:
    hyper = {"checkpoint_every": 6, "lora_dropout": 0.1, "batch_size": 4, "eval_every": 6}
    return await submitted(
        client, await uploaded(client, DATA), STEPS, hyper=hyper, validation_share=0.2
    )


async def stepped(client: httpx.AsyncClient, job_id: str, step: int) -> None:
    async def there() -> bool:
        result = (await get(client, job_id))["result"] or {}
        log = await events(client, job_id)
        told = [e["data"]["step"] for e in log if e["type"] == "metrics"]
        return bool(result is not None and told and max(told) >= step)

    await eventually(there, f"step {step}", timeout_s=120)


def trainer_of(rig: Rig) -> int:
    worker = psutil.Process(rig.parts["finetune"].pid)
    ranks = [
        p for p in worker.children(recursive=True) if "workers.trainer" in " ".join(p.cmdline())
    ]
    return int(ranks[-1].pid)


def curve(log: list[dict[str, Any]], name: str) -> list[tuple[int, float]]:
    return [(e["data"]["step"], e["data"][name]) for e in log if name in e["data"]]


async def test_kills_change_neither_the_curve_nor_the_weights(
    client: httpx.AsyncClient, real: Rig
) -> None:
    quiet = await ended(client, await submit(client), timeout_s=200)
    assert quiet["state"] == "succeeded", quiet["error"]
    job_id = await submit(client)
    await stepped(client, job_id, 8)
    os.kill(trainer_of(real), signal.SIGKILL)
    await stepped(client, job_id, 15)
    real.parts["finetune"].kill()
    real.start("finetune")
    killed = await ended(client, job_id, timeout_s=200)
    assert killed["state"] == "succeeded", killed["error"]
    assert killed["attempt"] >= 2
    undisturbed, log = await events(client, quiet["id"]), await events(client, job_id)
    assert [e["seq"] for e in log] == list(range(1, len(log) + 1))
    for name in ("loss", "valid_loss", "grad_norm"):
        before, after = curve(undisturbed, name), curve(log, name)
        assert [s for s, _ in before] == [s for s, _ in after], (
            f"{name}: no step twice, none missing"
        )
        for (step, was), (_, found) in zip(before, after, strict=True):
            assert found == pytest.approx(was, abs=1e-4), f"{name} of step {step}"
    models = {j["result"]["model"]: j["id"] for j in (quiet, killed)}
    listed = (await client.get("/v1/models")).json()["data"]
    digests = {m["digest"] for m in listed if m["id"] in models}
    assert len([m for m in listed if m["id"] in models]) == 2
    assert len(digests) == 1, "the same weights to the byte"


async def test_a_whole_model_is_trained_and_kept(client: httpx.AsyncClient) -> None:
    hyper = {"batch_size": 4, "checkpoint_every": 3}
    job_id = await submitted(
        client, await uploaded(client, DATA), 3, hyper=hyper, tuning="full", suffix="whole"
    )
    job = await ended(client, job_id, timeout_s=120)
    assert job["state"] == "succeeded", job["error"]
    version = (await client.get(f"/v1/models/{job['result']['model']}")).json()
    assert version["adapter"] is False
    assert version["lineage"]["tuning"] == "full"


async def test_a_model_learns_what_is_preferred(client: httpx.AsyncClient) -> None:
    rows = [
        {
            "input": {"messages": [{"role": "user", "content": f"Where is order {n}?"}]},
            "preferred_output": [{"role": "assistant", "content": f"Order {n} is on its way."}],
            "non_preferred_output": [{"role": "assistant", "content": "No idea."}],
        }
        for n in range(24)
    ]
    job_id = await submitted(
        client, await uploaded(client, jsonl(rows)), 4, hyper={"batch_size": 4}, kind_of="dpo"
    )
    job = await ended(client, job_id, timeout_s=120)
    assert job["state"] == "succeeded", job["error"]
    said = [e["data"] for e in await events(client, job_id) if e["type"] == "metrics"]
    assert any("rewards" in name for name in said[-1]), said[-1]
