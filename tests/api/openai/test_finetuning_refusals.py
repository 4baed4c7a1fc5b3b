"""What /v1/fine_tuning/jobs refuses, and whose jobs, files and models a caller may name."""

from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI
from sqlalchemy import text

from core.catalog import datasets, models
from core.catalog.datasets import NewDataset
from core.db.session import Database
from core.ids import new_id
from core.security import keys
from core.security.keys import Rate
from tests import asking
from tests.api.openai.training import begin, by_hand, upload
from tests.core import cataloguing as given
from tests.rig import Rig

JOBS = "/v1/fine_tuning/jobs"
MISSING = "ftjob-" + "0" * 26


@pytest.fixture(autouse=True)
async def _by_hand(db: Database, key: str) -> None:
    await by_hand(db, key)


def _hyper(**values: Any) -> dict[str, Any]:
    return {"method": {"type": "supervised", "supervised": {"hyperparameters": values}}}


_IN = "method.supervised.hyperparameters."


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": "gone"}, "model"),
        ({"model": "scripted-embedder"}, "model"),
        ({"model": 3}, "model"),
        ({"suffix": "x" * 65}, "suffix"),
        ({"suffix": "a b"}, "suffix"),
        ({"seed": -1}, "seed"),
        ({"integrations": [{"type": "wandb", "wandb": {"project": "p"}}]}, "integrations"),
        ({"method": {"type": "reinforcement"}}, "method.type"),
        ({"method": {"type": "supervised", "reinforcement": {}}}, "method.reinforcement"),
        ({"method": {"type": "dpo", "supervised": {}}}, "method"),
        (_hyper(n_epochs=0), _IN + "n_epochs"),
        (_hyper(n_epochs="many"), _IN + "n_epochs"),
        (_hyper(batch_size=1.5), _IN + "batch_size"),
        (_hyper(lora_rank=0), _IN + "lora_rank"),
        (_hyper(tuning="half"), _IN + "tuning"),
        (_hyper(beta=0.1), _IN + "beta"),
        (_hyper(compute_multiplier=1), _IN + "compute_multiplier"),
        ({"hyperparameters": {"n_epochs": 0}}, "hyperparameters.n_epochs"),
        ({"hyperparameters": {}} | _hyper(n_epochs=1), "hyperparameters"),
        ({"metadata": {"k" * 65: "v"}}, None),
        ({"metadata": {"k": "v" * 513}}, "metadata.k"),
        ({"validation_share": 0.9}, "validation_share"),
        ({"format": "xml"}, "format"),
        ({"completion_window": "soon"}, "completion_window"),
        ({"whatever": 1}, "whatever"),
    ],
)
@pytest.mark.usefixtures("embedder")
async def test_what_cannot_be_is_refused_by_name(
    ai: AsyncOpenAI, client: httpx.AsyncClient, body: dict[str, Any], param: str | None
) -> None:
    base = {"model": "rill", "training_file": await upload(ai)}
    asking.error(await client.post(JOBS, json=base | body), 400, param)
    assert (await client.get(JOBS)).json()["data"] == []


@pytest.mark.parametrize("name", ["training_file", "validation_file"])
async def test_a_file_must_be_there_and_for_this(
    rig: Rig, ai: AsyncOpenAI, client: httpx.AsyncClient, name: str
) -> None:
    good = {"model": "rill", "training_file": await upload(ai)}
    for purpose in ("user_data", "batch"):
        told = asking.error(
            await client.post(JOBS, json=good | {name: await upload(ai, purpose)}), 400, name
        )
        assert "purpose 'fine-tune'" in told["message"]
    async with rig.client(await rig.key(new_id("t"))) as stranger:
        form = {"purpose": "fine-tune"}
        theirs = await stranger.post("/v1/files", data=form, files={"file": ("f", b"{}")})
        for file in (theirs.json()["id"], "file_" + "0" * 26, "file-abc", "dsv_" + "0" * 26):
            asking.error(await client.post(JOBS, json=good | {name: file}), 404, name)


async def test_another_tenants_jobs_are_not_there(
    rig: Rig, ai: AsyncOpenAI, client: httpx.AsyncClient
) -> None:
    made = await begin(ai)
    inference = (await asking.submit(client))["id"].replace("job_", "ftjob-")
    async with rig.client(await rig.key(new_id("t"))) as stranger:
        assert (await stranger.get(JOBS)).json()["data"] == []
        for who, which in (
            (stranger, made.id),
            (client, MISSING),
            (client, inference),
            (client, "x"),
        ):
            for method, path in (
                ("GET", ""), ("GET", "/events"), ("GET", "/checkpoints"),
                ("POST", "/cancel"), ("POST", "/pause"), ("POST", "/resume"),
            ):  # fmt: skip
                answer = await who.request(method, f"{JOBS}/{which}{path}")
                asking.error(answer, 404, "fine_tuning_job_id")
    events = (await client.get(f"{JOBS}/{made.id}/events")).json()["data"]
    other = await begin(ai)
    query = {"after": events[0]["id"]}
    asking.error(await client.get(f"{JOBS}/{other.id}/events", params=query), 404, "after")
    assert (await client.get(f"{JOBS}/{made.id}/events", params=query)).json()["data"] == []


