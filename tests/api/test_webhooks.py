"""The webhook routes: what a tenant can do with its endpoints and deliveries, and what not."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import httpx
import openai
import pytest
from fastapi import FastAPI

from api import errors
from api.deps import Parts
from api.routes import webhooks
from core.db.session import Database
from core.events.types import BATCH_ENDED, EVAL_RUNS, FACTS, FINE_TUNED, GUARD, MODELS, RESPONSES
from core.ids import new_id
from core.security import keys
from core.webhooks import addresses
from core.webhooks.addresses import Guard
from tests.fakes import webhooks as given
from tests.fakes.receiver import receiver, reply
from tests.fakes.webhooks import PUBLIC, Names
from tests.waiting import eventually
from workers.webhooks.handler import deliver

ENDPOINTS = "/v1/webhook_endpoints"
NEW = {"name": "mine", "url": "https://good.test/hooks", "event_types": ["job.succeeded"]}
Client = httpx.AsyncClient


@pytest.fixture
def app(database: Database) -> FastAPI:
    made = FastAPI()
    made.include_router(webhooks.router)
    errors.install(made)
    made.state.parts = Parts(given.settings(), database, given.log(), *[cast("Any", None)] * 3)
    names = Names(good_test=[[PUBLIC]], other_test=[[PUBLIC]], bad_test=[[PUBLIC, "10.0.0.1"]])
    made.dependency_overrides[webhooks.guard] = lambda: Guard(names)
    return made


@pytest.fixture
def make_client(app: FastAPI, database: Database) -> Callable[[], Any]:
    async def make() -> Client:
        async with database.begin() as session:
            _, key = await keys.create(session, tenant=new_id("t"), name="test")
        return Client(
            transport=httpx.ASGITransport(app), base_url="http://test",
            headers={"authorization": f"Bearer {key}"},
        )  # fmt: skip

    return make


@pytest.fixture
async def client(make_client: Callable[[], Any]) -> AsyncIterator[Client]:
    async with await make_client() as made:
        yield made


async def _created(client: Client, **fields: Any) -> dict[str, Any]:
    answer = await client.post(ENDPOINTS, json=NEW | fields)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def _error(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    return error


async def test_the_secret_is_shown_once(client: Client) -> None:
    made = await _created(client)
    assert made["object"] == "webhook_endpoint"
    assert made["signing_secret"].startswith("whsec_")
    assert isinstance(made["created_at"], int)
    again = (await client.get(f"{ENDPOINTS}/{made['id']}")).json()
    listed = (await client.get(ENDPOINTS)).json()
    assert "signing_secret" not in again
    assert again == {k: v for k, v in made.items() if k != "signing_secret"} == listed["data"][0]
    assert made["signing_secret"] not in str(listed)


async def test_every_route_needs_a_key(app: FastAPI) -> None:
    async with Client(transport=httpx.ASGITransport(app), base_url="http://test") as nobody:
        assert _error(await nobody.get(ENDPOINTS), 401)["code"] == "invalid_api_key"
        assert (await nobody.get("/v1/webhook_event_types")).status_code == 401


async def test_the_event_types_are_listed(client: Client) -> None:
    answer = (await client.get("/v1/webhook_event_types")).json()
    told = [*FACTS, *BATCH_ENDED, *RESPONSES, *FINE_TUNED, *MODELS, *EVAL_RUNS, *GUARD]
    assert answer == {"object": "list", "data": told}


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"event_types": ["job.succeded"]}, "event_types", "job.succeeded, job.failed"),
        ({"event_types": []}, "event_types", "at least 1"),
        ({"event_types": ["x\0"]}, "event_types.0", "NUL"),
        ({"url": "http://good.test/"}, "url", "must begin with https://"),
        ({"url": "https://u:p@good.test/"}, "url", "user or password"),
        ({"url": "https://bad.test/"}, "url", "private, local or reserved"),
        ({"url": "https://nowhere.test/"}, "url", "does not resolve"),
        ({"url": "https://good.test/\0"}, "url", "NUL"),
        ({"name": ""}, "name", "at least 1"),
        ({"name": "a\0b"}, "name", "NUL"),
        ({"name": "a\ud800b"}, "name", ""),
        ({"name": 7}, "name", "string"),
        ({"secret": "whsec_mine"}, "secret", "not permitted"),
    ],
)
async def test_bad_input_is_refused_by_the_name_of_its_field(
    client: Client, fields: dict[str, Any], param: str, words: str
) -> None:
    # The standard library writes a lone surrogate as an escape, which is how one arrives.
    body = json.dumps(NEW | fields)
    answer = await client.post(
        ENDPOINTS, content=body, headers={"content-type": "application/json"}
    )
    error = _error(answer, 422)
    assert error["param"] == param
    assert words in error["message"]
    assert (await client.get(ENDPOINTS)).json()["data"] == []


async def test_the_real_resolver_is_asked_without_the_override(
    app: FastAPI, client: Client
) -> None:
    app.dependency_overrides.clear()
    app.state.parts.settings.webhook_allow_nets.clear()
    error = _error(await client.post(ENDPOINTS, json=NEW | {"url": "https://127.1/"}), 422)
    assert error["code"] == addresses.REFUSED


async def test_endpoints_page_newest_first(client: Client) -> None:
    made = [(await _created(client, name=str(n)))["id"] for n in range(5)]
    seen, after = [], None
    while True:
        query = {"limit": "2"} | ({"after": after} if after else {})
        page = (await client.get(ENDPOINTS, params=query)).json()
        seen += [one["id"] for one in page["data"]]
        after = page["last_id"]
        if not page["has_more"]:
            break
    assert seen == made[::-1]


async def test_an_endpoint_can_be_changed(client: Client) -> None:
    made = await _created(client)
    path = f"{ENDPOINTS}/{made['id']}"
    changes = {"name": "new", "url": "https://other.test/", "event_types": ["job.failed"] * 2}
    changed = (await client.post(path, json=changes)).json()
    assert (changed["name"], changed["url"]) == ("new", "https://other.test/")
    assert changed["event_types"] == ["job.failed"]
    assert changed["signing_secret_hint"] == made["signing_secret_hint"]
    assert (await client.post(path, json={})).json() == changed
    for bad in ({"url": "https://bad.test/"}, {"event_types": ["x"]}, {"name": "\0"}):
        _error(await client.post(path, json=bad), 422)
    assert (await client.get(path)).json() == changed


async def test_disabling_cancels_what_waits_and_enabling_starts_afresh(
    client: Client, database: Database
) -> None:
    made = await _created(client)
    path = f"{ENDPOINTS}/{made['id']}"
    sent = await given.delivery(database, made["id"])
    off = (await client.post(path, json={"enabled": False})).json()
    assert (off["enabled"], off["disabled_reason"]) == (False, "Disabled by its owner.")
    waiting = (await client.get(f"{path}/deliveries/{sent}")).json()
    assert (waiting["state"], waiting["next_try_at"]) == ("cancelled", None)
    for route, body in (
        ("test", {"event_type": "job.failed"}), ("replay", {}),
        (f"deliveries/{sent}/replay", {}),
    ):  # fmt: skip
        answer = await client.post(f"{path}/{route}", json=body)
        assert _error(answer, 409)["code"] == "endpoint_disabled"
        assert answer.headers["x-should-retry"] == "false"
    await given.run(
        database,
        """UPDATE webhook_endpoints SET consecutive_failures = 20, failing_since = now(),
           next_probe_at = now() + interval '1 h' WHERE id = :id""",
        id=made["id"],
    )
    on = (await client.post(path, json={"enabled": True})).json()
    assert (on["enabled"], on["disabled_reason"], on["failing_since"]) == (True, None, None)
    row = await given.row(database, "webhook_endpoints", made["id"])
    assert (row["consecutive_failures"], row["next_probe_at"]) == (0, None)
    again = (await client.post(f"{path}/replay", json={"state": "cancelled"})).json()
    assert again["replayed"] == 1


async def test_a_deleted_endpoint_is_gone_with_its_secret(
    client: Client, database: Database
) -> None:
    made = await _created(client)
    path = f"{ENDPOINTS}/{made['id']}"
    answer = (await client.delete(path)).json()
    assert answer == {"id": made["id"], "object": "webhook_endpoint.deleted", "deleted": True}
    for request in (
        client.get(path), client.delete(path), client.post(path, json={}),
        client.post(f"{path}/rotate_secret"), client.get(f"{path}/deliveries"),
        client.post(f"{path}/test", json={"event_type": "job.failed"}),
    ):  # fmt: skip
        assert _error(await request, 404)["code"] == "not_found"
    assert (await client.get(ENDPOINTS)).json()["data"] == []
    row = await given.row(database, "webhook_endpoints", made["id"])
    assert made["signing_secret"] not in str(dict(row))


async def test_rotation_shows_a_new_secret_and_may_keep_the_old(
    client: Client, database: Database
) -> None:
    made = await _created(client)
    path = f"{ENDPOINTS}/{made['id']}"
    kept = await client.post(
        f"{path}/rotate_secret", json={"keep_old_secret_active_for_24_hours": True}
    )
    first = kept.json()["signing_secret"]
    assert first != made["signing_secret"]
    row = await given.row(database, "webhook_endpoints", made["id"])
    assert (row["secret"], row["old_secret"]) == (first, made["signing_secret"])
    assert (await client.post(f"{path}/rotate_secret")).json()["signing_secret"] != first
    row = await given.row(database, "webhook_endpoints", made["id"])
    assert (row["old_secret"], row["old_secret_until"]) == (None, None)


async def test_there_is_a_limit_of_endpoints(client: Client, database: Database) -> None:
    made = await _created(client)
    await given.run(
        database,
        """INSERT INTO webhook_endpoints (id, tenant_id, name, url, event_types, secret)
           SELECT 'we_' || n || id, tenant_id, name, url, event_types, secret
           FROM webhook_endpoints, generate_series(1, 49) n WHERE id = :id""",
        id=made["id"],
    )
    error = _error(await client.post(ENDPOINTS, json=NEW), 409)
    assert error["code"] == "too_many_endpoints"
    assert "delete one" in error["message"]
    await client.delete(f"{ENDPOINTS}/{made['id']}")
    await _created(client)


async def test_another_tenants_endpoints_look_like_none(
    make_client: Callable[[], Any], database: Database
) -> None:
    async with await make_client() as owner, await make_client() as stranger:
        made = await _created(owner)
        path = f"{ENDPOINTS}/{made['id']}"
        sent = await given.delivery(database, made["id"])
        one = f"{path}/deliveries/{sent}"
        for request in (
            stranger.get(path), stranger.post(path, json={"name": "x"}), stranger.delete(path),
            stranger.post(f"{path}/rotate_secret"), stranger.get(f"{path}/deliveries"),
            stranger.post(f"{path}/test", json={"event_type": "job.failed"}),
            stranger.get(one), stranger.post(f"{one}/replay"),
            stranger.post(f"{path}/replay", json={}),
        ):  # fmt: skip
            assert (await request).status_code == 404
        assert (await stranger.get(ENDPOINTS)).json()["data"] == []
        theirs = await _created(stranger)
        crossed = f"{ENDPOINTS}/{theirs['id']}/deliveries/{sent}"
        assert (await stranger.get(crossed)).status_code == 404


async def test_a_test_delivery_takes_the_ordinary_road(client: Client, database: Database) -> None:
    made = await _created(client)
    path = f"{ENDPOINTS}/{made['id']}"
    error = _error(await client.post(f"{path}/test", json={"event_type": "job.x"}), 422)
    assert error["param"] == "event_type"
    async with receiver() as there:
        await given.run(
            database, "UPDATE webhook_endpoints SET url = :url WHERE id = :id",
            url=there.url, id=made["id"],
        )  # fmt: skip
        sent = await _tested(client, database, path, "job.started")
    (request,) = there.requests
    assert (sent["object"], sent["event_type"], sent["webhook_endpoint_id"]) == (
        "webhook_endpoint.test", "job.started", made["id"],
    )  # fmt: skip
    assert (sent["success"], sent["status_code"]) == (True, 200)
    # OpenAI's own client accepts it; the event type is one it does not know, as a dictionary then.
    ai = openai.OpenAI(api_key="x", webhook_secret=made["signing_secret"])
    ai.webhooks.verify_signature(request.body, request.headers)
    ai.close()
    done = (await client.get(f"{path}/deliveries/{sent['delivery']['id']}")).json()
    assert (done["state"], done["last_status"], done["last_response"]) == ("delivered", 200, "ok")
    assert abs(done["delivered_at"] - time.time()) < 300


async def _tested(client: Client, database: Database, path: str, event_type: str) -> Any:
    """A test's answer: it waits for the try that is made meanwhile."""
    asked = asyncio.create_task(client.post(f"{path}/test", json={"event_type": event_type}))

    async def waiting() -> Any:
        return (await client.get(f"{path}/deliveries", params={"state": "pending"})).json()["data"]

    (sent,) = await eventually(waiting, "the test is to be delivered")
    runtime = given.runtime(database)
    await deliver(runtime, sent["id"])
    await runtime.http.aclose()
    return (await asked).json()


