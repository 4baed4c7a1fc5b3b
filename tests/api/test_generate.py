"""POST /generate: the short way waits for the job it makes, and says plainly when there is no result."""

import asyncio
from typing import Any

import httpx
import pytest

from core.ids import new_id
from tests import asking
from tests.asking import JOBS, LONG
from tests.rig import Rig
from tests.waiting import eventually

Client = httpx.AsyncClient


async def test_it_answers_with_the_text_and_its_job(client: Client) -> None:
    answer = await client.post("/generate", json={"prompt": "The river", "max_tokens": 6})
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert set(said) == {"id", "model", "text", "finish_reason", "usage"}
    assert said["usage"]["completion_tokens"] == 6
    assert answer.headers["location"] == f"{JOBS}/{said['id']}"
    job = await asking.get(client, said["id"])
    assert job["result"]["text"] == said["text"] != ""
    assert job["state"] == "succeeded"


async def test_a_prompt_alone_is_enough(client: Client) -> None:
    answer = await client.post("/generate", json={"prompt": "The river"})
    assert answer.status_code == 200
    assert answer.json()["usage"]["completion_tokens"] == 100


@pytest.mark.parametrize("size", ["1B", "7B", "30B", None])
async def test_a_size_resolves_through_the_aliases(client: Client, size: str | None) -> None:
    asked = {"prompt": "The river", "max_tokens": 2, "model_size": size}
    answer = await client.post("/generate", json=asked)
    assert answer.status_code == 200
    assert answer.json()["model"] not in ("", "1B", "7B", "30B")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model_size": "3B"}, "model_size"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": "NUL \0 inside"}, "prompt"),
        ({"prompt": "word " * 3000}, "prompt"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "6"}, "max_tokens"),
        ({"max_tokens": 2047}, "max_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"top_k": -2}, "top_k"),
        ({"top_p": 2}, "top_p"),
        ({"messages": []}, "messages"),
    ],
    ids=lambda v: str(v)[:40],
)
async def test_a_wrong_field_is_named(client: Client, fields: dict[str, Any], param: str) -> None:
    answer = await client.post("/generate", json={"prompt": "The river"} | fields)
    asking.error(answer, 422, param)
    assert (await client.get(JOBS)).json()["data"] == []


async def test_a_failed_job_is_a_server_error_that_names_it(client: Client) -> None:
    answer = await client.post("/generate", json={"prompt": "[error]", "max_tokens": 30})
    error = asking.error(answer, 500)
    assert error["code"] == "internal_error"
    (job,) = (await client.get(JOBS)).json()["data"]
    assert job["id"] in error["message"]
    assert job["state"] == "failed"


async def test_a_job_cancelled_by_somebody_else_is_a_final_conflict(client: Client) -> None:
    asked = {"prompt": "The river", "max_tokens": LONG}
    waiting = asyncio.create_task(client.post("/generate", json=asked))

    async def made() -> Any:
        return (await client.get(JOBS)).json()["data"]

    (job,) = await eventually(made, "the job that /generate made")
    await client.post(f"{JOBS}/{job['id']}/cancel")
    answer = await waiting
    assert asking.error(answer, 409)["code"] == "job_cancelled"
    assert answer.headers["x-should-retry"] == "false"


async def test_what_takes_too_long_is_202_and_where_to_poll(workerless: Rig) -> None:
    async with workerless.client(await workerless.key(new_id("t"))) as client:
        answer = await client.post("/generate", json={"prompt": "The river"})
        assert answer.status_code == 202
        job = answer.json()
        assert job["state"] in ("queued", "running")
        assert answer.headers["location"] == f"{JOBS}/{job['id']}"
        assert (await asking.get(client, job["id"]))["id"] == job["id"]
