"""Batches with OpenAI's own client: from a file of requests to files of answers, and what goes wrong by line."""

import json
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from tests import asking
from tests.api.openai.batching import CHAT, begin, content, ended, jsonl, line, upload


async def test_a_batch_runs_to_its_output_file(ai: AsyncOpenAI) -> None:
    asked = [line(f"r{i}", f"Number {i}") for i in range(200)]
    batch = await begin(ai, asked, metadata={"night": "1"})
    assert batch.status == "validating"
    assert batch.expires_at is not None
    assert batch.expires_at - batch.created_at == 86400
    done = await ended(ai, batch.id)
    assert done.status == "completed", done
    assert done.request_counts is not None
    assert done.request_counts.model_dump() == {"total": 200, "completed": 200, "failed": 0}
    assert done.error_file_id is None
    assert done.metadata == {"night": "1"}
    lines = await content(ai, done.output_file_id)
    assert sorted(one["custom_id"] for one in lines) == sorted(one["custom_id"] for one in asked)
    assert all(one["response"]["status_code"] == 200 and one["error"] is None for one in lines)
    said = sum(one["response"]["body"]["usage"]["completion_tokens"] for one in lines)
    assert done.usage is not None
    assert done.usage.output_tokens == said == 800
    assert done.output_file_id is not None
    assert (await ai.files.retrieve(done.output_file_id)).purpose == "batch_output"


async def test_a_line_answers_as_its_route_does(ai: AsyncOpenAI) -> None:
    body = line("one", "The same words", max_tokens=9, temperature=0, seed=3)
    alone = await ai.chat.completions.create(**body["body"])
    done = await ended(ai, (await begin(ai, [body])).id)
    (made,) = await content(ai, done.output_file_id)
    answer = made["response"]["body"]
    expected = alone.model_dump()
    assert answer["choices"] == [
        {k: v for k, v in c.items() if k != "message"}
        | {"message": {k: v for k, v in c["message"].items() if v is not None or k == "refusal"}}
        for c in expected["choices"]
    ]
    assert answer["object"] == "chat.completion"
    assert answer["system_fingerprint"] == alone.system_fingerprint


async def test_completions_of_several_prompts_in_one_line(ai: AsyncOpenAI) -> None:
    one = {
        "custom_id": "c",
        "method": "POST",
        "url": "/v1/completions",
        "body": {"model": "rill", "prompt": ["a b", "c d"], "max_tokens": 3, "echo": True},
    }
    done = await ended(ai, (await begin(ai, [one], endpoint="/v1/completions")).id)
    (made,) = await content(ai, done.output_file_id)
    texts = [c["text"] for c in made["response"]["body"]["choices"]]
    assert [t[:3] for t in texts] == ["a b", "c d"]


async def test_one_bad_row_fails_alone(ai: AsyncOpenAI) -> None:
    rows = [
        line("good"),
        line("hot", temperature=9),
        line("unknown", colour="red"),
        line("long", "word " * 4000),
        line("streams", stream=True),
        line("cached", cache={"mode": "exact"}),
    ]
    done = await ended(ai, (await begin(ai, rows)).id)
    assert done.status == "completed"
    assert done.request_counts is not None
    assert done.request_counts.model_dump() == {"total": 6, "completed": 1, "failed": 5}
    (good,) = await content(ai, done.output_file_id)
    assert good["custom_id"] == "good"
    wrong = {one["custom_id"]: one for one in await content(ai, done.error_file_id)}
    assert all(one["response"]["status_code"] == 400 for one in wrong.values())
    errors = {name: one["response"]["body"]["error"] for name, one in wrong.items()}
    assert errors["hot"]["param"] == "temperature"
    assert errors["unknown"]["param"] == "colour"
    assert errors["streams"]["param"] == "stream"
    assert errors["cached"]["param"] == "cache"
    assert errors["long"]["code"] == "context_length_exceeded"


def nested(depth: int) -> dict[str, Any]:
    return {"a": nested(depth - 1)} if depth else {}


WRONG: list[tuple[Any, str]] = [
    (b"{nope", "invalid_json_line"),
    (b"[1]", "invalid_json_line"),
    (line("a"), "duplicate_custom_id"),
    (line("b") | {"url": "/v1/embeddings"}, "mismatched_url"),
    (line("c") | {"method": "GET"}, "invalid_method"),
    (line("d") | {"extra": 1}, "unknown_field"),
    (line("e") | {"custom_id": 7}, "invalid_custom_id"),
    (line("f") | {"body": "x"}, "invalid_body"),
    (line("h") | {"body": nested(300)}, "invalid_body"),
    (line("g", model="other"), "mismatched_model"),
]


async def test_every_wrong_line_is_named_with_its_number(ai: AsyncOpenAI) -> None:
    done = await ended(ai, (await begin(ai, [line("a"), *(one for one, _ in WRONG)])).id)
    assert done.status == "failed"
    assert done.failed_at is not None
    assert done.errors is not None
    assert done.errors.data is not None
    told = [(e.line, e.code) for e in done.errors.data]
    assert told == [(number, code) for number, (_, code) in enumerate(WRONG, 2)]
    assert done.output_file_id is None