async def test_a_test_that_is_not_taken_is_a_final_error(
    client: Client, database: Database
) -> None:
    made = await _created(client)
    path = f"{ENDPOINTS}/{made['id']}"
    async with receiver() as there:
        there.always = reply(500)
        await given.run(
            database, "UPDATE webhook_endpoints SET url = :url WHERE id = :id",
            url=there.url, id=made["id"],
        )  # fmt: skip
        error = (await _tested(client, database, path, "job.failed"))["error"]
    assert error["code"] == "test_failed"
    assert "answered 500" in error["message"]


async def test_dead_deliveries_are_listed_and_replayed(client: Client, database: Database) -> None:
    made = await _created(client)
    path = f"{ENDPOINTS}/{made['id']}"
    ids = [await given.delivery(database, made["id"]) for _ in range(3)]
    pending = await client.post(f"{path}/deliveries/{ids[0]}/replay")
    assert _error(pending, 409)["code"] == "delivery_pending"
    async with receiver() as there:
        there.always = reply(500)
        await given.run(
            database, "UPDATE webhook_endpoints SET url = :url WHERE id = :id",
            url=there.url, id=made["id"],
        )  # fmt: skip
        runtime = given.runtime(database, webhook_schedule_s=[0])
        for one in ids:
            await deliver(runtime, one)
        page = (await client.get(f"{path}/deliveries", params={"state": "dead", "limit": 2})).json()
        assert [one["id"] for one in page["data"]] == [ids[2], ids[1]]
        assert page["has_more"]
        assert page["data"][0]["last_error"] == "answered 500"
        rest = {"state": "dead", "after": page["last_id"]}
        rest_page = (await client.get(f"{path}/deliveries", params=rest)).json()
        assert [one["id"] for one in rest_page["data"]] == [ids[0]]
        one = (await client.post(f"{path}/deliveries/{ids[0]}/replay")).json()
        assert (one["state"], one["tries"]) == ("pending", 0)
        there.always = None
        for body, count in (
            ({"since": int(time.time()) + 3600}, 0),
            ({"until": int(time.time()) - 3600}, 0),
            ({"state": "dead", "since": int(time.time()) - 3600}, 2),
        ):
            answer = (await client.post(f"{path}/replay", json=body)).json()
            assert answer["replayed"] == count
        await deliver(runtime, ids[0])
        await runtime.http.aclose()
    listed = (await client.get(f"{path}/deliveries", params={"state": "delivered"})).json()
    assert {one["id"] for one in listed["data"]} == set(ids)
    assert len(there.ids) == 6
    assert len(set(there.ids)) == 3


