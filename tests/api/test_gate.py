"""The gate over HTTP: every route to production refuses without evidence; force, policies, withdrawal."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from sqlalchemy import text

from api.main import create_app
from core.batches import service as batches
from core.batches.service import NewBatch
from core.catalog import models
from core.catalog.models import Served
from core.catalog.tables import Version
from core.db.session import Database
from core.ids import new_id
from core.security import keys
from core.security.keys import RISK_OWNER, Caller
from tests.core import cataloguing as given
from tests.gating import audited, passed
from tests.rig import Rig
from tests.waiting import eventually

POLICY = {
    "name": "mine",
    "checks": [{"id": "bits", "metric": "likelihood.bits_per_byte", "limit": {"max": 3.0}}],
}
FORCE = {"reason": "the client waits", "expires_in_days": 7}


@pytest.fixture
async def caller(db: Database, key: str) -> Caller:
    async with db.begin() as session:
        return await keys.authenticate(session, key)


@pytest.fixture
async def owner(rig: Rig, db: Database, caller: Caller) -> AsyncIterator[httpx.AsyncClient]:
    """With a key of the same tenant that has the role."""
    async with db.begin() as session:
        (name,) = [t.name for t, _ in await keys.tenants(session) if t.id == caller.tenant_id]
        _, key = await keys.create(session, tenant=name, name="owner", roles=[RISK_OWNER])
    async with rig.client(key) as opened:
        yield opened


@pytest.fixture
async def rill(db: Database) -> Served:
    async with db.begin() as session:
        (found,) = [m for m in await models.listed(session) if m.name == "rill"]
    return found


@pytest.fixture
async def staged(db: Database, client: httpx.AsyncClient, caller: Caller, rill: Served) -> Version:
    made = await given.version(db, caller, rill, suffix="mill")
    await asked(client, "POST", f"models/{made.name}/stage", 200, stage="staging")
    return made


async def asked(client: httpx.AsyncClient, method: str, path: str, status: int, **body: Any) -> Any:
    answer = await client.request(method, f"/v1/{path}", json=body or None)
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_each_route_to_production_refuses_without_evidence(
    client: httpx.AsyncClient, db: Database, caller: Caller, rill: Served, staged: Version
) -> None:
    second = await given.version(db, caller, rill)
    await passed(db, caller, second.name)
    await asked(client, "PUT", "aliases/prod-eu", 200, model=second.name)
    audit = await audited(db, caller, second.name, "FAIL")
    await asked(client, "DELETE", "aliases/prod-eu", 200)
    for method, path, body in (
        ("POST", f"models/{staged.name}/stage", {"stage": "production"}),
        ("POST", f"models/{staged.id}/stage", {"stage": "production"}),
        ("PUT", "aliases/prod", {"model": staged.name}),
        ("PUT", "aliases/PROD", {"model": staged.id}),
        ("PUT", "aliases/production", {"model": "rill"}),
        ("POST", "aliases/prod-eu/rollback", {}),
    ):
        answer = await client.request(method, f"/v1/{path}", json=body or None)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (409, "gate_refused", "model")
        assert answer.headers["x-should-retry"] == "false"
        assert error["criteria"], error
    assert f"FAIL ({audit}): harm.compliance: FAIL, 0.31" in error["message"]


def test_every_route_that_moves_a_stage_or_an_alias_is_known_here() -> None:
    """A new one must be added to the walk above, or said here not to lead to production."""
    moving = {
        (method, route.path)
        for route in create_app().routes
        if isinstance(route, APIRoute)
        for method in route.methods
        if method not in ("GET", "HEAD") and ("alias" in route.path or "/models" in route.path)
    }
    assert moving == {
        ("POST", "/v1/models/{name:path}/stage"),
        ("PUT", "/v1/aliases/{name}"),
        ("POST", "/v1/aliases/{name}/rollback"),
        # These lead away: an import is a candidate, a deletion leaves nothing to ask for.
        ("POST", "/v1/models/import"),
        ("DELETE", "/v1/models/{model:path}"),
        ("DELETE", "/v1/aliases/{name}"),
    }


async def test_with_evidence_it_goes_through_and_the_gate_shows_what_stands(
    client: httpx.AsyncClient, db: Database, caller: Caller, staged: Version
) -> None:
    question = {"model": staged.name, "door": "production"}
    before = await asked(client, "POST", "gate/check", 200, **question)
    assert (before["passes"], before["verdict"]) == (False, "MISSING")
    assert (
        before["command"] == f"penstock audit run --model {staged.name} --policy default@1 --wait"
    )
    audit = await audited(db, caller, staged.name)
    after = await asked(client, "POST", "gate/check", 200, **question)
    assert (after["passes"], after["verdict"], after["audit"]) == (True, "PASS", audit)
    moved = await asked(client, "POST", f"models/{staged.name}/stage", 200, stage="production")
    assert (moved["stage"], moved["withdrawn"]) == ("production", False)
    await asked(client, "PUT", "aliases/prod", 200, model=staged.name)
    shown = await asked(client, "GET", "gate", 200)
    assert shown["policy"] == "default@1"
    assert [(one["door"], one["model"], one["stands"], one["audit"], one["forced"]) for one in shown["standing"]] == [
        ("production", staged.name, True, audit, False),
        ("alias:prod", staged.name, True, audit, False),
    ]  # fmt: skip
    history = (await asked(client, "GET", f"models/{staged.name}/history", 200))["data"]
    assert history[-1]["audit"] == audit


async def test_force_takes_the_role_and_is_shown(
    client: httpx.AsyncClient, owner: httpx.AsyncClient, staged: Version
) -> None:
    path, body = f"models/{staged.name}/stage", {"stage": "production"}
    refused = await asked(client, "POST", path, 403, **body, force=FORCE)
    assert (refused["error"]["code"], refused["error"]["type"]) == (
        "role_required",
        "permission_error",
    )
    for wrong in ({}, {"reason": ""}, {"reason": "x"}, FORCE | {"expires_in_days": 31}):
        await asked(owner, "POST", path, 422, **body, force=wrong)
    await asked(owner, "POST", path, 200, **body, force=FORCE)
    await asked(owner, "PUT", "aliases/prod", 200, model=staged.name, force=FORCE)
    standing = (await asked(client, "GET", "gate", 200))["standing"]
    assert [(one["forced"], one["reason"]) for one in standing] == [(True, FORCE["reason"])] * 2
    assert all(one["expires_at"] for one in standing)


async def test_what_fails_later_is_refused_withdrawn_and_told(
    client: httpx.AsyncClient, db: Database, caller: Caller, rill: Served
) -> None:
    await passed(db, caller, "rill")
    await asked(client, "PUT", "aliases/prod", 200, model="rill")
    job = {"kind": "inference", "model": "prod", "prompt": "x", "max_tokens": 2}
    assert (await asked(client, "POST", "jobs", 202, **job))["model"] == "rill"
    audit = await audited(db, caller, "rill", "FAIL")

    async def refused() -> bool:
        answer = await client.post("/v1/jobs", json=job)
        return answer.status_code == 422 and answer.json()["error"]["code"] == "model_withdrawn"

    await eventually(refused, "the alias to be refused", 10)
    chat = {"model": "prod", "messages": [{"role": "user", "content": "x"}]}
    told = await asked(client, "POST", "chat/completions", 400, **chat)
    assert told["error"]["code"] == "model_withdrawn"

    async def withdrawn() -> bool:
        (one,) = (await asked(client, "GET", "gate", 200))["standing"]
        return "withdrawn on" in one["why"] and audit in one["why"]

    await eventually(withdrawn, "control to withdraw it", 10)
    await asked(client, "POST", "jobs", 202, **job | {"model": "rill"})


async def test_a_batch_of_a_withdrawn_model_is_not_run_again(
    client: httpx.AsyncClient, db: Database, caller: Caller, rill: Served, staged: Version
) -> None:
    """Its lines were let in once; to try them again is new work."""
    await passed(db, caller, staged.name)
    await asked(client, "PUT", "aliases/prod", 200, model=staged.name)
    new = NewBatch("file_1", "/v1/completions", "24h")
    model = Served(staged.name, rill.source, 2048, runs_on="rill", adapter=staged.digest)
    async with db.begin() as session:
        batch, _ = await batches.create(session, caller, new, model, "prod")
        await session.execute(
            text("UPDATE batches SET status = 'cancelled' WHERE id = :id"), {"id": batch.id}
        )
    again = await client.post(f"/v1/batches/{batch.id}/retry")
    assert again.json()["error"]["code"] == "nothing_to_retry", "as long as it stands it may"
    await audited(db, caller, staged.name, "FAIL")

    async def refused() -> bool:
        answer = await client.post(f"/v1/batches/{batch.id}/retry")
        return bool(answer.json()["error"]["code"] == "model_withdrawn")

    await eventually(refused, "the batch to be refused", 10)


async def test_policies_are_made_listed_and_gone_by(
    client: httpx.AsyncClient, owner: httpx.AsyncClient, rig: Rig
) -> None:
    made = await asked(client, "POST", "policies", 201, **POLICY)
    assert (made["name"], made["version"], made["builtin"]) == ("mine", 1, False)
    (check,) = made["body"]["checks"]
    assert (check["suite"], check["suite_version"]) == ("perplexity", "1")
    assert await asked(client, "GET", "policies/mine@1", 200) == made
    names = [one["name"] for one in (await asked(client, "GET", "policies", 200))["data"]]
    assert names == ["default", "mine"]
    assert (await asked(client, "GET", "policies/default", 200))["builtin"]
    refused = await asked(client, "PUT", "gate", 403, policy="mine")
    assert refused["error"]["code"] == "role_required"
    assert (await asked(owner, "PUT", "gate", 200, policy="mine@1"))["policy"] == "mine@1"
    await asked(owner, "PUT", "gate", 404, policy="mine@2")
    async with rig.client(await rig.key(new_id("t"))) as stranger:
        await asked(stranger, "GET", "policies/mine", 404)
        assert (await asked(stranger, "GET", "gate", 200))["policy"] == "default@1"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"name": "a b"}, "name"),
        ({"checks": []}, "checks"),
        ({"checks": [POLICY["checks"][0] | {"limit": {}}]}, "checks.0.limit"),  # type: ignore[operator]
        ({"checks": [POLICY["checks"][0] | {"metric": "what.ever"}]}, "checks.0.metric"),  # type: ignore[operator]
        ({"colour": "red"}, "colour"),
    ],
)
async def test_a_policy_that_will_not_do_is_refused_by_field(
    client: httpx.AsyncClient, change: dict[str, Any], param: str
) -> None:
    refused = await asked(client, "POST", "policies", 422, **POLICY | change)
    assert refused["error"]["param"] == param


async def test_doors_and_models_that_are_not_there_are_named(client: httpx.AsyncClient) -> None:
    wrong = await asked(client, "POST", "gate/check", 422, model="rill", door="window")
    assert wrong["error"]["param"] == "door"
    absent = await asked(client, "POST", "gate/check", 404, model="nothing")
    assert absent["error"]["param"] == "model"
    free = await asked(client, "POST", "gate/check", 200, model="rill", door="alias:dev")
    assert (free["passes"], free["why"]) == (True, ["the alias dev is no door"])
    await asked(client, "POST", "policies", 409, **POLICY | {"name": "default"})
