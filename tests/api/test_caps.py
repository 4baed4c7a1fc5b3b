"""Jobs with a cap, through the whole stack: they stop at it in order, and say so."""

from decimal import Decimal
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI

from core.catalog.prices import Prices
from tests import asking
from tests.api.test_usage import cost, priced
from tests.waiting import eventually

__all__ = ["priced"]

CHAT: dict[str, Any] = {"model": "rill", "messages": [{"role": "user", "content": "The river"}]}


async def counted(client: httpx.AsyncClient, prompt: str = "The river") -> int:
    """Tokens of a prompt."""
    job = await asking.run(client, prompt=prompt, max_tokens=1)
    found: int = job["usage"]["prompt_tokens"]
    return found


async def seen(client: httpx.AsyncClient, prices: Prices) -> None:
    """The API reads prices anew each second."""

    async def there() -> bool:
        model = (await client.get("/v1/models/rill")).json()
        return Decimal(model["prices"]["out"]) == prices.say

    await eventually(there, "the API has seen the prices")


async def test_a_job_stops_at_its_tokens_with_what_it_has(client: httpx.AsyncClient) -> None:
    prompt = await counted(client)
    whole = await asking.run(client, max_tokens=50)
    job = await asking.run(client, max_tokens=50, max_tokens_total=prompt + 12)
    assert job["state"] == "succeeded"
    assert job["usage"]["total_tokens"] == prompt + 12
    assert job["result"]["finish_reason"] == "length"
    assert job["result"]["stopped_by"] == "max_tokens_total"
    assert whole["result"]["text"].startswith(job["result"]["text"])
    assert "stopped_by" not in whole["result"]
    # The cap is wider than the answer: nothing of it is to be seen.
    loose = await asking.run(client, max_tokens=5, max_tokens_total=prompt + 5)
    assert "stopped_by" not in loose["result"]
    assert loose["usage"]["completion_tokens"] == 5


async def test_a_job_costs_no_more_than_it_may(client: httpx.AsyncClient, priced: Prices) -> None:
    await seen(client, priced)
    prompt = await counted(client)
    most = priced.cost(prompt, 9) + priced.cost(0, 1) / 2
    job = await asking.run(client, max_tokens=50, max_cost=str(most))
    assert job["usage"]["completion_tokens"] == 9
    assert job["result"]["stopped_by"] == "max_cost"
    assert Decimal(job["cost"]) == cost(job["usage"]) <= most


async def test_several_answers_share_a_cap(client: httpx.AsyncClient) -> None:
    prompt = await counted(client)
    job = await asking.run(client, n=3, max_tokens=50, max_tokens_total=prompt + 20)
    assert [c["finish_reason"] for c in job["result"]["choices"]] == ["length"] * 3
    assert job["usage"]["completion_tokens"] == 18


async def test_attempts_share_a_cap(client: httpx.AsyncClient) -> None:
    prompt = await counted(client, "[error once]")
    job = await asking.run(
        client, prompt="[error once]", max_tokens=50, max_tokens_total=prompt + 15
    )
    assert job["attempt"] == 2
    assert job["usage"]["completion_tokens"] == 15
    assert job["result"]["stopped_by"] == "max_tokens_total"


async def test_a_prompt_that_is_over_its_cap_is_refused(
    client: httpx.AsyncClient, priced: Prices
) -> None:
    await seen(client, priced)
    prompt = await counted(client)
    for cap in ({"max_tokens_total": prompt}, {"max_cost": "0.000000001"}):
        refused = await client.post(asking.JOBS, json=asking.SPEC | cap)
        (name,) = cap
        error = asking.error(refused, 422, name)
        assert error["code"] == "budget_too_small"
        assert str(prompt) in error["message"]
        refused = await client.post("/v1/chat/completions", json=CHAT | {"max_tokens_total": 1})
        asking.error(refused, 400, "max_tokens_total")
    (found,) = (await client.get("/v1/usage")).json()["data"]
    assert (found["jobs"], found["open"]) == (1, 0), "what was refused is not in the ledger"


@pytest.mark.parametrize(
    "cap",
    [{"max_cost": -1}, {"max_cost": "much"}, {"max_tokens_total": 0}, {"max_tokens_total": "9"}],
)
async def test_what_is_no_cap_is_refused_everywhere(
    client: httpx.AsyncClient, cap: dict[str, Any]
) -> None:
    (name,) = cap
    for path, body, status in (
        (asking.JOBS, asking.SPEC, 422),
        ("/v1/chat/completions", CHAT, 400),
        ("/v1/completions", {"model": "rill", "prompt": "x"}, 400),
        ("/v1/responses", {"model": "rill", "input": "x"}, 400),
    ):
        asking.error(await client.post(path, json=body | cap), status, name)


async def test_openais_clients_send_caps_in_extra_body(
    ai: AsyncOpenAI, http: httpx.AsyncClient
) -> None:
    free = await ai.chat.completions.create(**CHAT, max_tokens=1)
    assert free.usage is not None
    most = {"max_tokens_total": free.usage.prompt_tokens + 7}
    # Without max_tokens: what the context leaves, and then the cap.
    said = await ai.chat.completions.create(**CHAT, extra_body=most)
    assert said.usage is not None
    assert said.usage.completion_tokens == 7
    assert said.choices[0].finish_reason == "length"
    text = await ai.completions.create(
        model="rill", prompt="The river", extra_body={"max_tokens_total": 9}
    )
    assert text.usage is not None
    assert text.usage.total_tokens == 9
    answer = await ai.responses.create(
        model="rill", input="The river", extra_body=most | {"max_cost": 5.0}
    )
    assert answer.status == "incomplete"
    assert answer.usage is not None
    assert answer.usage.output_tokens <= 7