@pytest.mark.parametrize(
    ("method", "path", "query", "body"),
    [
        ("GET", "/we_x", {}, None),
        ("GET", "", {"limit": "0"}, None),
        ("GET", "", {"limit": "101"}, None),
        ("GET", "", {"after": "%00"}, None),
        ("GET", "", {"before": "we_x"}, None),
        ("GET", "/{id}/deliveries", {"state": "alive"}, None),
        ("GET", "/{id}/deliveries", {"after": "wd_"}, None),
        ("GET", "/{id}/deliveries/x", {}, None),
        ("POST", "/{id}/replay", {}, {"since": -1}),
        ("POST", "/{id}/replay", {}, {"until": 10**30}),
        ("POST", "/{id}/replay", {}, {"state": "pending"}),
        ("POST", "/{id}/replay", {}, {"since": "2026-01-01"}),
        ("POST", "/{id}/rotate_secret", {}, {"keep": True}),
        ("POST", "/{id}", {}, {"enabled": "yes"}),
        ("POST", "/{id}/test", {}, {}),
    ],
)
async def test_nonsense_is_refused_before_it_reaches_the_database(
    client: Client, method: str, path: str, query: dict[str, str], body: Any
) -> None:
    where = ENDPOINTS + path.format(id=new_id("we"))
    answer = await client.request(method, where, params=query, json=body)
    assert _error(answer, 422)["message"]


async def test_a_cursor_that_is_no_delivery_is_not_found(client: Client) -> None:
    made = await _created(client)
    query = {"after": new_id("wd")}
    answer = await client.get(f"{ENDPOINTS}/{made['id']}/deliveries", params=query)
    assert _error(answer, 404)["param"] == "delivery_id"
