"""Embeddings through OpenAI's own client: ordinary jobs, whatever form the vectors come in."""

import asyncio
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from core.catalog import tokenizer
from core.config import MODEL_FOLDER
from core.db.session import Database
from core.jobs.embedding import floats
from core.ledger.tables import Entry
from tests import asking
from tests.asking import JOBS
from tests.fakes.embedder import DIMENSIONS
from tests.rig import Rig

pytestmark = pytest.mark.usefixtures("embedder")
TEXT = tokenizer.load(str(MODEL_FOLDER))
MODEL = "scripted-embedder"
PATH = "/v1/embeddings"
TEXTS = ["The river is long", "the river is long", "a mill"]


def close(one: list[float], other: list[float]) -> float:
    return sum(x * y for x, y in zip(one, other, strict=True))


async def test_each_text_gets_its_vector_and_the_request_is_a_job(
    ai: AsyncOpenAI, client: httpx.AsyncClient
) -> None:
    raw = await ai.embeddings.with_raw_response.create(model=MODEL, input=TEXTS)
    made = raw.parse()
    assert [one.index for one in made.data] == [0, 1, 2]
    vectors = [one.embedding for one in made.data]
    assert {len(v) for v in vectors} == {DIMENSIONS}
    assert close(vectors[0], vectors[1]) == pytest.approx(1, abs=1e-5)
    assert close(vectors[0], vectors[2]) < 0.9
    assert made.model == MODEL
    tokens = sum(len(TEXT.encode(text)) for text in TEXTS)
    assert (made.usage.prompt_tokens, made.usage.total_tokens) == (tokens, tokens)
    job = await asking.get(client, raw.headers["x-penstock-job"])
    assert (job["kind"], job["state"], job["attempt"]) == ("embedding", "succeeded", 1)
    assert [floats(v) for v in job["result"]["vectors"]] == vectors


async def test_the_client_asks_for_base64_and_gets_the_same_numbers_as_floats(
    ai: AsyncOpenAI, client: httpx.AsyncClient
) -> None:
    plain = await ai.embeddings.create(model=MODEL, input="x y", encoding_format="float")
    packed = await ai.embeddings.create(model=MODEL, input="x y")
    assert packed.data == plain.data
    raw = (
        await client.post(PATH, json={"model": MODEL, "input": "x y", "encoding_format": "base64"})
    ).json()
    assert floats(raw["data"][0]["embedding"]) == plain.data[0].embedding


async def test_a_text_and_its_token_ids_have_the_same_vector(ai: AsyncOpenAI) -> None:
    text = await ai.embeddings.create(model=MODEL, input="The river")
    ids = await ai.embeddings.create(model=MODEL, input=TEXT.encode("The river"))
    several = await ai.embeddings.create(model=MODEL, input=[TEXT.encode("The river"), [7]])
    assert text.data == ids.data == several.data[:1]


async def test_more_texts_than_go_through_at_once_keep_their_order(ai: AsyncOpenAI) -> None:
    texts = [f"text number {number}" for number in range(150)]
    many = await ai.embeddings.create(model=MODEL, input=texts)
    for place in (0, 31, 32, 149):
        (alone,) = (await ai.embeddings.create(model=MODEL, input=texts[place])).data
        assert many.data[place].embedding == alone.embedding


