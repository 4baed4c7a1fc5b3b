"""A fine-tune's life on a real worker with a scripted trainer: steps, checkpoints, pause, preemption, every bad end."""

import os
import signal
from pathlib import Path

import httpx
import pytest

from core.db.session import Database
from core.storage.place import storage_of
from core.training import service
from tests.asking import JOBS, ended, get, reached
from tests.fakes.trainer import loss
from tests.rig import Rig
from tests.training import events, jsonl, order, runs, submitted, uploaded
from tests.waiting import eventually, until
from workers import trainings

pytestmark = pytest.mark.usefixtures("trainer")
Client = httpx.AsyncClient


@pytest.fixture(autouse=True)
def fresh(rig: Rig) -> None:
    for name in ("trainer.json", "go", "go.waiting", "back", "back.waiting"):
        (rig.folder / name).unlink(missing_ok=True)


def steps_of(log: list[dict]) -> list[tuple[int, float]]:  # type: ignore[type-arg]
    return [(e["data"]["step"], e["data"]["loss"]) for e in log if e["type"] == "metrics"]


def go_on_once_asked(rig: Rig, job_id: str) -> None:
    """A worker hears of a wish within a second, and its trainer looks between two steps."""
    stop = f"*/{job_id}/train/stop"
    until(lambda: list((rig.folder / "training").glob(stop)), "the trainer is asked to save")
    (rig.folder / "go").touch()


UNDISTURBED = [(step, loss(7, step)) for step in range(1, 21)]


async def test_a_training_is_told_step_by_step_and_ends_as_a_version(client: Client) -> None:
    job_id = await submitted(client, await uploaded(client), suffix="teams")
    job = await ended(client, job_id)
    assert job["state"] == "succeeded", job
    result = job["result"]
    assert result["model"].startswith("ft:")
    assert ":teams:" in result["model"]
    assert (result["steps"], result["trained_tokens"]) == (20, 2000)
    assert job["usage"]["prompt_tokens"] == job["usage"]["total_tokens"] == 2000
    log = await events(client, job_id)
    assert [e["seq"] for e in log] == list(range(1, len(log) + 1))
    assert steps_of(log) == UNDISTURBED
    kept = [e["data"]["step"] for e in log if e["type"] == "checkpoint"]
    # One may be overtaken by the next while it waits to be copied.
    assert kept == sorted(set(kept) & {5, 10, 15, 20})
    assert kept[-1] == 20
    phases = [e["data"]["phase"] for e in log if e["type"] == "progress"]
    assert phases == ["validating", "preparing", "loading", "training", "registering"]


async def test_its_metrics_are_a_file(client: Client) -> None:
    job = await ended(client, await submitted(client, await uploaded(client)))
    (file_id,) = job["result"]["files"]
    about = (await client.get(f"/v1/files/{file_id}")).json()
    assert (about["purpose"], about["filename"]) == ("fine-tune-results", "step_metrics.csv")
    lines = (await client.get(f"/v1/files/{file_id}/content")).text.splitlines()
    assert [line.partition(",")[0] for line in lines[1:]] == [str(n) for n in range(1, 21)]


async def test_a_paused_training_saves_and_goes_on_where_it_was(client: Client, rig: Rig) -> None:
    order(rig, **{"await": {"8": "go"}, "once": True})
    before = len(runs(rig))
    job_id = await submitted(client, await uploaded(client))
    until((rig.folder / "go.waiting").exists, "step 8")
    assert (await client.post(f"{JOBS}/{job_id}/pause")).json()["state"] == "running"
    go_on_once_asked(rig, job_id)
    paused = await reached(client, job_id, "queued")
    assert paused["waiting_for"] == "paused"
    assert paused["result"]["metrics"]["step"] >= 8, "what is known is shown meanwhile"
    assert (await client.post(f"{JOBS}/{job_id}/resume")).status_code == 200
    job = await ended(client, job_id)
    assert (job["state"], job["attempt"]) == ("succeeded", 2)
    assert steps_of(await events(client, job_id)) == UNDISTURBED
    _, second = runs(rig)[before:]
    assert second["resume"], "it went on from a checkpoint"


