"""Clients that try again without a key: OpenAI's send the same body and say how often they have tried."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from core.db.session import Database
from core.ids import new_id
from tests import asking
from tests.asking import JOBS, LONG
from tests.rig import Rig

CHAT = "/v1/chat/completions"
BODY: dict[str, Any] = {
    "model": "rill", "messages": [{"role": "user", "content": "The mill"}], "max_tokens": 4,
}  # fmt: skip


def tried(times: int) -> dict[str, str]:
    return {"x-stainless-retry-count": str(times)}


async def count(client: httpx.AsyncClient) -> int:
    return len((await client.get(JOBS)).json()["data"])


async def test_a_further_try_is_the_job_of_the_first(client: httpx.AsyncClient) -> None:
    first = await client.post(CHAT, json=BODY, headers=tried(0))
    again = await client.post(CHAT, json=BODY, headers=tried(1))
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert await count(client) == 1
    other = await client.post(CHAT, json=BODY | {"max_tokens": 5}, headers=tried(1))
    assert other.json()["id"] != first.json()["id"]


async def test_two_first_tries_are_two_jobs_and_the_later_is_come_back_to(
    client: httpx.AsyncClient,
) -> None:
    answers = await asyncio.gather(
        *(client.post(CHAT, json=BODY, headers=tried(0)) for _ in range(6))
    )
    assert len({answer.json()["id"] for answer in answers}) == 6
    last = await client.post(CHAT, json=BODY, headers=tried(0))
    again = await client.post(CHAT, json=BODY, headers=tried(2))
    assert again.json() == last.json()


async def test_several_prompts_are_come_back_to_together(client: httpx.AsyncClient) -> None:
    body = {"model": "rill", "prompt": ["The mill", "The mill", "The wind"], "max_tokens": 3}
    first = await client.post("/v1/completions", json=body, headers=tried(0))
    again = await client.post("/v1/completions", json=body, headers=tried(1))
    assert again.json() == first.json()
    assert await count(client) == 3


async def test_a_job_that_went_with_its_client_is_made_anew(client: httpx.AsyncClient) -> None:
    body = BODY | {"max_tokens": LONG}
    with pytest.raises(httpx.ReadTimeout):
        await client.post(CHAT, json=body, headers=tried(0), timeout=0.4)
    (job,) = (await client.get(JOBS)).json()["data"]
    await asking.reached(client, job["id"], "cancelled")
    again = await client.post(CHAT, json=body, headers=tried(1))
    assert again.status_code == 200
    assert await count(client) == 2


async def test_minutes_later_it_is_another_request(client: httpx.AsyncClient, db: Database) -> None:
    first = await client.post(CHAT, json=BODY, headers=tried(0))
    job_id = first.headers["x-penstock-job"]
    async with db.begin() as session:
        old = "UPDATE idempotency_keys SET created_at = now() - interval '1 h' WHERE job_id = :id"
        await session.execute(text(old), {"id": job_id})
    again = await client.post(CHAT, json=BODY, headers=tried(1))
    assert again.headers["x-penstock-job"] != job_id


async def test_a_key_of_their_own_goes_before_all_that(client: httpx.AsyncClient) -> None:
    first = await client.post(CHAT, json=BODY, headers=tried(0) | {"idempotency-key": "a"})
    body = await client.post(CHAT, json=BODY | {"idempotency_key": "a"}, headers=tried(0))
    assert body.json() == first.json()
    other = await client.post(CHAT, json=BODY, headers=tried(1) | {"idempotency-key": "b"})
    assert other.json()["id"] != first.json()["id"]
    both = await client.post(
        CHAT, json=BODY | {"idempotency_key": "a"}, headers={"idempotency-key": "b"}
    )
    asking.error(both, 400, "idempotency_key")


async def test_it_can_be_turned_off_and_what_takes_too_long_names_its_job(workerless: Rig) -> None:
    async with workerless.client(await workerless.key(new_id("t"))) as client:
        for number in (0, 1):
            answer = await client.post(CHAT, json=BODY, headers=tried(number))
            found = asking.error(answer, 504)
            assert (found["type"], found["code"]) == ("server_error", "timeout")
            assert answer.headers["x-penstock-job"] in found["message"]
            job = await asking.get(client, answer.headers["x-penstock-job"])
            assert job["state"] == "queued"
        assert await count(client) == 2


async def test_a_stream_that_waits_shows_that_it_lives(workerless: Rig) -> None:
    """By comments alone; and a client that leaves it takes its queued job along."""
    async with workerless.client(await workerless.key(new_id("t"))) as client:
        async with client.stream("POST", CHAT, json=BODY | {"stream": True}) as answer:
            lines = answer.aiter_lines()
            heard = [await anext(lines) for _ in range(8)]
            job_id = answer.headers["x-penstock-job"]
        assert ": still here" in heard
        assert all(line == "" or line.startswith((": ", "data: ")) for line in heard)
        assert (await asking.ended(client, job_id))["state"] == "cancelled"