async def test_an_empty_file_fails(ai: AsyncOpenAI) -> None:
    done = await ended(ai, (await begin(ai, [b"", b"  "])).id)
    assert done.errors is not None
    assert done.errors.data is not None
    assert [e.code for e in done.errors.data] == ["empty_file"]


async def test_what_cannot_be_a_batch_is_refused_at_once(
    ai: AsyncOpenAI, client: httpx.AsyncClient
) -> None:
    file = await upload(ai, [line("a")])
    good = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"}
    for extra, param in (
        ({"endpoint": "/v1/moderations"}, "endpoint"),
        ({"completion_window": "soon"}, "completion_window"),
        ({"completion_window": "31d"}, "completion_window"),
        ({"colour": "red"}, "colour"),
        ({"metadata": {"k": 7}}, "metadata.k"),
    ):
        asking.error(await client.post("/v1/batches", json=good | extra), 400, param)
    missing = await client.post("/v1/batches", json=good | {"input_file_id": "file_" + "0" * 26})
    asking.error(missing, 404, "input_file_id")
    other = await ai.files.create(file=("x", b"x"), purpose="user_data")
    refused = await client.post("/v1/batches", json=good | {"input_file_id": other.id})
    asking.error(refused, 400, "input_file_id")


async def test_a_key_makes_one_batch(ai: AsyncOpenAI, client: httpx.AsyncClient) -> None:
    file = await upload(ai, [line("a")])
    body = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"}
    key = {"idempotency-key": "night-1"}
    first = await client.post("/v1/batches", json=body, headers=key)
    again = await client.post("/v1/batches", json=body, headers=key)
    assert first.json()["id"] == again.json()["id"]
    assert again.headers["idempotency-replayed"] == "true"
    other = await client.post("/v1/batches", json=body | {"completion_window": "1h"}, headers=key)
    asking.error(other, 409, "Idempotency-Key")


async def test_batches_are_listed_by_page_and_only_their_tenants(ai: AsyncOpenAI, rig: Any) -> None:
    made = [(await begin(ai, [line("a")])).id for _ in range(3)]
    assert [b.id async for b in ai.batches.list(limit=2)] == made[::-1]
    stranger = AsyncOpenAI(base_url=f"{rig.base_url}/v1", api_key=await rig.key("stranger"))
    async with stranger:
        with pytest.raises(openai.NotFoundError):
            await stranger.batches.retrieve(made[0])


async def test_cancel_keeps_what_there_is(ai: AsyncOpenAI) -> None:
    rows = [line(f"r{i}", ignore_eos=True, max_tokens=200) for i in range(300)]
    batch = await begin(ai, rows)
    cancelled = await ai.batches.cancel(batch.id)
    assert cancelled.status == "cancelling"
    done = await ended(ai, batch.id)
    assert done.status == "cancelled"
    assert done.cancelled_at is not None
    again = await ai.batches.cancel(batch.id)
    assert again.status == "cancelled"


async def test_steps_are_jobs_that_only_their_batch_cancels(
    ai: AsyncOpenAI, client: httpx.AsyncClient
) -> None:
    done = await ended(ai, (await begin(ai, [line("a")])).id)
    jobs = (await client.get("/v1/jobs?kind=batch")).json()["data"]
    assert {job["result"]["step"] for job in jobs} == {"validate", "shard", "finish"}
    assert {job["metadata"]["batch_id"] for job in jobs} == {done.id}
    refused = await client.post(f"/v1/jobs/{jobs[0]['id']}/cancel")
    assert refused.status_code == 409
    made = await client.post("/v1/jobs", json={"kind": "batch", "step": "finish"})
    assert made.status_code == 422


async def test_a_file_without_a_newline_at_its_end_and_with_blank_lines(ai: AsyncOpenAI) -> None:
    raw = b"\n" + jsonl([line("a")]) + b"\r\n" + json.dumps(line("b")).encode()
    made = await ai.files.create(file=("in.jsonl", raw), purpose="batch")
    batch = await ai.batches.create(input_file_id=made.id, endpoint=CHAT, completion_window="24h")
    done = await ended(ai, batch.id)
    assert {one["custom_id"] for one in await content(ai, done.output_file_id)} == {"a", "b"}


async def test_webhooks_tell_of_the_batch_and_not_of_its_steps(
    ai: AsyncOpenAI, client: httpx.AsyncClient
) -> None:
    types = ["batch.completed", "batch.failed", "job.queued", "job.succeeded"]
    wish = {"name": "b", "url": "http://127.0.0.1:9/", "event_types": types}
    made = await client.post("/v1/webhook_endpoints", json=wish)
    assert made.status_code in (200, 201), made.text
    endpoint = f"/v1/webhook_endpoints/{made.json()['id']}"
    good = await ended(ai, (await begin(ai, [line("a")])).id)
    bad = await ended(ai, (await begin(ai, [b"{"])).id)
    told = (await client.get(f"{endpoint}/deliveries")).json()["data"]
    assert sorted((d["event_type"], d["event_id"]) for d in told) == [
        ("batch.completed", f"evt_{good.id}_completed"),
        ("batch.failed", f"evt_{bad.id}_failed"),
    ]
    tested = await client.post(f"{endpoint}/test", json={"event_type": "batch.expired"})
    # Nobody listens there; that the type is known is what counts.
    assert asking.error(tested, 409)["code"] == "test_failed"