async def test_a_queued_job_that_is_paused_waits_until_it_is_resumed(
    client: Client, rig: Rig
) -> None:
    order(rig, **{"await": {"1": "go"}, "once": True})
    file_id = await uploaded(client)
    first = await submitted(client, file_id)
    until((rig.folder / "go.waiting").exists, "the first to run")
    second = await submitted(client, file_id)
    assert (await client.post(f"{JOBS}/{second}/pause")).json()["state"] == "queued"
    again = await client.post(f"{JOBS}/{second}/pause")
    assert again.status_code == 200, "pausing twice is no error"
    third = await submitted(client, file_id)
    (rig.folder / "go").touch()
    assert (await ended(client, third))["state"] == "succeeded"
    assert (await get(client, second))["state"] == "queued", "a later one went by"
    await client.post(f"{JOBS}/{second}/resume")
    assert (await ended(client, second))["state"] == "succeeded"
    types = [e["type"] for e in await events(client, second)]
    assert types[:4] == ["job.queued", "job.paused", "job.resumed", "job.started"]
    assert (await ended(client, first))["state"] == "succeeded"


async def test_a_paused_job_can_be_cancelled(client: Client, rig: Rig) -> None:
    order(rig, **{"await": {"8": "go"}, "once": True})
    job_id = await submitted(client, await uploaded(client))
    until((rig.folder / "go.waiting").exists, "step 8")
    await client.post(f"{JOBS}/{job_id}/pause")
    go_on_once_asked(rig, job_id)
    await reached(client, job_id, "queued")
    assert (await client.post(f"{JOBS}/{job_id}/cancel")).json()["state"] == "cancelled"
    job = await get(client, job_id)
    assert job["result"]["checkpoint"]["step"] >= 5, "what there is of it is kept"
    assert job["usage"]["total_tokens"] == 100 * job["result"]["metrics"]["step"]