async def test_a_key_makes_one_job(ai: AsyncOpenAI, client: httpx.AsyncClient) -> None:
    body = {"model": "rill", "training_file": await upload(ai)}
    header = {"idempotency-key": new_id("k")}
    first = await client.post(JOBS, json=body, headers=header)
    again = await client.post(JOBS, json=body, headers=header)
    assert first.status_code == again.status_code == 200
    assert first.json()["id"] == again.json()["id"]
    assert again.headers["idempotency-replayed"] == "true"
    other = await client.post(JOBS, json=body | {"seed": 1}, headers=header)
    assert asking.error(other, 409)["code"] == "idempotency_key_reused"
    inside = body | {"idempotency_key": header["idempotency-key"]}
    assert (await client.post(JOBS, json=inside)).json()["id"] == first.json()["id"]
    # Without a key, a client that says it tries again gets the job of its first try.
    tries = [
        await client.post(JOBS, json=body | {"seed": 2}, headers={"x-stainless-retry-count": n})
        for n in "01"
    ]
    assert tries[0].json()["id"] == tries[1].json()["id"]
    assert len((await client.get(JOBS)).json()["data"]) == 2


async def test_limits_of_requests_hold_here(rig: Rig) -> None:
    key = await rig.key(new_id("t"), Rate(requests=1))
    async with rig.client(key) as limited:
        form = {"purpose": "fine-tune"}
        sent = await limited.post("/v1/files", data=form, files={"file": ("f", b"{}")})
        body = {"model": "rill", "training_file": sent.json()["id"]}
        taken = await limited.post(JOBS, json=body)
        assert taken.headers["x-ratelimit-remaining-requests"] == "0"
        over = await limited.post(JOBS, json=body | {"seed": 1})
        assert asking.error(over, 429)["code"] == "rate_limit_exceeded"


async def test_jobs_are_told_apart_by_their_ids_on_both_surfaces(
    ai: AsyncOpenAI, client: httpx.AsyncClient, db: Database
) -> None:
    file = await upload(ai)
    spec = {"kind": "finetune", "model": "rill", "training_file": file}
    answer = await client.post("/v1/jobs", json=spec)
    assert answer.status_code == 202, answer.text
    made = answer.json()
    assert (await ai.fine_tuning.jobs.retrieve(made["id"].replace("job_", "ftjob-"))).seed
    for body, status, param in (
        (spec | {"training_file": "file_" + "0" * 26}, 404, "training_file"),
        (spec | {"model": "gone"}, 422, "model"),
        (
            spec | {"method": {"hyperparameters": {"n_epochs": 0}}},
            422,
            "method.hyperparameters.n_epochs",
        ),
    ):
        asking.error(await client.post("/v1/jobs", json=body), status, param)
    async with db.single() as session:
        reserved = await session.scalar(
            text("SELECT reserved_tokens FROM jobs WHERE id = :id"), {"id": made["id"]}
        )
    assert reserved, "its share is charged by the size of its file"


async def test_a_model_of_ones_own_is_gone_on_from_and_a_dataset_read(
    rig: Rig, ai: AsyncOpenAI, client: httpx.AsyncClient, db: Database, key: str
) -> None:
    async with db.begin() as session:
        caller = await keys.authenticate(session, key)
        (rill,) = [m for m in await models.listed(session) if m.name == "rill"]
        made = NewDataset(caller.tenant_id, "chats", report={"tokens": 4000})
        dataset = await datasets.add(session, made, given.unkept())
    tuned = await given.version(db, caller, rill, suffix="mine")
    file = await upload(ai)
    job = await ai.fine_tuning.jobs.create(model=tuned.name, training_file=dataset.id)
    assert (job.model, job.training_file) == (tuned.name, dataset.id)
    async with rig.client(await rig.key(new_id("t"))) as stranger:
        form = {"purpose": "fine-tune"}
        theirs = await stranger.post("/v1/files", data=form, files={"file": ("f", b"{}")})
        body = {"model": tuned.name, "training_file": theirs.json()["id"]}
        asking.error(await stranger.post(JOBS, json=body), 400, "model")
        body = {"model": "rill", "training_file": dataset.id}
        asking.error(await stranger.post(JOBS, json=body), 404, "training_file")
    both = {"model": "rill", "training_file": dataset.id, "validation_file": file}
    asking.error(await client.post(JOBS, json=both), 400)
    native = {"kind": "finetune", "model": "rill", "dataset": "dsv_" + "0" * 26}
    asking.error(await client.post("/v1/jobs", json=native), 404, "dataset")
    sources = {"kind": "dataset", "name": "d", "sources": [{"file": file}, {"file": "file_x"}]}
    asking.error(await client.post("/v1/jobs", json=sources), 404, "sources.1.file")
