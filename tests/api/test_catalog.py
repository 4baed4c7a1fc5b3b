"""Stages, aliases and datasets through the API, and versions beside the models that workers serve."""

import pickle
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from core.catalog import artifacts, datasets, models, versions
from core.catalog.datasets import NewDataset
from core.catalog.models import Served
from core.catalog.tables import Version
from core.db.session import Database
from core.security import keys
from core.security.keys import Caller
from core.storage.place import storage_of
from tests.core import cataloguing as given
from tests.gating import passed
from tests.rig import Rig


@pytest.fixture
async def caller(db: Database, key: str) -> Caller:
    async with db.begin() as session:
        return await keys.authenticate(session, key)


@pytest.fixture
async def rill(db: Database) -> Served:
    async with db.begin() as session:
        (found,) = [m for m in await models.listed(session) if m.name == "rill"]
    return found


@pytest.fixture
async def tuned(db: Database, caller: Caller, rill: Served) -> Version:
    lineage = {"job": "job_x", "method": "supervised", "seed": 7}
    return await given.version(
        db, caller, rill, suffix="mill", lineage=lineage, metrics={"valid_loss": 0.5}
    )


async def asked(client: httpx.AsyncClient, method: str, path: str, status: int, **body: Any) -> Any:
    answer = await client.request(method, f"/v1/{path}", json=body or None)
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_a_version_stands_beside_its_base_with_stage_digest_and_lineage(
    client: httpx.AsyncClient, tuned: Version, rill: Served
) -> None:
    listed = (await asked(client, "GET", "models", 200))["data"]
    (shown,) = [one for one in listed if one["id"] == tuned.name]
    assert shown == await asked(client, "GET", f"models/{tuned.name}", 200)
    assert shown == await asked(client, "GET", f"models/{tuned.id}", 200)
    expected = {
        "object": "model", "stage": "candidate", "digest": tuned.digest, "served": True, "adapter": True,
        "base": "rill", "base_digest": rill.digest, "number": 1, "version": tuned.id, "job": None,
        "lineage": {"job": "job_x", "method": "supervised", "seed": 7}, "max_model_len": rill.context,
        "metrics": {"valid_loss": 0.5}, "aliases": [], "owned_by": tuned.name.split(":")[2],
    }  # fmt: skip
    assert {name: shown[name] for name in expected} == expected
    (base,) = [one for one in listed if one["id"] == "rill"]
    assert (base["stage"], base["lineage"], base["digest"]) == (None, None, rill.digest)
    assert base["aliases"] == ["1B", "30B", "7B"]
    assert set(base) == set(shown)


async def test_a_version_is_its_tenants_alone(
    rig: Rig, client: httpx.AsyncClient, tuned: Version
) -> None:
    async with rig.client(await rig.key(f"not{tuned.tenant_id[-20:]}")) as stranger:
        listed = (await asked(stranger, "GET", "models", 200))["data"]
        assert tuned.name not in {one["id"] for one in listed}
        body = {"stage": "staging"}
        for method, path, sent in (
            ("GET", f"models/{tuned.name}", {}), ("DELETE", f"models/{tuned.name}", {}),
            ("GET", f"models/{tuned.name}/history", {}), ("POST", f"models/{tuned.name}/stage", body),
            ("PUT", "aliases/prod", {"model": tuned.name}),
        ):  # fmt: skip
            refused = await asked(stranger, method, path, 404, **sent)
            assert refused["error"]["code"] == "model_not_found", path
        chat = {"model": tuned.name, "messages": [{"role": "user", "content": "x"}]}
        refused = await asked(stranger, "POST", "chat/completions", 404, **chat)
        assert refused["error"]["code"] == "model_not_found"


async def test_stages_are_moved_and_told(
    client: httpx.AsyncClient, caller: Caller, tuned: Version
) -> None:
    path = f"models/{tuned.name}"
    refused = await asked(client, "POST", f"{path}/stage", 409, stage="production")
    assert "it can go to staging, retired" in refused["error"]["message"]
    moved = await asked(client, "POST", f"{path}/stage", 200, stage="staging", reason="94 %")
    assert (moved["stage"], moved["served"]) == ("staging", True)
    history = (await asked(client, "GET", f"{path}/history", 200))["data"]
    assert [(m["was"], m["stage"], m["reason"], m["key_id"]) for m in history] == [
        ("candidate", "staging", "94 %", caller.key_id)
    ]
    wrong = await asked(client, "POST", f"{path}/stage", 422, stage="best")
    assert wrong["error"]["param"] == "stage"


