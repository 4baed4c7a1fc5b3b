"""Answers from the cache: jobs like any others, only for requests that allow it, never across tenants."""

import asyncio
from decimal import Decimal
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI
from redis.asyncio import Redis
from sqlalchemy import text as sql

from core.cache.shared import P
from core.db.session import Database
from core.events.log import EventLog
from core.ids import new_id
from core.ledger.tables import Entry
from tests import asking
from tests.asking import JOBS
from tests.faults.invariants import one_story
from tests.reader import Reader
from tests.rig import Rig

EXACT: dict[str, Any] = {"temperature": 0.0, "cache": {"mode": "exact"}}
CHAT = "/v1/chat/completions"


async def cached(client: httpx.AsyncClient, **fields: Any) -> tuple[str | None, dict[str, Any]]:
    """The header of a submission and its job at the end."""
    answer = await client.post(JOBS, json=asking.SPEC | EXACT | fields)
    assert answer.status_code == 202, answer.text
    job = await asking.ended(client, answer.json()["id"])
    return answer.headers.get("x-penstock-cache"), job


async def test_the_same_request_again_is_answered_by_a_job_that_has_already_succeeded(
    client: httpx.AsyncClient,
) -> None:
    outcome, first = await cached(client)
    assert (outcome, first["cache"]) == ("miss", None)
    for _ in range(2):
        answer = await client.post(JOBS, json=asking.SPEC | EXACT)
        hit = answer.json()
        assert answer.headers["x-penstock-cache"] == "hit-exact"
        assert (hit["state"], hit["attempt"]) == ("succeeded", 1)
        assert hit["cache"] == {"hit": "exact", "job": first["id"]}
        # The tokens of the answer, and that no engine made them for this job.
        assert hit["usage"] == first["usage"] | {"cache": "exact", "engine_seconds": 0}
        assert hit["cost"] == "0"
        assert hit["result"] == first["result"]
        assert await asking.get(client, hit["id"]) == hit


async def test_a_hit_is_in_the_ledger_and_costs_nothing(
    client: httpx.AsyncClient, db: Database
) -> None:
    fields = {"prompt": new_id("paid")}
    _, first = await cached(client, **fields)
    _, hit = await cached(client, **fields)
    async with db.single() as session:
        ran, found = [await session.get_one(Entry, job["id"]) for job in (first, hit)]
    assert (ran.cache, found.cache) == ("none", "exact")
    assert found.completion_tokens == ran.completion_tokens == first["usage"]["completion_tokens"]
    assert (found.cost, found.engine_seconds) == (Decimal(0), 0.0)
    assert found.settled_at is not None


async def test_the_log_of_a_hit_is_like_any_other(
    client: httpx.AsyncClient, db: Database, log: EventLog
) -> None:
    """Its facts walk the state machine, and a reader puts the same text together, with and without Redis."""
    many = {"n": 2, "seed": 4, "logprobs": 0}
    for fields in ({}, many):
        _, first = await cached(client, **fields)
        _, hit = await cached(client, **fields)
        assert hit["cache"]["job"] == first["id"]
        job, facts = await story(db, hit["id"])
        one_story(job, facts)
        reader = Reader(hit["id"])
        await reader.connect(client)
        told = [e["type"] for e in reader.events]
        deltas = [e["data"] for e in reader.events if e["type"] == "output.delta"]
        assert told == [
            "job.queued",
            "job.started",
            *["output.delta"] * len(deltas),
            "job.succeeded",
        ]
        assert reader.snapshots == 0
        assert reader.events[-1]["data"]["cache"] == hit["cache"]
        for choice in first["result"].get("choices") or [{"index": 0, **first["result"]}]:
            (mine,) = [d for d in deltas if d.get("index", 0) == choice["index"]]
            assert mine["text"] == choice["text"]
            assert mine.get("logprobs") == choice.get("logprobs")
        await log.redis.flushall()
        again = Reader(hit["id"])
        await again.connect(client)
        assert again.events == reader.events


async def story(db: Database, job_id: str) -> tuple[Any, list[Any]]:
    facts = "SELECT * FROM job_events WHERE job_id = :id AND type LIKE 'job.%' ORDER BY seq"
    async with db.begin() as session:
        job = (
            await session.execute(sql("SELECT * FROM jobs WHERE id = :id"), {"id": job_id})
        ).one()
        return job, list((await session.execute(sql(facts), {"id": job_id})).all())


