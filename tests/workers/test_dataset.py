"""A dataset job on a real worker: from uploaded files to a version with its report, and the bad ends."""

import httpx
import psutil
import pytest

from tests.asking import JOBS, ended
from tests.rig import Rig
from tests.training import ROWS, events, jsonl, uploaded
from tests.waiting import eventually, until
from tests.workers.data.conftest import chat

pytestmark = pytest.mark.usefixtures("trainer")
Client = httpx.AsyncClient


async def _dataset(client: Client, *file_ids: str, **fields: object) -> str:
    spec = {
        "kind": "dataset",
        "name": "orders",
        "sources": [{"file": one} for one in file_ids],
        "seed": 7,
    }
    answer = await client.post(JOBS, json=spec | fields)
    assert answer.status_code == 202, answer.text
    found: str = answer.json()["id"]
    return found


async def test_files_become_a_version_with_its_report(client: Client) -> None:
    first, second = await uploaded(client), await uploaded(client, jsonl(ROWS[:5]), "more.jsonl")
    job_id = await _dataset(
        client, first, second, validation_share=0.1, filters={"exact_duplicates": True}
    )
    job = await ended(client, job_id)
    assert job["state"] == "succeeded", job["error"]
    result = job["result"]
    report = result["report"]
    assert report["rows"] == {"read": 65, "kept": 60, "dropped": 5}
    assert report["dropped"]["exact_duplicates"]["examples"][0]["file"] == "more.jsonl"
    assert report["train"]["documents"] + report["validation"]["documents"] == 60
    assert report["tokens"] > 0
    phases = [e["data"]["phase"] for e in await events(client, job_id) if e["type"] == "progress"]
    assert phases[:3] == ["fetching", "reading", "filtering"]
    assert phases[-1] == "registering"
    again = await ended(client, await _dataset(
        client, first, second, validation_share=0.1, filters={"exact_duplicates": True}
    ))  # fmt: skip
    assert again["result"]["digest"] == result["digest"], "the same data and settings"
    assert (again["result"]["number"], result["number"]) == (2, 1)
    shown = (await client.get(f"/v1/datasets/{result['dataset']}")).json()
    assert (shown["name"], shown["digest"]) == ("orders", result["digest"])
    assert shown["lineage"]["data"][0]["file"] == first
    assert shown["report"]["rows"] == report["rows"]


async def test_a_model_is_trained_on_a_version(client: Client) -> None:
    made = await ended(client, await _dataset(client, await uploaded(client), validation_share=0.1))
    version = made["result"]
    spec = {"kind": "finetune", "dataset": version["dataset"], "seed": 7,
            "method": {"hyperparameters": {"max_steps": 5, "n_epochs": 100}}}  # fmt: skip
    answer = await client.post(JOBS, json=spec)
    assert answer.status_code == 202, answer.text
    job = await ended(client, answer.json()["id"])
    assert job["state"] == "succeeded", job["error"]
    data = job["result"]["data"]
    # The rows are the version's, and so are the sides they are on; the ids are this model's.
    assert data["train"]["documents"] == version["report"]["train"]["documents"] == 54
    assert data["validation"]["documents"] == 6
    assert data["train"]["digest"] == version["report"]["train"]["digest"]


async def test_wrong_rows_end_the_job_and_are_named(client: Client) -> None:
    rows = b'{"messages": []}\n' + jsonl(ROWS[:2]) + b"not json\n"
    job = await ended(client, await _dataset(client, await uploaded(client, rows, "bad.jsonl")))
    assert (job["state"], job["error"]["code"]) == ("failed", "invalid_training_file")
    first, second = job["error"]["message"].splitlines()
    assert first.startswith("bad.jsonl line 1: messages must be a list")
    assert second.startswith("bad.jsonl line 4:")


async def test_a_bucket_that_the_operator_did_not_name_is_not_read(client: Client) -> None:
    job = await ended(client, await _dataset(client, sources=[{"uri": "s3://penstock/files/"}]))
    assert job["state"] == "failed"
    assert "PENSTOCK_DATA_BUCKETS" in job["error"]["message"]


async def test_a_killed_worker_takes_the_pipeline_along_and_one_version_is_made(
    client: Client, rig: Rig
) -> None:
    rows = [chat(f"Which number is {n}?", f"It is {n * 7}.") for n in range(20_000)]
    job_id = await _dataset(client, await uploaded(client, jsonl(rows)))

    async def under_way() -> bool:
        return any(e["data"].get("rows") for e in await events(client, job_id))

    await eventually(under_way, "rows to be read")
    (pipeline,) = _pipelines(rig)
    rig.parts["finetune"].kill()
    until(lambda: not pipeline.is_running(), "the pipeline died with its worker")
    rig.start("finetune")
    job = await ended(client, job_id)
    assert (job["state"], job["attempt"]) == ("succeeded", 2)
    assert job["result"]["report"]["rows"]["kept"] == 20_000
    listed = (await client.get("/v1/datasets")).json()["data"]
    assert [one["id"] for one in listed] == [job["result"]["dataset"]]
    assert not list((rig.folder / "training").glob(f"*/{job_id}")), "nor is its folder there"


async def test_a_cancelled_job_ends_its_pipeline(client: Client, rig: Rig) -> None:
    rows = [chat(f"Which number is {n}?", f"It is {n * 7}.") for n in range(20_000)]
    job_id = await _dataset(client, await uploaded(client, jsonl(rows)))
    await eventually(lambda: _begun(client, job_id), "the pipeline to run")
    assert (await client.post(f"{JOBS}/{job_id}/cancel")).status_code == 200
    assert (await ended(client, job_id))["state"] == "cancelled"
    until(lambda: not _pipelines(rig), "the pipeline to end")


async def _begun(client: Client, job_id: str) -> bool:
    return any(e["data"].get("phase") == "reading" for e in await events(client, job_id))


def _pipelines(rig: Rig) -> list[psutil.Process]:
    return [one for one in rig.parts["finetune"].family() if "workers.data" in " ".join(_argv(one))]


def _argv(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []
