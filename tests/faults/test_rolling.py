"""Whole models by a rolling exchange: while the alias moves and workers change over, nobody is refused."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from safetensors.torch import load_file, save_file

from core.catalog import artifacts
from core.catalog.models import Served
from core.catalog.tables import Version
from core.config import MODEL_FOLDER
from core.db.session import Database
from core.ids import new_id
from core.security import keys
from core.security.keys import Caller
from core.storage.place import storage_of
from tests.core import cataloguing as given
from tests.gating import passed
from tests.rig import Rig
from tests.waiting import eventually

pytestmark = pytest.mark.fault

TENANT = "acme"
# An engine starts in ten seconds, or in a minute where others want the cores, too.
PATIENCE_S = 150.0
CHAT: dict[str, Any] = {
    "model": "prod", "messages": [{"role": "user", "content": "Go on"}], "max_tokens": 8, "temperature": 0,
}  # fmt: skip


@dataclass
class Plant:
    """Two workers of acme's alias prod, and a client of acme's."""

    rig: Rig
    db: Database
    caller: Caller
    client: httpx.AsyncClient
    folder: Path

    async def version(self, variant: int, scale: float = 1.0) -> Version:
        """A whole model that says other words: to the scripted engine by its number, to a real one by `scale`."""
        folder = self.folder / f"variant{variant}"
        shutil.copytree(MODEL_FOLDER, folder, ignore=shutil.ignore_patterns("*.md"))
        (folder / "variant.json").write_text(json.dumps({"variant": variant}))
        if scale != 1.0:
            weights = load_file(folder / "model.safetensors")
            first = next(name for name in sorted(weights) if name.endswith("q_proj.weight"))
            save_file(weights | {first: weights[first] * scale}, folder / "model.safetensors")
        artifact = await artifacts.keep(storage_of(self.rig.settings()), folder, "model")
        base = Served("rill", "here", 2048, digest="b" * 64)
        return await given.version(
            self.db, self.caller, base, artifact, kind="full", suffix="whole", context=2048
        )

    async def lead(self, version: Version) -> None:
        await passed(self.db, self.caller, version.name)
        answer = await self.client.put("/v1/aliases/prod", json={"model": version.name})
        assert answer.status_code == 200, answer.text

    def log(self, name: str) -> str:
        return (self.rig.folder / "logs" / f"{name}.log").read_text()

    async def said(self, names: Sequence[str], what: str) -> None:
        """Wait until each of these workers has said it."""

        async def all_of_them() -> bool:
            return all(what in self.log(name) for name in names)

        await eventually(all_of_them, f"the workers to say: {what}", PATIENCE_S)


@dataclass
class Stream:
    """A client that asks again and again; what it was told."""

    client: httpx.AsyncClient
    said: list[tuple[int, str, str]] = field(default_factory=list)
    done: bool = False

    async def run(self) -> None:
        while not self.done:
            answer = await self.client.post("/v1/chat/completions", json=CHAT, timeout=PATIENCE_S)
            body = answer.json()
            if answer.status_code == 200:
                text = body["choices"][0]["message"]["content"]
                self.said.append((200, body["model"], text))
            else:
                self.said.append((answer.status_code, "", answer.text))

    async def told(self, model: str) -> None:
        """Wait until the last ten were of this model."""

        async def there() -> bool:
            return [one[1] for one in self.said[-10:]] == [model] * 10

        await eventually(there, f"{model} to answer", PATIENCE_S)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def plant(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Plant]:
    folder = Path(tmp_path_factory.mktemp("rolling"))
    rig = Rig(folder, {"PENSTOCK_SCRIPTED_TOKEN_S": "0.005", "PENSTOCK_DRAIN_S": "5"})
    try:
        rig.start_stack()
        rig.start("api", "control")
        key = await rig.key(TENANT)
        db = Database(rig.settings(), name="test", pool=2)
        async with db.begin() as session:
            caller = await keys.authenticate(session, key)
        async with rig.client(key) as client:
            yield Plant(rig, db, caller, client, folder)
        await db.close()
    finally:
        rig.end()


async def test_the_alias_moves_and_no_request_fails(plant: Plant) -> None:
    first, second = await plant.version(1), await plant.version(2)
    await plant.lead(first)
    plant.rig.env["PENSTOCK_MODEL"] = f"catalog:{TENANT}/prod"
    names = ("inference", "inference2")
    parts = [plant.rig.process("inference", number) for number in (1, 2)]
    for part in parts:
        part.spawn()
    for part in parts:
        part.await_ready(60)
    streams = [Stream(plant.client) for _ in range(4)]
    tasks = [asyncio.create_task(stream.run()) for stream in streams]
    for stream in streams:
        await stream.told(first.name)
    await plant.lead(second)
    for stream in streams:
        await stream.told(second.name)
    await plant.said(names, "exchanged")

    # Neither one that does not load nor one whose bytes are not what they were takes its place.
    unfit, spoilt = await plant.version(13), await plant.version(3)
    await _spoil(plant, spoilt)
    for version, why in ((unfit, "does not load"), (spoilt, "is refused")):
        await plant.lead(version)
        await plant.said(names, why)
        for stream in streams:
            await stream.told(second.name)
    for stream in streams:
        stream.done = True
    await asyncio.gather(*tasks)
    _check([stream.said for stream in streams], first.name, second.name)


def _check(told: list[list[tuple[int, str, str]]], first: str, second: str) -> None:
    """Everybody was answered, by the one and then by the other, and neither spoke for the other."""
    said = [one for stream in told for one in stream]
    assert {status for status, _, _ in said} == {200}, [one for one in said if one[0] != 200][:3]
    words = {model: {text for _, name, text in said if name == model} for _, model, _ in said}
    assert set(words) == {first, second}
    assert [len(texts) for texts in words.values()] == [1, 1]
    assert words[first] != words[second]
    for stream in told:
        order = [model for _, model, _ in stream]
        assert order == sorted(order, key=[first, second].index), "there is no way back"


async def _spoil(plant: Plant, version: Version) -> None:
    async with plant.db.single() as session:
        artifact = await artifacts.get(session, version.digest)
    weights = next(f for f in artifact.files if f.path.endswith(".safetensors"))
    path = Path(plant.rig.settings().storage_url) / artifact.key(weights)
    path.write_bytes(os.urandom(100) + path.read_bytes()[100:])


async def test_what_cannot_be_served_is_refused_at_the_start(plant: Plant) -> None:
    whole = await plant.version(4)
    await _spoil(plant, whole)
    for wanted, why in (
        (f"{TENANT}/{whole.name}", "expected SHA-256"),
        (f"{TENANT}/nothing", "is no version of the catalog"),
        (f"{new_id('t')}/prod", "there is no tenant"),
    ):
        plant.rig.env["PENSTOCK_MODEL"] = f"catalog:{wanted}"
        plant.rig.parts.pop("inference3", None)
        part = plant.rig.process("inference", 3)
        part.spawn()
        assert part.wait(60), "it was to end"
        assert why in plant.log("inference3")


@pytest.mark.engine
async def test_a_real_engine_changes_over_and_requests_wait_for_it(plant: Plant) -> None:
    """One worker alone: nobody answers while the new weights load, and nobody is refused."""
    for name, part in plant.rig.parts.items():
        if name.startswith("inference"):
            part.kill()
    first, second = await plant.version(20), await plant.version(21, scale=-3.0)
    await plant.lead(first)
    plant.rig.env |= {
        "PENSTOCK_MODEL": f"catalog:{TENANT}/prod", "PENSTOCK_ENGINE": "vllm", "PENSTOCK_ENGINE_KV_CACHE_MB": "64",
    }  # fmt: skip
    worker = plant.rig.process("inference", 4)
    worker.spawn()
    worker.await_ready(120)
    stream = Stream(plant.client)
    asking = asyncio.create_task(stream.run())
    await stream.told(first.name)
    await plant.lead(second)
    await stream.told(second.name)
    stream.done = True
    await asking
    _check([stream.said], first.name, second.name)