async def test_a_hit_streams_on_both_surfaces(client: httpx.AsyncClient, ai: AsyncOpenAI) -> None:
    body: dict[str, Any] = {
        "model": "rill", "messages": [{"role": "user", "content": "River?"}], "max_tokens": 8,
        "temperature": 0,
    }  # fmt: skip
    extra = {"cache": {"mode": "exact"}}
    first = await ai.chat.completions.create(**body, extra_body=extra)
    async with client.stream("POST", CHAT, json=body | extra | {"stream": True}) as answer:
        assert answer.headers["x-penstock-cache"] == "hit-exact"
        job_id = answer.headers["x-penstock-job"]
        await answer.aread()
    stream = await ai.chat.completions.create(**body, stream=True, extra_body=extra)
    text = "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])
    assert text == first.choices[0].message.content
    async with client.stream("GET", f"{JOBS}/{job_id}/stream") as native:
        said = (await native.aread()).decode()
    assert "event: job.succeeded" in said
    whole = await ai.chat.completions.with_raw_response.create(**body, extra_body=extra)
    assert whole.headers["x-penstock-cache"] == "hit-exact"
    made = whole.parse()
    assert made.choices == first.choices
    assert made.usage is not None
    assert first.usage is not None
    assert made.usage.model_dump() == first.usage.model_dump() | {"cache": "exact"}


async def test_a_hit_is_a_response_like_any_other(ai: AsyncOpenAI) -> None:
    extra = {"cache": {"mode": "exact"}}
    body: dict[str, Any] = {"model": "rill", "input": "The sea?", "temperature": 0}
    first = await ai.responses.create(**body, max_output_tokens=8, extra_body=extra)
    raw = await ai.responses.with_raw_response.create(**body, max_output_tokens=8, extra_body=extra)
    assert raw.headers["x-penstock-cache"] == "hit-exact"
    assert raw.parse().output_text == first.output_text
    stream = await ai.responses.create(**body, max_output_tokens=8, stream=True, extra_body=extra)
    events = [event async for event in stream]
    assert [e.sequence_number for e in events] == list(range(len(events)))
    assert [e.type for e in events[:3]] == [
        "response.created", "response.queued", "response.in_progress",
    ]  # fmt: skip
    last = events[-1]
    assert last.type in ("response.completed", "response.incomplete")
    assert last.response.output_text == first.output_text
    assert last.response.usage is not None
    assert last.response.usage.model_dump()["cache"] == "exact"


async def test_generate_takes_the_wish_too(client: httpx.AsyncClient) -> None:
    asked = {"prompt": "The mill", "max_tokens": 4, **EXACT}
    first, again = [await client.post("/generate", json=asked) for _ in range(2)]
    assert [a.headers["x-penstock-cache"] for a in (first, again)] == ["miss", "hit-exact"]
    assert again.json()["text"] == first.json()["text"]
    assert again.json()["usage"]["cache"] == "exact"


async def test_another_tenant_never_gets_it(rig: Rig, client: httpx.AsyncClient) -> None:
    await cached(client)
    async with rig.client(await rig.key(new_id("t"))) as other:
        assert (await cached(other))[0] == "miss"
        # And takes nothing away from the first.
        assert (await other.delete("/v1/cache")).json()["entries"] == 1
    assert (await cached(client))[0] == "hit-exact"


@pytest.mark.parametrize(
    "fields",
    [{"prompt": "The mill"}, {"max_tokens": 6}, {"seed": 2}, {"stop": ["q"]}, {"top_k": 3},
     {"logprobs": 1}, {"n": 2, "seed": 1}],
)  # fmt: skip
async def test_whatever_an_answer_depends_on_must_be_the_same(
    client: httpx.AsyncClient, fields: dict[str, Any]
) -> None:
    await cached(client)
    assert (await cached(client, **fields))[0] == "miss"
    assert (await cached(client, **fields))[0] == "hit-exact"


async def test_what_an_answer_does_not_depend_on_may_differ(client: httpx.AsyncClient) -> None:
    _, first = await cached(client)
    outcome, hit = await cached(client, priority="batch", metadata={"a": "b"})
    assert (outcome, hit["cache"]["job"]) == ("hit-exact", first["id"])
    assert (hit["priority"], hit["metadata"]) == ("batch", {"a": "b"})


