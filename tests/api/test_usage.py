"""GET /v1/usage and what jobs cost, through the whole stack."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from core.catalog import models
from core.catalog.prices import FREE, Prices
from core.db.session import Database
from core.ids import new_id
from tests import asking
from tests.asking import LONG, SPEC
from tests.rig import Rig
from tests.waiting import eventually

PRICES = Prices(Decimal("0.5"), Decimal(2), Decimal("0.05"))


@pytest.fixture
async def priced(db: Database) -> AsyncIterator[Prices]:
    """The served model has prices while the test lasts."""
    async with db.begin() as session:
        await models.price(session, "rill", PRICES)
    yield PRICES
    async with db.begin() as session:
        await models.price(session, "rill", FREE)


async def used(client: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get("/v1/usage", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


def cost(usage: dict[str, Any]) -> Decimal:
    return PRICES.cost(usage["prompt_tokens"], usage["completion_tokens"], usage["cached_tokens"])


async def test_what_jobs_took_is_summed_and_costs_what_the_model_costs(
    client: httpx.AsyncClient, priced: Prices
) -> None:
    assert await used(client) == []
    jobs = [await asking.run(client, max_tokens=n) for n in (3, 7)]
    for job in jobs:
        assert Decimal(job["cost"]) == cost(job["usage"])
        assert job["usage"]["engine_seconds"] > 0
    (found,) = await used(client)
    assert (found["jobs"], found["batches"], found["open"]) == (2, 0, 0)
    for name in ("prompt_tokens", "cached_tokens", "completion_tokens"):
        assert found[name] == sum(job["usage"][name] for job in jobs)
    assert found["completion_tokens"] == 10
    assert Decimal(found["cost"]) == sum(Decimal(job["cost"]) for job in jobs) > 0
    assert found["currency"] == "USD"
    (total,) = await used(client, group_by="")
    assert (total["id"], total["day"], total["jobs"]) == ("total", None, 2)
    (whole,) = await used(client, group_by="model,day,key")
    assert (whole["model"], whole["day"]) == ("rill", found["day"])
    (one,) = await used(client, key_id=whole["key_id"], model="rill")
    assert one == found
    assert await used(client, model="other") == []


async def test_a_running_job_is_reserved_and_a_cancelled_one_pays_for_what_it_said(
    client: httpx.AsyncClient, priced: Prices
) -> None:
    job = await asking.submit(client, max_tokens=LONG)
    (found,) = await used(client)
    assert (found["open"], found["jobs"], found["cost"]) == (1, 0, "0")
    assert found["reserved_tokens"] == LONG + len(SPEC["prompt"]) // 4
    assert Decimal(found["reserved_cost"]) > 0
    events = f"/v1/jobs/{job['id']}/events"

    async def said() -> bool:
        page = (await client.get(events, params={"after": 2})).json()
        return bool(page["data"])

    await eventually(said, "it has said something")
    await client.post(f"/v1/jobs/{job['id']}/cancel")
    ended = await asking.ended(client, job["id"])
    assert ended["state"] == "cancelled"
    spent = ended["usage"]
    assert 0 < spent["completion_tokens"] < LONG
    assert spent["prompt_tokens"] > 0
    assert spent["engine_seconds"] > 0
    assert Decimal(ended["cost"]) == cost(spent)
    (found,) = await used(client)
    assert (found["open"], found["reserved_tokens"], found["jobs"]) == (0, 0, 1)
    assert found["completion_tokens"] == spent["completion_tokens"]


async def test_a_failed_job_pays_for_what_it_said_before(client: httpx.AsyncClient) -> None:
    job = await asking.run(client, prompt="[error] always", max_tokens=20)
    assert job["state"] == "failed"
    # Five tokens by the first attempt, five more by the second.
    assert job["usage"]["completion_tokens"] == 10
    assert job["usage"]["prompt_tokens"] > 0
    (found,) = await used(client)
    assert found["completion_tokens"] == 10


async def test_a_prompt_is_paid_for_once_by_all_attempts(client: httpx.AsyncClient) -> None:
    calm = await asking.run(client, prompt="[error once]", max_tokens=4)
    rough = await asking.run(client, prompt="[error once]", max_tokens=20)
    assert (calm["attempt"], rough["state"], rough["attempt"]) == (1, "succeeded", 2)
    assert rough["usage"]["completion_tokens"] == 20
    for name in ("prompt_tokens", "cached_tokens"):
        assert rough["usage"][name] == calm["usage"][name]


async def test_tenants_do_not_see_each_other(rig: Rig, client: httpx.AsyncClient) -> None:
    await asking.run(client)
    (mine,) = await used(client, group_by="key")
    async with rig.client(await rig.key(new_id("t"))) as stranger:
        assert await used(stranger) == []
        assert await used(stranger, key_id=mine["key_id"]) == []


async def test_groups_come_by_page(client: httpx.AsyncClient) -> None:
    await asking.run(client)
    page = (await client.get("/v1/usage", params={"limit": 1})).json()
    assert (page["object"], page["has_more"]) == ("list", False)
    assert page["first_id"] == page["last_id"] == page["data"][0]["day"]
    rest = await client.get("/v1/usage", params={"after": page["last_id"]})
    assert rest.json()["data"] == []


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"start": "yesterday"}, "start"),
        ({"start": "2026-02-30"}, "start"),
        ({"end": "1700000000"}, "end"),
        ({"start": "2026-07-02", "end": "2026-07-01"}, "end"),
        ({"start": "2024-01-01", "end": "2026-07-01"}, "start"),
        ({"group_by": "hour"}, "group_by"),
        ({"group_by": "day,day"}, "group_by"),
        ({"key_id": "key_1"}, "key_id"),
        ({"model": "a\x00b"}, "model"),
        ({"after": "x"}, "after"),
        ({"limit": "0"}, "limit"),
    ],
)
async def test_what_cannot_be_answered_is_refused_by_name(
    client: httpx.AsyncClient, query: dict[str, Any], param: str
) -> None:
    asking.error(await client.get("/v1/usage", params=query), 422, param)


async def test_usage_needs_a_key(rig: Rig) -> None:
    async with rig.client("sk-penstock-none") as nobody:
        asking.error(await nobody.get("/v1/usage"), 401)


async def test_models_show_their_prices(client: httpx.AsyncClient, priced: Prices) -> None:
    async def shown() -> bool:
        model = (await client.get("/v1/models/rill")).json()
        return bool(model["prices"] == {"in": "0.5", "out": "2", "cached": "0.05"})

    await eventually(shown, "the API has seen the prices")
