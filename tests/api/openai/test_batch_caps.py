"""Batches with a cap and what batches cost, through the whole stack."""

from decimal import Decimal
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI

from core.catalog.prices import Prices
from tests import asking
from tests.api.openai.batching import CHAT, begin, content, ended, line, upload
from tests.api.test_usage import priced, used

__all__ = ["priced"]


async def seen(client: httpx.AsyncClient, batch_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get(f"/v1/batches/{batch_id}")).json()
    return found


def spent(made: list[dict[str, Any]]) -> tuple[int, int, int]:
    usages = [one["response"]["body"]["usage"] for one in made]
    return (
        sum(u["prompt_tokens"] for u in usages),
        sum(u["completion_tokens"] for u in usages),
        sum(u["prompt_tokens_details"]["cached_tokens"] for u in usages),
    )


async def test_a_batch_costs_what_its_lines_took(
    ai: AsyncOpenAI, client: httpx.AsyncClient, priced: Prices
) -> None:
    rows = [line(f"r{i}", f"Number {i}") for i in range(40)] + [line("bad", temperature=9)]
    done = await ended(ai, (await begin(ai, rows)).id)
    shown = await seen(client, done.id)
    made = await content(ai, done.output_file_id)
    assert Decimal(shown["cost"]) == priced.cost(*spent(made)) > 0
    (found,) = await used(client)
    assert (found["batches"], found["jobs"], found["open"]) == (1, 0, 0)
    assert (found["prompt_tokens"], found["completion_tokens"]) == spent(made)[:2]
    assert found["cost"] == shown["cost"]
    assert found["engine_seconds"] > 0
    # The same again is taken over, and costs nothing.
    again = await ended(
        ai, (await begin(ai, rows[:40], extra_body={"resume_from": done.id})).id
    )  # fmt: skip
    assert (await seen(client, again.id))["cost"] == "0"


async def test_a_batch_stops_at_its_cap_and_retry_runs_the_rest(
    ai: AsyncOpenAI, client: httpx.AsyncClient
) -> None:
    rows = [line(f"r{i}", f"Number {100 + i}", max_tokens=20, ignore_eos=True) for i in range(300)]
    one = await ended(ai, (await begin(ai, rows[:1])).id)
    assert one.usage is not None
    each = one.usage.total_tokens
    cap = each * 100 + each // 2
    done = await ended(ai, (await begin(ai, rows, extra_body={"max_tokens_total": cap})).id)
    shown = await seen(client, done.id)
    assert (done.status, shown["stopped_by"]) == ("completed", "max_tokens_total")
    made = await content(ai, done.output_file_id)
    left = await content(ai, done.error_file_id)
    prompt, said, _ = spent(made)
    assert len(made) == 100
    assert prompt + said == shown["usage"]["total_tokens"] <= cap
    assert len(made) + len(left) == 300
    assert {one["error"]["code"] for one in left} == {"budget_exhausted"}
    assert "max_tokens_total" in left[0]["error"]["message"]
    retried = (await client.post(f"/v1/batches/{done.id}/retry")).json()
    assert retried["max_tokens_total"] == cap
    again = await ended(ai, retried["id"])
    assert len(await content(ai, again.output_file_id)) == 100
    assert again.request_counts is not None
    assert again.request_counts.total == 200


async def test_a_batch_costs_no_more_than_it_may(
    ai: AsyncOpenAI, client: httpx.AsyncClient, priced: Prices
) -> None:
    rows = [line(f"r{i}", f"Number {100 + i}", max_tokens=30) for i in range(100)]
    done = await ended(ai, (await begin(ai, rows, extra_body={"max_cost": "0.001"})).id)
    shown = await seen(client, done.id)
    assert (done.status, shown["stopped_by"], shown["max_cost"]) == (
        "completed",
        "max_cost",
        "0.001",
    )
    made = await content(ai, done.output_file_id)
    assert Decimal(shown["cost"]) == priced.cost(*spent(made)) <= Decimal("0.001")
    assert 5 < len(made) < 100
    (found,) = await used(client)
    assert found["reserved_cost"] == "0"


async def test_a_cap_that_is_wide_enough_is_not_to_be_seen(
    ai: AsyncOpenAI, client: httpx.AsyncClient
) -> None:
    rows = [line(f"r{i}", f"Number {i}") for i in range(50)] + [line("bad", temperature=9)]
    done = await ended(ai, (await begin(ai, rows, extra_body={"max_tokens_total": 100_000})).id)
    assert done.request_counts is not None
    assert (done.request_counts.completed, done.request_counts.failed) == (50, 1)
    assert (await seen(client, done.id))["stopped_by"] is None


async def test_a_line_has_caps_of_its_own(ai: AsyncOpenAI) -> None:
    rows = [
        line("short", max_tokens=30, max_tokens_total=20),
        line("none", max_tokens_total=1),
        line("free", max_tokens=30),
    ]
    done = await ended(ai, (await begin(ai, rows)).id)
    made = {
        one["custom_id"]: one["response"]["body"] for one in await content(ai, done.output_file_id)
    }
    assert made["short"]["usage"]["total_tokens"] == 20
    assert made["free"]["usage"]["completion_tokens"] == 30
    (wrong,) = await content(ai, done.error_file_id)
    assert wrong["custom_id"] == "none"
    assert wrong["response"]["body"]["error"]["code"] == "budget_too_small"


@pytest.mark.parametrize("cap", [{"max_cost": "-1"}, {"max_tokens_total": 0}])
async def test_what_is_no_cap_is_refused(
    ai: AsyncOpenAI, http: httpx.AsyncClient, cap: dict[str, Any]
) -> None:
    body = {
        "input_file_id": await upload(ai, [line("a")]),
        "endpoint": CHAT,
        "completion_window": "24h",
    }
    (name,) = cap
    asking.error(await http.post("/v1/batches", json=body | cap), 400, name)