async def test_an_alias_moves_answers_and_goes_back_in_one_call(
    client: httpx.AsyncClient, db: Database, caller: Caller, rill: Served, tuned: Version
) -> None:
    second = await given.version(db, caller, rill, suffix="mill")
    await passed(db, caller, tuned.name, second.name)
    made = await asked(client, "PUT", "aliases/prod", 200, model=tuned.name)
    assert (made["model"], made["version"], made["own"]) == (tuned.name, tuned.id, True)
    assert (await asked(client, "GET", "models/prod", 200))["id"] == tuned.name
    await asked(client, "PUT", "aliases/prod", 200, model=second.id, reason="better")
    assert (await asked(client, "GET", "models/prod", 200))["id"] == second.name
    assert (await asked(client, "GET", f"models/{second.name}", 200))["aliases"] == ["prod"]
    back = await asked(client, "POST", "aliases/prod/rollback", 200, reason="worse")
    assert back["model"] == tuned.name
    assert (await asked(client, "GET", "models/prod", 200))["id"] == tuned.name
    history = (await asked(client, "GET", "aliases/prod", 200))["history"]
    assert [(m["was"], m["model"], m["reason"], m["rollback"]) for m in history] == [
        (None, tuned.name, "", False),
        (tuned.name, second.name, "better", False),
        (second.name, tuned.name, "worse", True),
    ]
    await asked(client, "POST", "aliases/prod/rollback", 409)
    listed = (await asked(client, "GET", "aliases", 200))["data"]
    assert [(a["name"], a["model"], a["own"]) for a in listed] == [
        ("prod", tuned.name, True), ("1B", "rill", False), ("30B", "rill", False), ("7B", "rill", False),
    ]  # fmt: skip
    assert (await asked(client, "DELETE", "aliases/prod", 200))["deleted"]
    await asked(client, "GET", "aliases/prod", 404)


async def test_an_alias_of_a_tenant_is_asked_for_like_a_model(
    client: httpx.AsyncClient,
) -> None:
    chat = {"model": "front", "messages": [{"role": "user", "content": "x"}], "max_tokens": 2}
    await asked(client, "POST", "chat/completions", 404, **chat)
    await asked(client, "PUT", "aliases/front", 200, model="rill")
    assert (await asked(client, "POST", "chat/completions", 200, **chat))["model"] == "rill"
    job = {"kind": "inference", "model": "front", "prompt": "x", "max_tokens": 2}
    assert (await asked(client, "POST", "jobs", 202, **job))["model"] == "rill"
    refused = await asked(client, "PUT", "aliases/rill", 422, model="rill")
    assert refused["error"]["param"] == "name"


async def test_deleting_retires_what_nobody_uses(
    client: httpx.AsyncClient, ai: AsyncOpenAI, tuned: Version
) -> None:
    await asked(client, "PUT", "aliases/front", 200, model=tuned.name)
    with pytest.raises(openai.ConflictError, match="behind the alias front"):
        await ai.models.delete(tuned.name)
    await asked(client, "DELETE", "aliases/front", 200)
    done = await ai.models.delete(tuned.name)
    assert (done.id, done.object, done.deleted) == (tuned.name, "model", True)
    with pytest.raises(openai.NotFoundError, match="is retired"):
        await ai.models.retrieve(tuned.name)
    assert tuned.name not in {one.id async for one in ai.models.list()}
    history = (await asked(client, "GET", f"models/{tuned.name}/history", 200))["data"]
    assert [m["stage"] for m in history] == ["retired"]


async def test_what_no_worker_can_serve_is_told_apart(
    client: httpx.AsyncClient, db: Database, caller: Caller
) -> None:
    made = await given.version(db, caller, Served("away", "x", 512, digest="f" * 64), context=512)
    shown = await asked(client, "GET", f"models/{made.name}", 200)
    assert (shown["served"], shown["prices"], shown["max_model_len"]) == (False, None, 512)
    await asked(client, "PUT", "aliases/idle", 200, model=made.name)
    assert (await asked(client, "GET", "models/idle", 200))["id"] == made.name
    for name in (made.name, "idle"):
        chat = {"model": name, "messages": [{"role": "user", "content": "x"}]}
        refused = await asked(client, "POST", "chat/completions", 404, **chat)
        assert f"{made.name!r}" in refused["error"]["message"]


