"""Chat completions through OpenAI's own client: whole, streamed, several at once, wrong, and left behind."""

import json
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from tests import asking
from tests.asking import JOBS, LONG

SAID: list[Any] = [{"role": "user", "content": "Tell me of the river."}]
CHAT = "/v1/chat/completions"


async def jobs(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.get(JOBS)).json()["data"]
    return found


async def test_an_answer_is_an_ordinary_job(ai: AsyncOpenAI, client: httpx.AsyncClient) -> None:
    raw = await ai.chat.completions.with_raw_response.create(
        model="rill", messages=SAID, max_tokens=6, user="me", metadata={"a": "b"}
    )
    said = raw.parse()
    (job,) = await jobs(client)
    assert raw.headers["x-penstock-job"] == job["id"]
    assert raw.request_id
    assert said.id == "chatcmpl-" + job["id"].removeprefix("job_")
    assert (said.object, said.model, said.service_tier) == ("chat.completion", "rill", "default")
    (choice,) = said.choices
    assert choice.message.content == job["result"]["text"] != ""
    assert (choice.message.role, choice.finish_reason, choice.logprobs) == (
        "assistant",
        "length",
        None,
    )
    assert said.usage is not None
    assert said.usage.completion_tokens == 6
    assert said.usage.total_tokens == said.usage.prompt_tokens + 6
    assert job["metadata"] == {"a": "b", "user": "me"}
    again = await ai.chat.completions.create(model="rill", messages=SAID, max_tokens=6)
    assert again.choices == said.choices
    assert again.system_fingerprint == said.system_fingerprint
    assert again.id != said.id