async def test_the_native_way_is_the_same_job(client: httpx.AsyncClient) -> None:
    answer = await client.post(JOBS, json={"kind": "embedding", "input": ["The river"]})
    assert answer.status_code == 202, answer.text
    job = await asking.ended(client, answer.json()["id"])
    assert job["result"]["dimensions"] == DIMENSIONS
    assert len(job["result"]["vectors"]) == 1
    events = (await client.get(f"{JOBS}/{job['id']}/events")).json()["data"]
    assert [e["type"] for e in events] == ["job.queued", "job.started", "job.succeeded"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"dimensions": 8}, "dimensions"),
        ({"dimensions": 0}, "dimensions"),
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({"input": ["a", ""]}, "input"),
        ({"input": "word " * 400}, "input"),
        ({"input": [[10**8]]}, "input"),
        ({"encoding_format": "int8"}, "encoding_format"),
        ({"user": "u" * 600}, "user"),
        ({"model": "rill"}, "model"),
        ({"input_type": "query"}, "input_type"),
        ({"completion_window": "soon"}, "completion_window"),
    ],
)
async def test_what_cannot_be_done_is_refused_by_name(
    client: httpx.AsyncClient, fields: dict[str, Any], param: str
) -> None:
    answer = await client.post(PATH, json={"model": MODEL, "input": "x"} | fields)
    found = asking.error(answer, 400)
    assert found["param"].split(".")[0] == param
    assert (await client.get(JOBS)).json()["data"] == []


async def test_the_wrong_field_of_a_native_job_is_named_alike(client: httpx.AsyncClient) -> None:
    for fields, param in (({"input": []}, "input"), ({"prompt": "x", "input": "y"}, "prompt")):
        answer = await client.post(JOBS, json={"kind": "embedding", **fields})
        asking.error(answer, 422, param)


async def test_a_model_that_measures_does_not_write(ai: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="not for inference") as raised:
        await ai.completions.create(model=MODEL, prompt="x")
    assert raised.value.param == "model"
    with pytest.raises(openai.NotFoundError) as unknown:
        await ai.embeddings.create(model="gone", input="x")
    assert unknown.value.code == "model_not_found"
    assert MODEL in {m.id async for m in ai.models.list()}


async def test_the_same_key_is_the_same_job(client: httpx.AsyncClient) -> None:
    body, headers = {"model": MODEL, "input": "once"}, {"Idempotency-Key": "e-1"}
    first = await client.post(PATH, json=body, headers=headers)
    again = await client.post(PATH, json=body, headers=headers)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["x-penstock-job"] == first.headers["x-penstock-job"]


async def test_many_at_once_each_get_their_own(ai: AsyncOpenAI) -> None:
    texts = [f"one {number}" for number in range(24)]
    made = await asyncio.gather(*(ai.embeddings.create(model=MODEL, input=t) for t in texts))
    alone = await ai.embeddings.create(model=MODEL, input=texts)
    assert [m.data[0].embedding for m in made] == [one.embedding for one in alone.data]


async def test_a_client_that_leaves_lets_its_job_go(rig: Rig, key: str) -> None:
    async with rig.client(key) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post(PATH, json={"model": MODEL, "input": "[slow] x"}, timeout=0.3)
        (job,) = (await client.get(JOBS)).json()["data"]
        assert (await asking.ended(client, job["id"]))["state"] == "cancelled"


async def test_a_killed_worker_costs_a_pause(rig: Rig, ai: AsyncOpenAI) -> None:
    asked = asyncio.create_task(ai.embeddings.create(model=MODEL, input=["a b", "[die]"]))
    part = rig.parts["embedding"]
    while part.exited() is None and not asked.done():
        await asyncio.wait([asked], timeout=0.05)
    part.spawn()
    made = await asked
    assert len(made.data) == 2


async def test_it_is_reserved_settled_and_refused_past_its_cap(
    client: httpx.AsyncClient, db: Database
) -> None:
    ids = TEXT.encode(TEXTS[0])
    small = {"model": MODEL, "input": ids, "max_tokens_total": len(ids) - 1}
    refused = asking.error(await client.post(PATH, json=small), 400, "max_tokens_total")
    assert refused["code"] == "budget_too_small"
    made = await client.post(PATH, json=small | {"max_tokens_total": len(ids)})
    assert made.status_code == 200, made.text
    async with db.single() as session:
        entry = await session.get_one(Entry, made.headers["x-penstock-job"])
    assert (entry.prompt_tokens, entry.completion_tokens) == (len(ids), 0)
    assert entry.settled_at is not None
    assert entry.engine_seconds > 0