async def test_datasets_are_listed_with_their_reports(
    client: httpx.AsyncClient, db: Database, caller: Caller
) -> None:
    for number in range(3):
        new = NewDataset(caller.tenant_id, "rivers", {"rows": {"kept": number}})
        async with db.begin() as session:
            made = await datasets.add(session, new, given.unkept())
    page = await asked(client, "GET", "datasets?limit=2&name=rivers", 200)
    assert ([d["number"] for d in page["data"]], page["has_more"]) == ([3, 2], True)
    rest = await asked(client, "GET", f"datasets?after={page['last_id']}", 200)
    assert ([d["number"] for d in rest["data"]], rest["has_more"]) == ([1], False)
    found = await asked(client, "GET", f"datasets/{made.id}", 200)
    assert (found["digest"], found["report"]) == (made.digest, {"rows": {"kept": 2}})
    gone = await asked(client, "DELETE", f"datasets/{made.id}", 200)
    assert gone == {"id": made.id, "object": "dataset", "deleted": True}
    await asked(client, "GET", f"datasets/{made.id}", 404)
    missing = await asked(client, "GET", "datasets/dsv_00000000000000000000000000", 404)
    assert missing["error"]["code"] == "dataset_not_found"


async def uploaded(client: httpx.AsyncClient, path: Path) -> str:
    with path.open("rb") as file:
        sent = {"file": (path.name, file)}
        answer = await client.post("/v1/files", files=sent, data={"purpose": "user_data"})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


async def test_an_adapter_that_fits_its_base_is_a_version(
    client: httpx.AsyncClient, db: Database, rig: Rig, caller: Caller, tmp_path: Path
) -> None:
    folder = given.lora(tmp_path / "mine")
    files = {path.name: await uploaded(client, path) for path in folder.iterdir()}
    made = await asked(
        client, "POST", "models/import", 201, base="rill", suffix="mill", files=files
    )
    assert made == await asked(client, "GET", f"models/{made['id']}", 200)
    assert (made["stage"], made["served"], made["adapter"]) == ("candidate", True, True)
    assert {n: f["file"] for n, f in made["lineage"]["files"].items()} == files
    assert made["lineage"]["imported_by"] == caller.key_id
    async with db.begin() as session:
        artifact = await artifacts.get(session, made["digest"])
    fetched = await artifacts.fetch(storage_of(rig.settings()), artifact, tmp_path / "in")
    for path in folder.iterdir():
        assert (fetched / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("weights", "why"),
    [
        (pickle.dumps({"w": [1.0] * 99}), "a pickle"),
        (given.safetensors(), "no LoRA tensor"),
        (given.safetensors()[:-1], "cut short"),
    ],
)
async def test_what_is_no_adapter_is_no_version(
    client: httpx.AsyncClient, tmp_path: Path, weights: bytes, why: str
) -> None:
    folder = given.lora(tmp_path)
    (folder / "adapter_model.safetensors").write_bytes(weights)
    files = {path.name: await uploaded(client, path) for path in folder.iterdir()}
    refused = await asked(client, "POST", "models/import", 422, base="rill", files=files)
    assert why in refused["error"]["message"]
    assert refused["error"]["param"] == "files.adapter_model.safetensors"
    assert [
        m["id"] for m in (await asked(client, "GET", "models", 200))["data"] if m["version"]
    ] == []


async def test_an_import_names_files_and_a_base_that_are_there(
    rig: Rig, client: httpx.AsyncClient, tmp_path: Path, tuned: Version
) -> None:
    folder = given.lora(tmp_path)
    files = {path.name: await uploaded(client, path) for path in folder.iterdir()}
    for changed, status, param in (
        ({"base": "gone"}, 422, "base"),
        ({"base": tuned.name}, 422, "base"),
        ({"suffix": "a:b"}, 422, "suffix"),
        ({"files": {"model.bin": "file_x"}}, 422, "files"),
        ({"files": files | {"adapter_config.json": "file_x"}}, 404, "files.adapter_config.json"),
    ):
        body: dict[str, Any] = {"base": "rill", "files": files} | changed
        refused = await asked(client, "POST", "models/import", status, **body)
        assert refused["error"]["param"] == param
    async with rig.client(await rig.key(f"not{tuned.tenant_id[-20:]}")) as stranger:
        await asked(stranger, "POST", "models/import", 404, base="rill", files=files)


def test_a_digest_of_base_and_adapter_is_neither() -> None:
    both = versions.together("a" * 64, "b" * 64)
    assert both not in ("a" * 64, "b" * 64, versions.together("b" * 64, "a" * 64))