async def test_only_trainings_can_be_paused(client: Client) -> None:
    spec = {"kind": "inference", "prompt": "The river", "max_tokens": 5}
    job_id = (await client.post(JOBS, json=spec)).json()["id"]
    answer = await client.post(f"{JOBS}/{job_id}/pause")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "not_pausable")
    done = await ended(client, await submitted(client, await uploaded(client)))
    for verb in ("pause", "resume"):
        answer = await client.post(f"{JOBS}/{done['id']}/{verb}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "job_ended")
        assert (await client.post(f"{JOBS}/job_{'0' * 26}/{verb}")).status_code == 404


async def test_a_job_of_a_higher_priority_takes_the_slot(client: Client, rig: Rig) -> None:
    order(rig, **{"await": {"8": "go"}, "once": True})
    file_id = await uploaded(client)
    low = await submitted(client, file_id)
    until((rig.folder / "go.waiting").exists, "step 8")
    high = await submitted(client, file_id, priority="interactive")
    go_on_once_asked(rig, low)
    assert (await ended(client, high))["state"] == "succeeded"
    job = await ended(client, low)
    assert (job["state"], job["attempt"]) == ("succeeded", 2)
    log = await events(client, low)
    assert steps_of(log) == UNDISTURBED
    requeued = next(e for e in log if e["type"] == "job.requeued")
    assert requeued["data"]["reason"] == "preempted"


async def test_cancelling_ends_the_trainer_and_keeps_what_there_is(
    client: Client, rig: Rig
) -> None:
    order(rig, **{"await": {"8": "go"}, "once": True})
    job_id = await submitted(client, await uploaded(client))
    until((rig.folder / "go.waiting").exists, "step 8")
    pid = runs(rig)[-1]["pid"]

    async def kept() -> bool:
        return "checkpoint" in {e["type"] for e in await events(client, job_id)}

    await eventually(kept, "the checkpoint of step 5 to be kept")
    await client.post(f"{JOBS}/{job_id}/cancel")
    job = await ended(client, job_id)
    assert (job["state"], job["result"]["checkpoint"]["step"]) == ("cancelled", 5)
    until(lambda: not Path(f"/proc/{pid}").exists(), "the trainer is gone")
    until(lambda: not list((rig.folder / "training").glob(f"*/{job_id}")), "its folder is gone")


async def test_a_killed_trainer_goes_on_from_its_last_checkpoint(client: Client, rig: Rig) -> None:
    order(rig, die_at=13, once=True)
    before = len(runs(rig))
    job_id = await submitted(client, await uploaded(client))
    job = await ended(client, job_id)
    assert (job["state"], job["attempt"]) == ("succeeded", 2)
    log = await events(client, job_id)
    assert steps_of(log) == UNDISTURBED, "no step twice, none missing"
    assert runs(rig)[before + 1]["resume"].endswith("step-000010")


async def test_a_killed_worker_takes_its_trainer_along_and_another_goes_on(
    client: Client, rig: Rig
) -> None:
    order(rig, **{"await": {"13": "go"}, "once": True})
    job_id = await submitted(client, await uploaded(client))
    until((rig.folder / "go.waiting").exists, "step 13")
    pid = runs(rig)[-1]["pid"]
    rig.parts["finetune"].kill()
    until(lambda: not Path(f"/proc/{pid}").exists(), "the trainer died with its worker")
    rig.start("finetune")
    job = await ended(client, job_id)
    assert (job["state"], job["attempt"]) == ("succeeded", 2)
    assert steps_of(await events(client, job_id)) == UNDISTURBED


async def test_a_worker_that_is_told_to_stop_saves_first(client: Client, rig: Rig) -> None:
    order(rig, **{"await": {"8": "go"}, "once": True})
    before = len(runs(rig))
    job_id = await submitted(client, await uploaded(client))
    until((rig.folder / "go.waiting").exists, "step 8")
    os.kill(rig.parts["finetune"].pid, signal.SIGTERM)
    go_on_once_asked(rig, job_id)
    await reached(client, job_id, "queued")
    until(lambda: rig.parts["finetune"].exited() is not None, "the worker to end")
    rig.start("finetune")
    job = await ended(client, job_id)
    assert (job["state"], job["attempt"]) == ("succeeded", 2)
    assert steps_of(await events(client, job_id)) == UNDISTURBED
    assert int(runs(rig)[before + 1]["resume"][-6:]) >= 8


async def test_a_corrupt_checkpoint_is_passed_over(client: Client, rig: Rig, db: Database) -> None:
    order(rig, **{"await": {"13": "go"}, "once": True})
    before = len(runs(rig))
    job_id = await submitted(client, await uploaded(client))
    until((rig.folder / "go.waiting").exists, "step 13")

    async def two() -> bool:
        async with db.single() as session:
            return len(await service.usable(session, job_id)) == 2

    await eventually(two, "checkpoints 5 and 10 to be kept")
    async with db.single() as session:
        newest = (await service.usable(session, job_id))[0]
    file = newest.files[0]
    path = rig.folder / "files" / file["at"] / file["sha256"]
    path.write_bytes(b"\0" * 10)
    rig.parts["finetune"].kill()
    rig.start("finetune")
    job = await ended(client, job_id)
    assert job["state"] == "succeeded"
    assert runs(rig)[before + 1]["resume"].endswith("step-000005"), "the one before it"
    assert steps_of(await events(client, job_id)) == UNDISTURBED


async def test_a_store_that_is_away_for_a_while_costs_no_step(
    client: Client, rig: Rig, db: Database
) -> None:
    order(rig, **{"await": {"1": "go", "13": "back"}, "once": True})
    job_id = await submitted(client, await uploaded(client))
    until((rig.folder / "go.waiting").exists, "step 1")
    # Where its checkpoints would go there is a file.
    block = rig.folder / "files" / "checkpoints" / job_id
    block.parent.mkdir(exist_ok=True)
    block.touch()
    (rig.folder / "go").touch()
    until((rig.folder / "back.waiting").exists, "step 13")
    async with db.single() as session:
        assert not await service.usable(session, job_id)
    block.unlink()

    async def kept() -> bool:
        async with db.single() as session:
            return [c.step for c in await service.usable(session, job_id)] == [10]

    await eventually(kept, "the newest checkpoint to be copied once it can be")
    (rig.folder / "back").touch()
    job = await ended(client, job_id)
    assert (job["state"], job["attempt"]) == ("succeeded", 1)
    assert steps_of(await events(client, job_id)) == UNDISTURBED


async def test_a_loss_that_is_no_number_ends_it_with_advice(
    client: Client, rig: Rig, db: Database
) -> None:
    order(rig, nan_at=12)
    job_id = await submitted(client, await uploaded(client))
    job = await ended(client, job_id)
    assert (job["state"], job["error"]["code"], job["attempt"]) == ("failed", "nan_loss", 1)
    assert "learning_rate" in job["error"]["message"]
    async with db.single() as session:
        kept = await service.usable(session, job_id)
    assert [c.step for c in kept] == [10, 5], "the last good checkpoint is kept"


async def test_a_silent_trainer_is_ended_and_another_tries(
    tmp_path_factory: pytest.TempPathFactory, client: Client, rig: Rig
) -> None:
    order(rig, silent_at=7, once=True)
    rig.parts["finetune"].end()
    rig.parts.pop("finetune")
    rig.env["PENSTOCK_TRAINING_SILENT_S"] = "8"
    try:
        rig.start("finetune")
        job_id = await submitted(client, await uploaded(client))
        job = await ended(client, job_id)
        assert (job["state"], job["attempt"]) == ("succeeded", 2)
        assert steps_of(await events(client, job_id)) == UNDISTURBED
    finally:
        rig.env.pop("PENSTOCK_TRAINING_SILENT_S")
        rig.parts.pop("finetune").end()
        rig.start("finetune")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"messages": [{"role": "user", "content": "no answer"}]}\n', "line 1"),
        (jsonl([{"prompt": "a", "completion": "b"}]) + b'{"prompt": 3}\n', "line 2"),
        (b"not json\n", "line 1"),
    ],
    ids=["no assistant", "second row", "no json"],
)
async def test_bad_rows_end_it_before_it_trains(
    client: Client, rig: Rig, content: bytes, says: str
) -> None:
    before = len(runs(rig))
    job = await ended(client, await submitted(client, await uploaded(client, content)))
    assert (job["state"], job["error"]["code"]) == ("failed", "invalid_training_file")
    assert says in job["error"]["message"]
    assert len(runs(rig)) == before, "no trainer was started"


async def test_a_file_that_was_deleted_meanwhile_is_named(client: Client, rig: Rig) -> None:
    order(rig, **{"await": {"1": "go"}, "once": True})
    first = await submitted(client, await uploaded(client))
    until((rig.folder / "go.waiting").exists, "the first to run")
    file_id = await uploaded(client)
    second = await submitted(client, file_id)
    await client.delete(f"/v1/files/{file_id}")
    (rig.folder / "go").touch()
    job = await ended(client, second)
    assert (job["state"], job["error"]["code"]) == ("failed", "file_gone")
    assert "training_file" in job["error"]["message"]
    await ended(client, first)


async def test_the_checkpoints_of_an_ended_training_go_after_their_time(
    client: Client, rig: Rig, db: Database
) -> None:
    job_id = await submitted(client, await uploaded(client))
    await ended(client, job_id)
    storage = storage_of(rig.settings())
    there = [f.key async for f in storage.listed(f"checkpoints/{job_id}")]
    assert there
    assert await trainings.expire(db, storage, 0)
    assert not [f.key async for f in storage.listed(f"checkpoints/{job_id}")]
    async with db.single() as session:
        assert not await service.usable(session, job_id)