async def test_nothing_is_kept_or_found_for_requests_that_do_not_allow_it(
    client: httpx.AsyncClient,
) -> None:
    for cache in (None, {"mode": "off"}):
        outcome, job = await cached(client, cache=cache)
        assert (outcome, job["cache"]) == (None, None)
    assert (await cached(client))[0] == "miss"
    outcome, job = await cached(client, cache=None)
    assert (outcome, job["attempt"]) == (None, 1)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": 0.5}, "cache"),
        ({"cache": {"mode": "fuzzy"}}, "cache.mode"),
        ({"cache": {}}, "cache.mode"),
        ({"cache": {"mode": "exact", "ttl_s": 0}}, "cache.ttl_s"),
        ({"cache": {"mode": "exact", "ttl": 5}}, "cache.ttl"),
        ({"cache": {"mode": "exact", "threshold": 0.9}}, "cache"),
        ({"cache": {"mode": "semantic", "threshold": 0.2}}, "cache.threshold"),
        ({"cache": {"mode": "semantic"}, "prompt": [5, 6]}, "cache.mode"),
    ],
)
async def test_a_wrong_wish_is_refused_by_name(
    client: httpx.AsyncClient, fields: dict[str, Any], param: str
) -> None:
    answer = await client.post(JOBS, json=asking.SPEC | EXACT | fields)
    asking.error(answer, 422, param)
    asked = {"model": "rill", "max_tokens": 4} | EXACT | {"prompt": "x"} | fields
    asking.error(await client.post("/v1/completions", json=asked), 400, param)
    assert (await client.get(JOBS)).json()["data"] == []


async def test_only_answers_of_jobs_that_succeeded_are_found(client: httpx.AsyncClient) -> None:
    long = {"max_tokens": asking.LONG, "prompt": "long"}
    job = await asking.submit(client, **EXACT | long)
    await client.post(f"{JOBS}/{job['id']}/cancel")
    await asking.reached(client, job["id"], "cancelled")
    again = await client.post(JOBS, json=asking.SPEC | EXACT | long)
    assert again.headers["x-penstock-cache"] == "miss"
    await client.post(f"{JOBS}/{again.json()['id']}/cancel")


async def test_an_idempotency_key_comes_before_the_cache(client: httpx.AsyncClient) -> None:
    body, headers = asking.SPEC | EXACT, {"Idempotency-Key": "k"}
    first = (await client.post(JOBS, json=body, headers=headers)).json()
    await asking.ended(client, first["id"])
    again = await client.post(JOBS, json=body, headers=headers)
    assert again.json()["id"] == first["id"]
    assert "x-penstock-cache" not in again.headers


async def test_a_tenant_can_have_its_answers_forgotten(client: httpx.AsyncClient) -> None:
    await cached(client)
    assert (await cached(client))[0] == "hit-exact"
    assert (await client.delete("/v1/cache")).json() == {
        "object": "cache", "deleted": True, "entries": 1,
    }  # fmt: skip
    assert (await cached(client))[0] == "miss"


async def entries(redis: Redis) -> list[bytes]:
    return [key async for key in redis.scan_iter(f"{P}e:*")]


async def test_an_answer_is_found_until_its_time_is_over(
    client: httpx.AsyncClient, log: EventLog
) -> None:
    before = set(await entries(log.redis))
    await cached(client, cache={"mode": "exact", "ttl_s": 100})
    (mine,) = set(await entries(log.redis)) - before
    assert 90_000 < await log.redis.pttl(mine) <= 100_000
    await log.redis.pexpire(mine, 1)

    async def missed() -> bool:
        return not await log.redis.exists(mine)

    await asyncio.wait_for(_true(missed), 5)
    assert (await cached(client))[0] == "miss"


async def _true(condition: Any) -> None:
    while not await condition():
        continue


async def test_a_damaged_entry_is_a_miss(client: httpx.AsyncClient, log: EventLog) -> None:
    before = set(await entries(log.redis))
    await cached(client)
    (mine,) = set(await entries(log.redis)) - before
    for damage in (b"", b"nonsense", b"x" * 16 + b'{"job": "job_x", "until": 9e9, "result": {}}'):
        await log.redis.set(mine, damage, ex=100)
        assert (await cached(client))[0] == "miss"
    assert (await cached(client))[0] == "hit-exact"
