"""Semantic hits: the last user text may be said otherwise, everything else must be the same, and the tenant."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import text as sql

from core.db.session import Database
from core.ids import new_id
from core.jobs import alike
from core.jobs.alike import Place
from tests import asking
from tests.asking import JOBS
from tests.rig import Rig

pytestmark = pytest.mark.usefixtures("embedder")
# The scripted embedder knows words only, so a text alike is one that shares most of them.
ASKED = "please tell me of the long river that runs past the old mill by the sea"
ALIKE = "please tell me of the long river that runs past the old mill by a sea"
OTHER = "which birds sing at night"


def body(text: str, **fields: Any) -> dict[str, Any]:
    return {
        "kind": "inference", "messages": [{"role": "user", "content": text}], "max_tokens": 5,
        "temperature": 0.0, "cache": {"mode": "semantic", "threshold": 0.8},
    } | fields  # fmt: skip


async def asked(client: httpx.AsyncClient, text: str, **fields: Any) -> tuple[str, dict[str, Any]]:
    answer = await client.post(JOBS, json=body(text, **fields))
    assert answer.status_code == 202, answer.text
    job = await asking.ended(client, answer.json()["id"])
    return answer.headers["x-penstock-cache"], job


async def test_a_text_said_otherwise_gets_the_answer_of_the_first(
    client: httpx.AsyncClient,
) -> None:
    outcome, first = await asked(client, ASKED)
    assert outcome == "miss"
    outcome, hit = await asked(client, ALIKE)
    assert outcome == "hit-semantic"
    assert hit["cache"]["hit"] == "semantic"
    assert hit["cache"]["job"] == first["id"]
    assert 0.8 <= hit["cache"]["similarity"] < 1
    assert hit["result"] == first["result"]
    assert (await asked(client, ASKED))[0] == "hit-exact"
    assert (await asked(client, OTHER))[0] == "miss"
    assert (await asked(client, ALIKE, cache={"mode": "semantic", "threshold": 1.0}))[0] == "miss"
    # The way to a vector is a job like any other, and says whose it is.
    helpers = (await client.get(JOBS, params={"kind": "embedding"})).json()["data"]
    assert helpers
    assert all(job["metadata"] == {"penstock": "cache"} for job in helpers)


@pytest.mark.parametrize(
    "fields",
    [
        {"max_tokens": 6},
        {"seed": 3},
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": ALIKE},
            ]
        },
    ],
)
async def test_what_is_not_the_last_text_must_be_the_same(
    client: httpx.AsyncClient, fields: dict[str, Any]
) -> None:
    await asked(client, ASKED)
    assert (await asked(client, ALIKE, **fields))[0] == "miss"


async def test_another_tenant_never_gets_it(rig: Rig, client: httpx.AsyncClient) -> None:
    await asked(client, ASKED)
    async with rig.client(await rig.key(new_id("t"))) as other:
        assert (await asked(other, ASKED))[0] == "miss"
        assert (await asked(other, ALIKE))[0] == "hit-semantic"


async def test_a_number_that_differs_is_no_hit(client: httpx.AsyncClient) -> None:
    await asked(client, f"{ASKED} in 1914")
    assert (await asked(client, f"{ASKED} in 1941"))[0] == "miss"


async def test_forgetting_takes_the_vectors_too(client: httpx.AsyncClient) -> None:
    await asked(client, ASKED)
    await client.delete("/v1/cache")
    assert (await asked(client, ALIKE))[0] == "miss"


async def test_a_text_too_long_for_the_embedding_model_is_run(client: httpx.AsyncClient) -> None:
    outcome, job = await asked(client, "river " * 300)
    assert (outcome, job["state"]) == ("miss", "succeeded")


async def test_the_vectors_stay_within_their_bound(client: httpx.AsyncClient, db: Database) -> None:
    tenant = (await asked(client, OTHER))[1]["id"]
    async with db.begin() as session:
        place = Place(await _tenant(db, tenant), "c" * 64)
        for _ in range(40):
            await alike.keep(session, place, [1.0, 0.0, 0.0], tenant, 60)
    async with db.begin() as session:
        # Room for ten vectors of three numbers.
        await alike.bound(session, 10 * (12 + alike.OVERHEAD), 3)
        left = await session.scalar(sql("SELECT count(*) FROM cache_vectors"))
        assert left == 10
        found = await alike.nearest(session, place, OTHER, [1.0, 0.0, 0.0], 0.9)
        assert found is not None


async def test_without_pgvector_the_mode_is_refused_by_name(
    client: httpx.AsyncClient, db: Database
) -> None:
    await _run(db, "ALTER TABLE cache_vectors RENAME TO cache_vectors_away")
    try:
        answer = await client.post(JOBS, json=body(ASKED))
        assert "pgvector" in asking.error(answer, 422, "cache.mode")["message"]
        assert (await asking.run(client, temperature=0.0, cache={"mode": "exact"}))["result"]
    finally:
        await _run(db, "ALTER TABLE cache_vectors_away RENAME TO cache_vectors")
    assert (await asked(client, ASKED))[0] == "miss"


async def test_a_look_up_that_fails_is_a_miss(client: httpx.AsyncClient, db: Database) -> None:
    await asked(client, ASKED)
    await _run(db, "ALTER TABLE cache_vectors RENAME COLUMN vector TO other")
    try:
        outcome, job = await asked(client, ALIKE)
    finally:
        await _run(db, "ALTER TABLE cache_vectors RENAME COLUMN other TO vector")
    assert (outcome, job["state"]) == ("miss", "succeeded")
    assert (await asked(client, ALIKE.removeprefix("please ")))[0] == "hit-semantic"


async def test_without_a_worker_for_vectors_jobs_are_run_and_none_piles_up(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    await asyncio.to_thread(rig.parts["embedding"].kill)
    try:
        outcome, job = await asked(client, ASKED)
        assert (outcome, job["state"]) == ("miss", "succeeded")
        # The next ones do not even ask for a vector.
        assert (await asked(client, f"{ASKED} again"))[0] == "miss"
        (helper,) = (await client.get(JOBS, params={"kind": "embedding"})).json()["data"]
        await asking.reached(client, helper["id"], "expired")
    finally:
        await asyncio.to_thread(rig.start, "embedding")


async def _run(db: Database, statement: str) -> None:
    async with db.begin() as session:
        await session.execute(sql(statement))


async def _tenant(db: Database, job_id: str) -> str:
    async with db.single() as session:
        query = sql("SELECT tenant_id FROM jobs WHERE id = :id")
        return str(await session.scalar(query, {"id": job_id}))
