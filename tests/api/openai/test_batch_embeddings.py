"""/v1/embeddings in a batch: lines share the model's passes, fail alone, and give way to whoever waits."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any, Final

import httpx
import pytest
from openai import AsyncOpenAI

from core.catalog import models, tokenizer
from core.catalog.prices import FREE, Prices
from core.config import MODEL_FOLDER
from core.db.session import Database
from core.jobs.embedding import floats
from tests import asking
from tests.api.openai.batching import CHAT, begin, content, ended, upload
from tests.api.openai.batching import line as chat_line
from tests.api.openai.test_batch_stream import read
from tests.api.test_usage import PRICES, used
from tests.fakes.embedder import DIMENSIONS
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("embedder")
TEXT = tokenizer.load(str(MODEL_FOLDER))
MODEL = "scripted-embedder"
PATH: Final = "/v1/embeddings"


@pytest.fixture
async def priced(db: Database) -> AsyncIterator[Prices]:
    """The embedding model has prices while the test lasts."""
    async with db.begin() as session:
        await models.price(session, MODEL, PRICES)
    yield PRICES
    async with db.begin() as session:
        await models.price(session, MODEL, FREE)


def line(custom_id: str, given: Any = "The river", **body: Any) -> dict[str, Any]:
    asked = {"model": MODEL, "input": given} | body
    return {"custom_id": custom_id, "method": "POST", "url": PATH, "body": asked}


async def run(ai: AsyncOpenAI, rows: list[Any], **more: Any) -> Any:
    return await ended(ai, (await begin(ai, rows, endpoint=PATH, **more)).id)


async def answers(ai: AsyncOpenAI, file_id: str | None) -> dict[str, Any]:
    return {one["custom_id"]: one["response"] for one in await content(ai, file_id)}


async def test_lines_are_answered_as_the_route_answers(
    ai: AsyncOpenAI, client: httpx.AsyncClient
) -> None:
    rows = [
        line("text"),
        line("several", ["The river", "a mill", "The river"]),
        line("ids", TEXT.encode("The river")),
        line("packed", encoding_format="base64"),
        line("sized", dimensions=DIMENSIONS, user="u-1", max_tokens_total=1000),
        line("pieces", [f"text number {number}" for number in range(100)]),
    ]
    batch = await run(ai, rows)
    assert (batch.status, batch.model, batch.error_file_id) == ("completed", MODEL, None)
    told = await answers(ai, batch.output_file_id)
    for one in rows:
        direct = await client.post(PATH, json=one["body"])
        assert told[one["custom_id"]]["status_code"] == direct.status_code == 200
        assert told[one["custom_id"]]["body"] == direct.json()
    packed = told["packed"]["body"]["data"][0]["embedding"]
    assert floats(packed) == told["text"]["body"]["data"][0]["embedding"]
    tokens = sum(one["body"]["usage"]["prompt_tokens"] for one in told.values())
    assert (batch.usage.input_tokens, batch.usage.output_tokens) == (tokens, 0)


async def test_what_the_model_cannot_do_fails_alone_as_the_route_says_it(
    ai: AsyncOpenAI, client: httpx.AsyncClient
) -> None:
    wrong: dict[str, Any] = {
        "long": line("long", "word " * 400),
        "second": line("second", ["x", "word " * 400]),
        "short": line("short", dimensions=8),
        "empty": line("empty", ""),
        "number": line("number", 7),
        "vocabulary": line("vocabulary", [[10**8]]),
        "form": line("form", encoding_format="int8"),
        "unknown": line("unknown", input_type="query"),
        "cap": line("cap", max_tokens_total=1),
        "stream": line("stream", stream=True),
        "window": line("window", completion_window="1h"),
    }
    batch = await run(ai, [line("good"), *wrong.values(), line("better")])
    assert batch.request_counts.model_dump() == {"total": 13, "completed": 2, "failed": 11}
    assert (await answers(ai, batch.output_file_id)).keys() == {"good", "better"}
    told = await answers(ai, batch.error_file_id)
    for name in ("stream", "window"):
        wrong.pop(name)
        assert "has no place in a batch" in told.pop(name)["body"]["error"]["message"]
    for name, row in wrong.items():
        direct = await client.post(PATH, json=row["body"])
        assert told[name]["status_code"] == direct.status_code == 400, name
        assert told[name]["body"] == direct.json()


async def test_a_text_that_fails_its_pass_fails_without_its_neighbours(ai: AsyncOpenAI) -> None:
    rows = [line(f"r{i}", f"Number {i}") for i in range(60)]
    batch = await run(ai, [*rows[:30], line("bad", "an [error] here"), *rows[30:]])
    assert batch.request_counts.model_dump() == {"total": 61, "completed": 60, "failed": 1}
    (bad,) = await content(ai, batch.error_file_id)
    assert (bad["custom_id"], bad["error"]["code"]) == ("bad", "internal_error")


async def test_the_first_lines_model_must_be_for_the_endpoint(
    ai: AsyncOpenAI, client: httpx.AsyncClient
) -> None:
    # Longer than what is looked at first.
    long = line("long", ["word " * 100] * 300, model="rill")
    for endpoint, row, names in (
        (PATH, line("a", model="rill"), ("rill", MODEL)),
        (PATH, long, ("rill", MODEL)),
        (CHAT, chat_line("a", model=MODEL), (MODEL, "rill")),
    ):
        body = {"input_file_id": await upload(ai, [row]), "endpoint": endpoint}
        answer = await client.post("/v1/batches", json=body | {"completion_window": "24h"})
        refused = asking.error(answer, 400, "input_file_id")
        assert refused["code"] == "model_not_suited"
        assert all(name in refused["message"] for name in names)
    later = await run(ai, [line("a"), line("b", model="rill"), line("c", model="gone")])
    assert [(e.line, e.code) for e in later.errors.data] == [
        (2, "mismatched_model"),
        (3, "mismatched_model"),
    ]


async def test_a_batch_has_no_more_inputs_than_openais(ai: AsyncOpenAI) -> None:
    batch = await run(ai, [line(f"r{i}", ["x"] * 2048) for i in range(25)])
    assert batch.status == "failed"
    assert [(e.line, e.code) for e in batch.errors.data] == [(None, "too_many_inputs")]


async def test_it_is_charged_once_and_what_it_made_is_reused(
    ai: AsyncOpenAI, client: httpx.AsyncClient, priced: Prices
) -> None:
    rows = [line(f"r{i}", f"Number {i}") for i in range(100)]
    batch = await run(ai, [*rows, line("bad", "")])
    told = await answers(ai, batch.output_file_id)
    tokens = sum(one["body"]["usage"]["prompt_tokens"] for one in told.values())
    shown = (await client.get(f"/v1/batches/{batch.id}")).json()
    assert Decimal(shown["cost"]) == priced.cost(tokens, 0) > 0
    (found,) = await used(client)
    assert (found["batches"], found["jobs"], found["open"]) == (1, 0, 0)
    assert (found["prompt_tokens"], found["completion_tokens"]) == (tokens, 0)
    assert found["engine_seconds"] > 0
    again = await run(ai, [*rows, line("new", "A mill")], extra_body={"resume_from": batch.id})
    shown = (await client.get(f"/v1/batches/{again.id}")).json()
    assert (shown["reused"], shown["request_counts"]["completed"]) == (100, 101)
    assert shown["usage"]["input_tokens"] == len(TEXT.encode("A mill"))
    made = await answers(ai, again.output_file_id)
    assert all(made[name] == response for name, response in told.items())


async def test_it_stops_at_its_cap_and_retry_runs_the_rest(
    ai: AsyncOpenAI, client: httpx.AsyncClient
) -> None:
    each = len(TEXT.encode("Number 100"))
    rows = [line(f"r{i}", TEXT.encode("Number 100")) for i in range(100)]
    cap = {"max_tokens_total": each * 60 + each // 2}
    batch = await run(ai, [*rows, line("bad", "")], extra_body=cap)
    assert (batch.status, batch.stopped_by) == ("completed", "max_tokens_total")
    assert len(await content(ai, batch.output_file_id)) == 60
    assert batch.usage.input_tokens == each * 60
    left = [one["error"] for one in await content(ai, batch.error_file_id) if one["error"]]
    assert {one["code"] for one in left} == {"budget_exhausted"}
    retried = (await client.post(f"/v1/batches/{batch.id}/retry")).json()
    again = await ended(ai, retried["id"])
    assert again.request_counts is not None
    assert again.request_counts.model_dump() == {"total": 41, "completed": 40, "failed": 1}


async def test_every_line_is_streamed_once(ai: AsyncOpenAI, client: httpx.AsyncClient) -> None:
    batch = await begin(ai, [line(f"r{i}", f"Number {i}") for i in range(150)], endpoint=PATH)
    lines, names = await read(client, batch.id)
    assert [number for number, _ in lines] == list(range(1, 151))
    assert names[-1] == "batch.completed"
    done = await ended(ai, batch.id)
    written = {one["custom_id"]: one for one in await content(ai, done.output_file_id)}
    assert {one["custom_id"]: one for _, one in lines} == written


async def test_a_job_does_not_wait_for_the_lines_before_it(ai: AsyncOpenAI) -> None:
    """A pass holds ten of these and takes a second; a worker has 64 lines under way."""
    slow = TEXT.encode("[slow]") + [7] * 190
    batch = await begin(ai, [line(f"r{i}", slow) for i in range(400)], endpoint=PATH)

    async def completed() -> int:
        counts = (await ai.batches.retrieve(batch.id)).request_counts
        assert counts is not None
        return counts.completed

    before = await eventually(completed, "the batch is running")
    await ai.embeddings.create(model=MODEL, input="The river")
    # The pass that is under way, one that was just recorded, and two lines beside the job.
    assert await completed() - before <= 25
    assert (await ai.batches.cancel(batch.id)).status == "cancelling"
    assert (await ended(ai, batch.id)).status == "cancelled"
