"""A version of the catalog on the whole road: asked for like any model, answered by its base's workers."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI
from sqlalchemy import text

from core.catalog import artifacts, models, versions
from core.catalog.models import Served
from core.catalog.tables import Version
from core.db.session import Database
from core.openai.answers import fingerprint
from core.security import keys
from core.security.keys import Caller
from core.storage.place import storage_of
from tests import asking
from tests.api.openai.batching import begin, content, ended, line
from tests.core import cataloguing as given
from tests.gating import passed
from tests.rig import Rig

CHAT: dict[str, Any] = {
    "messages": [{"role": "user", "content": "Go on"}], "max_tokens": 8, "temperature": 0,
}  # fmt: skip


@pytest.fixture
async def caller(db: Database, key: str) -> Caller:
    async with db.begin() as session:
        return await keys.authenticate(session, key)


@pytest.fixture
async def rill(db: Database) -> Served:
    async with db.begin() as session:
        (found,) = [m for m in await models.listed(session) if m.name == "rill"]
    return found


class Bench:
    """Makes versions whose bytes are in the store that the workers read."""

    def __init__(self, rig: Rig, db: Database, caller: Caller, rill: Served, folder: Path) -> None:
        self.rig, self.db, self.caller, self.rill, self.folder = rig, db, caller, rill, folder

    async def version(self, more: bytes = b"") -> Version:
        folder = given.adapter(self.folder / os.urandom(4).hex(), os.urandom(8) + more)
        artifact = await artifacts.keep(storage_of(self.rig.settings()), folder, "adapter")
        return await given.version(self.db, self.caller, self.rill, artifact, suffix="mill")

    async def weights(self, version: Version) -> Path:
        """Their bytes in the store."""
        async with self.db.single() as session:
            artifact = await artifacts.get(session, version.digest)
        file = next(f for f in artifact.files if f.path.endswith(".safetensors"))
        return Path(self.rig.settings().storage_url) / artifact.key(file)


@pytest.fixture
def bench(rig: Rig, db: Database, caller: Caller, rill: Served, tmp_path: Path) -> Bench:
    return Bench(rig, db, caller, rill, tmp_path)


async def said(client: httpx.AsyncClient, model: str, **more: Any) -> dict[str, Any]:
    answer = await client.post("/v1/chat/completions", json=CHAT | {"model": model} | more)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def text_of(body: dict[str, Any]) -> str:
    content: str = body["choices"][0]["message"]["content"]
    return content


async def test_it_answers_at_once_and_like_nobody_else(
    client: httpx.AsyncClient, bench: Bench
) -> None:
    base = await said(client, "rill")
    # Asked right after it was made: what the API remembers of this tenant is older.
    one = await bench.version()
    first = await said(client, one.name)
    other = await bench.version()
    second = await said(client, other.name)
    assert len({text_of(base), text_of(first), text_of(second)}) == 3
    assert text_of(await said(client, one.name)) == text_of(first)
    assert text_of(await said(client, "rill")) == text_of(base)
    assert (first["model"], base["model"]) == (one.name, "rill")
    assert len({b["system_fingerprint"] for b in (base, first, second)}) == 3


async def test_every_way_of_asking_gives_the_same(
    client: httpx.AsyncClient, ai: AsyncOpenAI, bench: Bench
) -> None:
    one = await bench.version()
    wanted = text_of(await said(client, one.name))
    spec = {"kind": "inference", "prompt": None, "model": one.name}
    job = await asking.run(client, **spec | CHAT)
    assert (job["model"], job["result"]["text"]) == (one.name, wanted)
    response = await client.post(
        "/v1/responses",
        json={"model": one.name, "input": "Go on", "max_output_tokens": 8, "temperature": 0},
    )
    assert response.json()["output"][0]["content"][0]["text"] == wanted
    stream = await ai.chat.completions.create(model=one.name, stream=True, **CHAT)
    parts = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
    assert "".join(parts) == wanted
    whole = {"prompt": "Go on", "max_tokens": 8, "temperature": 0}
    texts = [
        (await client.post("/v1/completions", json=whole | {"model": name})).json()["choices"][0]
        for name in (one.name, "rill")
    ]
    assert texts[0]["text"] != texts[1]["text"]


async def test_a_batch_of_it_is_answered_with_it(
    client: httpx.AsyncClient, ai: AsyncOpenAI, bench: Bench
) -> None:
    one = await bench.version()
    alone = await said(client, one.name, max_tokens=4)
    put = await client.put("/v1/aliases/mine", json={"model": one.name})
    assert put.status_code == 200, put.text
    for name in (one.name, "mine"):
        rows = [line(f"r{i}", model=name, temperature=0) for i in range(5)]
        done = await ended(ai, (await begin(ai, rows)).id)
        assert done.status == "completed", done.errors
        for row in await content(ai, done.output_file_id):
            body = row["response"]["body"]
            assert text_of(body) == text_of(alone)
            assert (body["model"], body["system_fingerprint"]) == (
                one.name, alone["system_fingerprint"],
            )  # fmt: skip
    mixed = [line("a", model="mine"), line("b", model="rill")]
    refused = await ended(ai, (await begin(ai, mixed)).id)
    assert refused.errors is not None
    assert [(e.code, e.line) for e in refused.errors.data or []] == [("mismatched_model", 2)]


async def test_what_an_alias_led_to_is_pinned(
    client: httpx.AsyncClient, bench: Bench, db: Database
) -> None:
    first, second = await bench.version(), await bench.version()
    wanted = text_of(await said(client, first.name))
    await passed(db, bench.caller, first.name, second.name)
    await client.put("/v1/aliases/prod", json={"model": first.name})
    # Not to be taken up before the alias has moved on.
    spec = {"kind": "inference", "prompt": None, "model": "prod"} | CHAT
    job = await asking.submit(client, **spec)
    async with db.begin() as session:
        await session.execute(
            text("UPDATE jobs SET available_at = now() + interval '1 s' WHERE id = :id AND state = 'queued'"),
            {"id": job["id"]},
        )  # fmt: skip
    await client.put("/v1/aliases/prod", json={"model": second.name})
    done = await asking.ended(client, job["id"])
    assert (done["model"], done["result"]["text"]) == (first.name, wanted)
    async with db.single() as session:
        row = await session.execute(
            text("SELECT adapter, queue FROM jobs WHERE id = :id"), {"id": job["id"]}
        )
    assert row.one() == (first.digest, "inference.interactive.rill")


@pytest.mark.parametrize("how", ["changed", "missing"])
async def test_a_broken_artefact_ends_the_job_and_no_neighbour(
    client: httpx.AsyncClient, bench: Bench, how: str
) -> None:
    bad, good = await bench.version(), await bench.version()
    weights = await bench.weights(bad)
    if how == "changed":
        weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    else:
        weights.unlink()
    spec = {"kind": "inference", "prompt": "The river", "max_tokens": 200}
    neighbours = [await asking.submit(client, **spec, model=name) for name in ("rill", good.name)]
    job = await asking.run(client, **spec, model=bad.name)
    assert job["state"] == "failed"
    assert job["error"]["code"] == "artifact_broken"
    assert bad.digest in job["error"]["message"]
    assert job["attempt"] == 1, "no other attempt would find it whole"
    for one in neighbours:
        assert (await asking.ended(client, one["id"]))["state"] == "succeeded"
    answer = await client.post("/v1/chat/completions", json=CHAT | {"model": bad.name})
    assert asking.error(answer, 500)["code"] == "artifact_broken"


async def test_one_the_engine_cannot_apply_fails_alone(
    client: httpx.AsyncClient, bench: Bench
) -> None:
    bad = await bench.version(b"broken!!")
    job = await asking.run(client, model=bad.name)
    assert (job["state"], job["error"]["code"]) == ("failed", "adapter_refused")
    assert (await asking.run(client))["state"] == "succeeded"


async def test_more_than_the_engine_holds_all_get_their_turn(
    client: httpx.AsyncClient, bench: Bench, rig: Rig
) -> None:
    made = [await bench.version() for _ in range(rig.settings().engine_loras + 4)]
    jobs = [
        await asking.submit(client, model=one.name, max_tokens=20) for one in made for _ in range(2)
    ]
    done = [await asking.ended(client, job["id"]) for job in jobs]
    assert Counter(job["state"] for job in done) == {"succeeded": len(jobs)}
    texts = [job["result"]["text"] for job in done]
    assert texts[::2] == texts[1::2]
    assert len(set(texts)) == len(made)


async def test_it_costs_what_its_base_does_and_the_cache_tells_it_apart(
    client: httpx.AsyncClient, bench: Bench, db: Database, caller: Caller
) -> None:
    one = await bench.version()
    spec = {"cache": {"mode": "exact"}, "temperature": 0}
    ran = [await asking.run(client, model=name, **spec) for name in ("rill", one.name, one.name)]
    assert [(job["cache"] or {}).get("job") for job in ran] == [None, None, ran[1]["id"]]
    assert ran[1]["result"] == ran[2]["result"] != ran[0]["result"]
    async with db.begin() as session:
        await session.execute(text("UPDATE models SET price_out = 9 WHERE name = 'rill'"))
    try:
        paid = [await asking.run(client, model=name) for name in ("rill", one.name)]
    finally:
        async with db.begin() as session:
            await session.execute(text("UPDATE models SET price_out = 0 WHERE name = 'rill'"))
    assert paid[0]["cost"] == paid[1]["cost"]
    assert float(paid[1]["cost"]) > 0


async def test_the_api_and_a_batch_say_the_same_fingerprint(
    bench: Bench, db: Database, caller: Caller
) -> None:
    one = await bench.version()
    async with db.single() as session:
        (served,) = [
            m for m in await versions.served(session, caller.tenant_id) if m.name == one.name
        ]
    digest = versions.together(bench.rill.digest, one.digest)
    rebuilt = Served(one.name, bench.rill.source, 0, digest=digest)
    assert fingerprint(served) == fingerprint(rebuilt)
    assert (served.runs_on, served.adapter) == ("rill", one.digest)