async def test_a_stream_says_the_same_in_chunks(ai: AsyncOpenAI) -> None:
    whole = await ai.chat.completions.create(model="rill", messages=SAID, max_tokens=9)
    stream = await ai.chat.completions.create(
        model="rill",
        messages=SAID,
        max_tokens=9,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    *spoken, last = chunks
    assert {c.id for c in chunks} == {chunks[0].id}
    assert spoken[0].choices[0].delta.role == "assistant"
    assert (
        "".join(c.choices[0].delta.content or "" for c in spoken)
        == whole.choices[0].message.content
    )
    assert [c.choices[0].finish_reason for c in spoken][-1] == "length"
    assert all(c.usage is None for c in spoken)
    assert last.choices == []
    assert last.usage == whole.usage
    assert len(spoken) > 3


async def test_a_stream_has_no_ids_and_ends_with_done(client: httpx.AsyncClient) -> None:
    """OpenAI's decoder keeps an id: line for ever and fails on the next comment; retry: breaks it too."""
    body = {"model": "rill", "messages": SAID, "max_tokens": 5, "stream": True}
    async with client.stream("POST", CHAT, json=body) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["x-penstock-job"].startswith("job_")
        lines = [line async for line in answer.aiter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    assert all(line.startswith(("data: ", ":")) for line in lines)
    chunks = [json.loads(line[6:]) for line in lines[:-1] if line.startswith("data: ")]
    assert {c["object"] for c in chunks} == {"chat.completion.chunk"}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failed_job_raises_and_is_not_tried_again(
    ai: AsyncOpenAI, client: httpx.AsyncClient, stream: bool
) -> None:
    said: list[Any] = [{"role": "user", "content": "[error]"}]

    async def ask() -> None:
        if not stream:
            await ai.chat.completions.create(model="rill", messages=said, max_tokens=30)
            return
        answer = await ai.chat.completions.create(
            model="rill", messages=said, max_tokens=30, stream=True
        )
        async for _ in answer:
            continue

    with pytest.raises(openai.APIError) as raised:
        await ask()
    (job,) = await jobs(client)
    assert job["state"] == "failed"
    assert job["id"] in raised.value.message
    assert raised.value.code == "internal_error"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_cancels_its_job(
    client: httpx.AsyncClient, stream: bool
) -> None:
    body = {"model": "rill", "messages": SAID, "max_tokens": LONG, "stream": stream}
    if stream:
        async with client.stream("POST", CHAT, json=body) as answer:
            lines = answer.aiter_lines()
            heard = [await anext(lines) for _ in range(12)]
        assert any("chunk" in line for line in heard)
    else:
        with pytest.raises(httpx.ReadTimeout):
            await client.post(CHAT, json=body, timeout=0.5)
    (job,) = await jobs(client)
    assert (await asking.ended(client, job["id"]))["state"] == "cancelled"


async def test_one_with_a_key_may_come_back_for_it(client: httpx.AsyncClient) -> None:
    body = {"model": "rill", "messages": SAID, "max_tokens": 400}
    headers = {"idempotency-key": "mine"}
    with pytest.raises(httpx.ReadTimeout):
        await client.post(CHAT, json=body, headers=headers, timeout=0.3)
    answer = await client.post(CHAT, json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["idempotency-replayed"] == "true"
    assert len(await jobs(client)) == 1
    other = await client.post(CHAT, json=body | {"max_tokens": 5}, headers=headers)
    assert asking.error(other, 409)["code"] == "idempotency_key_reused"
    assert other.headers["x-should-retry"] == "false"


async def test_a_job_cancelled_by_somebody_else_is_an_error(
    ai: AsyncOpenAI, client: httpx.AsyncClient
) -> None:
    stream = await ai.chat.completions.create(
        model="rill", messages=SAID, max_tokens=LONG, stream=True
    )
    (job,) = await jobs(client)
    await client.post(f"{JOBS}/{job['id']}/cancel")

    async def listen() -> None:
        async for _ in stream:
            continue

    with pytest.raises(openai.APIError) as raised:
        await listen()
    assert raised.value.code == "job_cancelled"


async def test_without_a_limit_the_setting_or_the_context_is_it(ai: AsyncOpenAI) -> None:
    said = await ai.chat.completions.create(model="rill", messages=SAID)
    assert said.usage is not None
    # tests/conftest.py sets PENSTOCK_CHAT_MAX_TOKENS.
    assert said.usage.completion_tokens == 64


async def test_several_answers_are_one_job(ai: AsyncOpenAI, client: httpx.AsyncClient) -> None:
    asked: dict[str, Any] = {"model": "rill", "messages": SAID, "max_tokens": 5, "n": 3, "seed": 5}
    said = await ai.chat.completions.create(**asked)
    assert [c.index for c in said.choices] == [0, 1, 2]
    texts = [c.message.content for c in said.choices]
    assert len(set(texts)) == 3
    assert said.usage is not None
    assert said.usage.completion_tokens == 15
    (job,) = await jobs(client)
    assert [c["text"] for c in job["result"]["choices"]] == texts
    streamed = dict.fromkeys(range(3), "")
    async for chunk in await ai.chat.completions.create(**asked, stream=True):
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
    assert list(streamed.values()) == texts


async def test_logprobs_whole_and_streamed(ai: AsyncOpenAI) -> None:
    asked: dict[str, Any] = {
        "model": "rill", "messages": SAID, "max_tokens": 5, "logprobs": True, "top_logprobs": 2,
    }  # fmt: skip
    said = (await ai.chat.completions.create(**asked)).choices[0]
    assert said.logprobs is not None
    told = said.logprobs.content or []
    assert "".join(t.token for t in told) == said.message.content
    assert all(len(t.top_logprobs) == 2 and t.logprob < 0 for t in told)
    assert all(bytes(t.bytes or ()) == t.token.encode() for t in told)
    streamed: list[Any] = []
    async for chunk in await ai.chat.completions.create(**asked, stream=True):
        if chunk.choices[0].logprobs is not None:
            streamed += chunk.choices[0].logprobs.content or []
    assert [t.model_dump() for t in streamed] == [t.model_dump() for t in told]


async def test_stop_strings_end_an_answer(ai: AsyncOpenAI) -> None:
    whole = await ai.chat.completions.create(model="rill", messages=SAID, max_tokens=8)
    text = whole.choices[0].message.content or ""
    word = text[9:14]
    cut = await ai.chat.completions.create(model="rill", messages=SAID, max_tokens=8, stop=word)
    assert cut.choices[0].message.content == text[: text.index(word)]
    assert cut.choices[0].finish_reason == "stop"
