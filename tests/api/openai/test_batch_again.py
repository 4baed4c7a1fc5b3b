"""Batches that begin where others ended: retry of failed lines, reuse of finished ones, windows that close."""

from dataclasses import replace

import httpx
from openai import AsyncOpenAI

from core.batches.tables import Batch
from core.catalog import models
from core.catalog.models import Served
from core.db.session import Database
from core.openai.answers import fingerprint
from tests import asking
from tests.api.openai.batching import CHAT, begin, content, ended, line, upload
from tests.rig import Rig


async def test_expiry_keeps_what_there_is_and_names_the_rest(
    ai: AsyncOpenAI, client: httpx.AsyncClient
) -> None:
    rows = [line(f"r{i}", ignore_eos=True, max_tokens=250) for i in range(1000)]
    done = await ended(ai, (await begin(ai, rows, window="3s")).id)
    assert done.status == "expired"
    assert done.request_counts is not None
    made = await content(ai, done.output_file_id)
    missing = await content(ai, done.error_file_id)
    assert len(made) == done.request_counts.completed
    assert len(made) + len(missing) == 1000
    assert {one["error"]["code"] for one in missing} == {"batch_expired"}
    assert all(one["response"] is None for one in missing)
    names = sorted(one["custom_id"] for one in made + missing)
    assert names == sorted(one["custom_id"] for one in rows)


async def test_retry_runs_only_the_failed_lines(ai: AsyncOpenAI, client: httpx.AsyncClient) -> None:
    rows = [line("good"), line("bad", temperature=9), line("better"), line("worse", n=99)]
    first = await ended(ai, (await begin(ai, rows)).id)
    answer = await client.post(f"/v1/batches/{first.id}/retry")
    assert answer.status_code == 200, answer.text
    assert answer.json()["retry_of"] == first.id
    again = await ended(ai, answer.json()["id"])
    assert again.request_counts is not None
    assert again.request_counts.model_dump() == {"total": 2, "completed": 0, "failed": 2}
    wrong = await content(ai, again.error_file_id)
    assert {one["custom_id"] for one in wrong} == {"bad", "worse"}
    whole = await ended(ai, (await begin(ai, [line("good")])).id)
    asking.error(await client.post(f"/v1/batches/{whole.id}/retry"), 409, None)


async def test_finished_lines_of_an_earlier_batch_are_reused(
    ai: AsyncOpenAI, client: httpx.AsyncClient, rig: Rig
) -> None:
    rows = [line(f"r{i}", f"Words {i}", seed=i) for i in range(20)]
    first = await ended(ai, (await begin(ai, rows)).id)
    # The same requests under other names and with their keys in another order, one changed, one new.
    changed = line("changed", "Words 3", seed=3, temperature=0.25)
    body = dict(reversed(list(rows[5]["body"].items())))
    more = [*rows[:3], changed, rows[5] | {"custom_id": "renamed", "body": body}, line("new", "X")]
    wish = {"endpoint": CHAT, "completion_window": "24h", "resume_from": first.id}
    made = await client.post("/v1/batches", json=wish | {"input_file_id": await upload(ai, more)})
    assert made.status_code == 200, made.text
    done = await ended(ai, made.json()["id"])
    shown = (await client.get(f"/v1/batches/{done.id}")).json()
    assert shown["reused"] == 4
    assert shown["request_counts"] == {"total": 6, "completed": 6, "failed": 0}
    old = {one["custom_id"]: one for one in await content(ai, first.output_file_id)}
    new = {one["custom_id"]: one for one in await content(ai, done.output_file_id)}
    assert new["r1"]["response"] == old["r1"]["response"]
    assert new["renamed"]["response"] == old["r5"]["response"]
    assert new.keys() == {"r0", "r1", "r2", "changed", "renamed", "new"}
    # Another tenant's batch is not there.
    async with rig.client(await rig.key("resumer")) as stranger:
        file = await stranger.post(
            "/v1/files", files={"file": ("f", b"{}")}, data={"purpose": "batch"}
        )
        refused = await stranger.post(
            "/v1/batches", json=wish | {"input_file_id": file.json()["id"]}
        )
        asking.error(refused, 404, "resume_from")


async def test_what_other_weights_answered_is_not_reused(
    ai: AsyncOpenAI, client: httpx.AsyncClient, db: Database
) -> None:
    rows = [line("a", seed=1), line("b", seed=2)]
    first = await ended(ai, (await begin(ai, rows)).id)
    # As if the model's files had been exchanged since: the mark is made of their digest.
    async with db.begin() as session:
        old = await session.get_one(Batch, first.id)
        assert old.mark in {fingerprint(one) for one in await models.listed(session)}
        old.mark = fingerprint(Served("rill", "elsewhere", 0, digest="0" * 64))
    wish = {"endpoint": CHAT, "completion_window": "24h", "resume_from": first.id}
    made = await client.post("/v1/batches", json=wish | {"input_file_id": await upload(ai, rows)})
    await ended(ai, made.json()["id"])
    assert (await client.get(f"/v1/batches/{made.json()['id']}")).json()["reused"] == 0


def test_the_mark_changes_with_the_weights_alone() -> None:
    one, other = (Served("m", "folder", 2048, digest=digest) for digest in ("1" * 64, "2" * 64))
    assert fingerprint(one) != fingerprint(other)
    assert fingerprint(one) == fingerprint(replace(one, created=7))
