"""Jobs over HTTP: accepted once, seen by their tenant alone, listed, cancelled."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime

import httpx
import pytest
from sqlalchemy import text

from core.db.session import Database
from core.ids import new_id
from tests import asking
from tests.asking import JOBS, LONG, SPEC, TERMINAL
from tests.reader import Reader
from tests.rig import Rig
from tests.waiting import eventually

Client = httpx.AsyncClient


@pytest.fixture
async def stranger(rig: Rig) -> AsyncIterator[Client]:
    """A client of another tenant."""
    async with rig.client(await rig.key(new_id("t"))) as opened:
        yield opened


async def test_202_means_that_the_job_is_committed(client: Client, db: Database) -> None:
    answer = await client.post(JOBS, json=SPEC | {"metadata": {"of": "mine"}})
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"{JOBS}/{job['id']}"
    assert job["kind"] == "inference"
    assert job["metadata"] == {"of": "mine"}
    assert datetime.fromisoformat(job["created_at"]).tzinfo is not None
    async with db.begin() as session:
        # Another connection sees what the transaction left: the row and its first numbered fact.
        facts = await session.scalars(
            text("SELECT type FROM job_events WHERE job_id = :id ORDER BY seq"), {"id": job["id"]}
        )
        assert next(iter(facts)) == "job.queued"


async def test_a_job_runs_to_its_result(client: Client) -> None:
    job = await asking.run(client, max_tokens=7)
    assert (job["state"], job["attempt"], job["error"]) == ("succeeded", 1, None)
    assert job["result"]["text"]
    assert job["result"]["finish_reason"] == "length"
    assert job["usage"]["completion_tokens"] == 7
    usage = job["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert job["created_at"] < job["started_at"] < job["finished_at"]
    assert {job[n] for n in ("queue_position", "waiting_for", "waiting_note", "eta_s")} == {None}


async def test_messages_are_a_prompt_too(client: Client) -> None:
    answer = await client.post(
        JOBS,
        json={"kind": "inference", "messages": [{"role": "user", "content": "Hello"}]},
    )
    if answer.status_code == 422:  # a model without a chat template says so, by name
        assert asking.error(answer, 422, "messages")["message"].startswith("This model has no")
    else:
        assert (await asking.ended(client, answer.json()["id"]))["state"] == "succeeded"


async def test_the_queue_position_counts_what_is_ahead(
    client: Client, key: str, db: Database
) -> None:
    queued = await asking.submit(client)
    await asking.ended(client, queued["id"])
    async with db.begin() as session:
        # A queue that no worker listens to: jobs stay where they are.
        await session.execute(
            text(
                """INSERT INTO jobs (id, tenant_id, kind, model, priority, rank, queue, spec, metadata)
                   SELECT 'job_0000000000000000000000000' || n, tenant_id, kind, model, priority, rank,
                          :queue, spec, metadata
                   FROM jobs, generate_series(1, 3) AS n WHERE id = :id"""
            ),
            {"id": queued["id"], "queue": new_id("nobody")},
        )
    third = await asking.get(client, "job_00000000000000000000000003")
    assert (third["state"], third["queue_position"]) == ("queued", 3)
    assert (third["waiting_for"], third["eta_s"]) == ("worker", None)
    assert "No worker that lives serves" in third["waiting_note"]
    listed = (await client.get(JOBS, params={"state": "queued"})).json()["data"]
    assert sorted(job["queue_position"] for job in listed) == [1, 2, 3]
    for number in (1, 2, 3):
        await client.post(f"{JOBS}/job_0000000000000000000000000{number}/cancel")
    async with db.begin() as session:
        await session.execute(
            text("DELETE FROM jobs WHERE id LIKE 'job_0000000000000000000000000_'")
        )


async def test_a_running_job_shows_when_it_will_have_ended(client: Client) -> None:
    """At 2 ms a token, once a job of its kind has shown the speed."""
    await asking.run(client, max_tokens=200)
    job = await asking.submit(client, max_tokens=LONG)
    seen = await asking.reached(client, job["id"], "running")

    async def promised() -> float | None:
        found = await asking.get(client, job["id"])
        assert found["state"] == "running"
        eta_s: float | None = found["eta_s"]
        return eta_s

    # The look at the queue is a second old at most: the first job may not be in it yet.
    assert 0 < (await eventually(promised, "no time was promised") or 0) < 60
    assert seen["waiting_for"] is None
    await client.post(f"{JOBS}/{job['id']}/cancel")


async def test_the_same_idempotency_key_and_body_is_the_same_job(client: Client) -> None:
    headers = {"idempotency-key": new_id("idem")}
    first = await client.post(JOBS, json=SPEC, headers=headers)
    # The order of the fields is no difference, nor is a default that is spelled out.
    turned = dict(reversed(SPEC.items())) | {"temperature": 0.8}
    second = await client.post(JOBS, json=turned, headers=headers)
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["id"] == second.json()["id"]
    assert first.headers["location"] == second.headers["location"]
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    await asking.ended(client, first.json()["id"])
    assert (await client.post(JOBS, json=SPEC, headers=headers)).json()["state"] == "succeeded"


async def test_the_same_key_with_another_body_is_a_final_conflict(client: Client) -> None:
    headers = {"idempotency-key": new_id("idem")}
    await client.post(JOBS, json=SPEC, headers=headers)
    answer = await client.post(JOBS, json=SPEC | {"max_tokens": 6}, headers=headers)
    error = asking.error(answer, 409, "Idempotency-Key")
    assert error["code"] == "idempotency_key_reused"
    assert answer.headers["x-should-retry"] == "false"
    assert len((await client.get(JOBS)).json()["data"]) == 1


async def test_the_key_may_come_in_the_body(client: Client) -> None:
    key = new_id("idem")
    first = await client.post(JOBS, json=SPEC | {"idempotency_key": key})
    second = await client.post(JOBS, json=SPEC, headers={"idempotency-key": key})
    both = await client.post(
        JOBS, json=SPEC | {"idempotency_key": key}, headers={"idempotency-key": key}
    )
    assert {a.json()["id"] for a in (first, second, both)} == {first.json()["id"]}
    answer = await client.post(
        JOBS, json=SPEC | {"idempotency_key": key}, headers={"idempotency-key": "another"}
    )
    asking.error(answer, 422, "idempotency_key")


async def test_fifty_at_once_under_one_key_make_one_job(client: Client) -> None:
    headers = {"idempotency-key": new_id("idem")}
    answers = await asyncio.gather(
        *(client.post(JOBS, json=SPEC, headers=headers) for _ in range(50))
    )
    assert {a.status_code for a in answers} == {202}
    assert len({a.json()["id"] for a in answers}) == 1
    assert sum("idempotency-replayed" not in a.headers for a in answers) == 1
    assert len((await client.get(JOBS)).json()["data"]) == 1


async def test_two_tenants_may_use_the_same_key(client: Client, stranger: Client) -> None:
    headers = {"idempotency-key": "the same"}
    mine = await client.post(JOBS, json=SPEC, headers=headers)
    theirs = await stranger.post(JOBS, json=SPEC, headers=headers)
    assert mine.json()["id"] != theirs.json()["id"]


@pytest.mark.parametrize("bad", ["", "x" * 256, "tab\there"])
async def test_an_impossible_idempotency_key_is_refused_by_name(client: Client, bad: str) -> None:
    answer = await client.post(JOBS, json=SPEC, headers={"idempotency-key": bad})
    asking.error(answer, 422, "Idempotency-Key")


async def test_another_tenants_job_is_not_there(client: Client, stranger: Client) -> None:
    job = await asking.submit(client, max_tokens=LONG)
    for method, path in (
        ("GET", ""), ("GET", "/events"), ("GET", "/stream"), ("POST", "/cancel"),
    ):  # fmt: skip
        theirs = await stranger.request(method, f"{JOBS}/{job['id']}{path}")
        nobodys = await stranger.request(method, f"{JOBS}/{new_id('job')}{path}")
        # The same words for both: the answer must not tell whether the id exists.
        said, never = asking.error(theirs, 404, "job_id"), asking.error(nobodys, 404, "job_id")
        assert said["message"].partition(".")[2] == never["message"].partition(".")[2]
    assert (await asking.get(client, job["id"]))["state"] in ("queued", "running")
    await client.post(f"{JOBS}/{job['id']}/cancel")


async def _pages(client: Client, limit: int, **filters: str) -> list[str]:
    seen: list[str] = []
    query: dict[str, str] = {"limit": str(limit), **filters}
    while True:
        page = (await client.get(JOBS, params=query)).json()
        ids = [job["id"] for job in page["data"]]
        assert len(ids) <= limit
        assert page["object"] == "list"
        assert page["first_id"] == (ids[0] if ids else None)
        assert page["last_id"] == (ids[-1] if ids else None)
        seen += ids
        if not page["has_more"]:
            return seen
        query["after"] = page["last_id"]


async def test_the_list_is_newest_first_and_comes_in_whole_pages(
    client: Client, stranger: Client
) -> None:
    mine = []
    for _ in range(7):
        mine.append((await asking.submit(client))["id"])
        await asking.submit(stranger)
    newest_first = sorted(mine, reverse=True)
    assert await _pages(client, 3) == newest_first
    assert await _pages(client, 7) == newest_first
    assert await _pages(client, 100) == newest_first
    # A cursor of another tenant's leads to nothing of that tenant's.
    theirs = await _pages(stranger, 2)
    page = (await client.get(JOBS, params={"after": theirs[0]})).json()
    assert {job["id"] for job in page["data"]} <= set(mine)


async def test_the_list_filters_by_state_and_kind(client: Client) -> None:
    done = await asking.run(client)
    refused = await asking.run(client, prompt="[error]", max_tokens=30)
    assert refused["state"] == "failed"
    assert await _pages(client, 1, state="succeeded") == [done["id"]]
    assert await _pages(client, 1, state="failed") == [refused["id"]]
    assert await _pages(client, 1, state="expired") == []
    assert len(await _pages(client, 1, kind="inference")) == 2
    assert await _pages(client, 1, kind="nothing") == []
    for field, value in (("state", "done"), ("limit", "0"), ("limit", "101"), ("after", "x")):
        asking.error(await client.get(JOBS, params={field: value}), 422, field)


async def test_an_unknown_error_is_tried_twice_and_told_without_its_insides(client: Client) -> None:
    job = await asking.run(client, prompt="[error]", max_tokens=30)
    assert (job["state"], job["attempt"]) == ("failed", 2)
    assert job["error"]["code"] == "internal_error"
    assert "scripted" not in job["error"]["message"]
    assert job["result"]["text"], "what was said before the error stays readable"


async def test_a_running_job_is_cancelled_and_keeps_its_text(client: Client) -> None:
    job = await asking.submit(client, max_tokens=LONG)

    async def speaking() -> bool:
        page = await client.get(f"{JOBS}/{job['id']}/events")
        return any(e["type"] == "output.delta" for e in page.json()["data"])

    await eventually(speaking, "the first token")
    asked = await client.post(f"{JOBS}/{job['id']}/cancel")
    assert asked.status_code == 200
    ended = await asking.ended(client, job["id"])
    assert ended["state"] == "cancelled"
    reader = await Reader(job["id"]).follow(client)
    assert reader.events[-1]["type"] == "job.cancelled"
    assert ended["result"]["text"] == reader.text != ""
    # It is cancelled: asking again is no error.
    again = await client.post(f"{JOBS}/{job['id']}/cancel")
    assert (again.status_code, again.json()["state"]) == (200, "cancelled")


async def test_a_job_that_ended_cannot_be_cancelled(client: Client) -> None:
    job = await asking.run(client)
    answer = await client.post(f"{JOBS}/{job['id']}/cancel")
    assert asking.error(answer, 409)["code"] == "job_ended"
    assert answer.headers["x-should-retry"] == "false"
    assert (await asking.get(client, job["id"]))["state"] == "succeeded"


async def test_many_jobs_cancelled_at_any_moment_each_end_once(client: Client) -> None:
    jobs = await asyncio.gather(*(asking.submit(client, max_tokens=LONG) for _ in range(20)))
    await asyncio.gather(*(client.post(f"{JOBS}/{j['id']}/cancel") for j in jobs))
    ended = await asyncio.gather(*(asking.ended(client, j["id"]) for j in jobs))
    assert {j["state"] for j in ended} == {"cancelled"}
    readers = await asyncio.gather(*(Reader(j["id"]).follow(client) for j in jobs))
    for reader in readers:
        assert sum(e["type"].removeprefix("job.") in TERMINAL for e in reader.events) == 1


async def test_what_is_unfinished_at_the_end_of_its_window_expires(client: Client) -> None:
    job = await asking.run(client, max_tokens=LONG, completion_window="1s")
    assert job["state"] == "expired"
    assert job["result"]["text"]


@pytest.mark.parametrize("name", ["", "1B", "7B", "30B"])
async def test_a_model_goes_by_its_aliases(client: Client, name: str) -> None:
    job = await asking.submit(client, model=name)
    assert job["model"] not in ("", "1B", "7B", "30B")
