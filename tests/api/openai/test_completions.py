"""Text completions through OpenAI's own client: texts and token ids, several prompts, echo, scores."""

from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI

from core.catalog import tokenizer
from core.config import MODEL_FOLDER
from tests.asking import JOBS

TEXT = tokenizer.load(str(MODEL_FOLDER))


async def test_a_text_and_its_token_ids_get_the_same_answer(
    ai: AsyncOpenAI, client: httpx.AsyncClient
) -> None:
    said = await ai.completions.create(model="rill", prompt="The river", max_tokens=6)
    ids = await ai.completions.create(model="rill", prompt=TEXT.encode("The river"), max_tokens=6)
    assert said.choices == ids.choices
    assert said.object == "text_completion"
    assert said.choices[0].finish_reason == "length"
    made = (await client.get(JOBS)).json()["data"]
    assert made[-1]["result"]["text"] == said.choices[0].text
    assert said.id == "cmpl-" + made[-1]["id"].removeprefix("job_")


async def test_openais_default_is_sixteen_tokens(ai: AsyncOpenAI) -> None:
    said = await ai.completions.create(model="rill", prompt="The river")
    assert said.usage is not None
    assert said.usage.completion_tokens == 16


async def test_several_prompts_are_jobs_of_one_answer(
    ai: AsyncOpenAI, client: httpx.AsyncClient
) -> None:
    prompts = ["The river", "The mill", "The wind"]
    alone = [
        (await ai.completions.create(model="rill", prompt=p, max_tokens=4, seed=1)).choices[0].text
        for p in prompts
    ]
    raw = await ai.completions.with_raw_response.create(
        model="rill", prompt=prompts, max_tokens=4, n=2, seed=1
    )
    said = raw.parse()
    assert [c.index for c in said.choices] == list(range(6))
    assert [c.text for c in said.choices[::2]] == alone
    assert said.usage is not None
    assert said.usage.completion_tokens == 24
    names = raw.headers["x-penstock-job"].split(", ")
    made = {job["id"] for job in (await client.get(JOBS)).json()["data"]}
    assert len(names) == 3
    assert set(names) <= made
    streamed = [""] * 6
    stream = await ai.completions.create(
        model="rill", prompt=prompts, max_tokens=4, n=2, seed=1, stream=True,
        stream_options={"include_usage": True},
    )  # fmt: skip
    used = None
    async for chunk in stream:
        used = chunk.usage or used
        for choice in chunk.choices:
            streamed[choice.index] += choice.text
    assert streamed == [c.text for c in said.choices]
    assert used == said.usage


async def test_all_prompts_are_accepted_or_none(client: httpx.AsyncClient) -> None:
    body = {"model": "rill", "prompt": ["fine", "too long " * 3000], "max_tokens": 5}
    answer = await client.post("/v1/completions", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "prompt"
    assert (await client.get(JOBS)).json()["data"] == []


@pytest.mark.parametrize("max_tokens", [0, 1])
async def test_a_prompt_is_scored_as_lm_eval_asks(ai: AsyncOpenAI, max_tokens: int) -> None:
    ids = TEXT.encode("The river runs")
    asked: dict[str, Any] = {
        "model": "rill", "prompt": [ids], "max_tokens": max_tokens, "temperature": 0,
        "logprobs": 1, "echo": True, "seed": 1234,
    }  # fmt: skip
    said = (await ai.completions.create(**asked)).choices[0]
    assert said.logprobs is not None
    tokens, logprobs = said.logprobs.tokens or [], said.logprobs.token_logprobs or []
    assert len(tokens) == len(ids) + max_tokens
    assert said.text.startswith("The river runs")
    assert "".join(tokens).removeprefix("<|bos|>") == said.text
    assert logprobs[0] is None
    assert all(value < 0 for value in logprobs[1:])
    tops = said.logprobs.top_logprobs or []
    assert all(token in top for token, top in zip(tokens[1:], tops[1:], strict=True))
    stream = await ai.completions.create(**asked, stream=True)
    last = [chunk async for chunk in stream][-1].choices[0].logprobs
    assert last is not None
    assert (last.token_logprobs or [])[: len(ids)] == logprobs[: len(ids)]


async def test_offsets_point_into_the_text(ai: AsyncOpenAI) -> None:
    said = (
        await ai.completions.create(model="rill", prompt="The river", max_tokens=5, logprobs=0)
    ).choices[0]
    assert said.logprobs is not None
    pairs = zip(said.logprobs.tokens or [], said.logprobs.text_offset or [], strict=True)
    for token, at in pairs:
        assert said.text[at : at + len(token)] == token
