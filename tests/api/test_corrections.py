"""Corrections over HTTP: what they may start from, whose they are, and how one ends whose training fails."""

from typing import Any

import httpx
import orjson
import pytest
from sqlalchemy import text

from core.db.session import Database
from core.ids import new_id
from tests.asking import error
from tests.gating import audited, owner
from tests.rig import Rig
from tests.waiting import eventually

GAP = "ctf.gap@garg2019"
_SUITES = text(
    "UPDATE audits SET suites = cast(:suites AS jsonb), findings = cast(:found AS jsonb) WHERE job_id = :job"
)
_JOB = text(
    """INSERT INTO jobs (id, tenant_id, kind, model, priority, rank, queue, state, spec, metadata, error, available_at,
                         finished_at)
       SELECT :id, :tenant, 'finetune', 'rill', 'batch', 2, 'none', v.state, '{}', '{}', cast(:error AS jsonb),
              timestamptz '9999-01-01 00:00:00+00', CASE WHEN v.state <> 'queued' THEN now() END
       FROM (SELECT cast(:state AS text) AS state) v"""
)
_CORRECTION = text(
    """INSERT INTO corrections (id, tenant_id, key_id, first, wish, suites, state, training, second)
       VALUES (:id, :tenant, :key, :first, '{}', '{counterfactual}', :state, :training, :second)"""
)


async def failed(db: Database, key: str, suite: str = "counterfactual", metric: str = GAP) -> str:
    """An audit of the shipped model as if it had failed on this suite's pack."""
    job = await audited(db, await owner(db, key), "rill", "FAIL")
    chosen: dict[str, Any] = {
        "name": suite, "version": "1", "files": {}, "options": {}, "items": None, "split": "all",
        "classifier": None,
    }  # fmt: skip
    found = {
        "verdict": "FAIL",
        "checks": [{"id": "bias", "metric": metric, "verdict": "FAIL", "tier": "critical"}],
        "suites": [
            {"suite": suite, "family": "bias", "figures": [{"metric": metric, "group": {}}]}
        ],
    }
    async with db.begin() as session:
        values = {"suites": orjson.dumps([chosen]).decode(), "found": orjson.dumps(found).decode()}
        await session.execute(_SUITES, {**values, "job": job})
    return job


async def begun(client: httpx.AsyncClient, audit: str, **wish: Any) -> dict[str, Any]:
    answer = await client.post(f"/v1/audits/{audit}/corrections", json=wish)
    assert answer.status_code == 202, answer.text
    made: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/v1/corrections/{made['id']}"
    return made


async def waiting(db: Database, key: str, state: str, job: str | None = "queued") -> str:
    """A correction at this step, whose job is in that state (queued: paused for good); None: its row is gone."""
    who, first = await owner(db, key), await failed(db, key)
    step = {"preparing": None, "training": "training", "auditing": "second"}[state]
    row = {
        "id": new_id("corr"), "tenant": who.tenant_id, "key": who.key_id, "first": first, "state": state,
        "training": None, "second": None,
    }  # fmt: skip
    async with db.begin() as session:
        if job is not None and step is not None:
            told = orjson.dumps({"code": "boom", "message": "The disk is full."}).decode()
            row[step] = new_id("job")
            values = {"id": row[step], "tenant": who.tenant_id, "state": job}
            await session.execute(_JOB, values | {"error": told if job == "failed" else None})
        await session.execute(_CORRECTION, row)
    return str(row["id"])


async def over(client: httpx.AsyncClient, correction: str) -> dict[str, Any]:
    async def ended() -> dict[str, Any] | None:
        found: dict[str, Any] = (await client.get(f"/v1/corrections/{correction}")).json()
        return found if found["ended_at"] else None

    done = await eventually(ended, f"the end of {correction}")
    assert done is not None
    return done


async def test_only_a_bias_audit_that_failed_can_be_corrected(
    client: httpx.AsyncClient, db: Database, key: str
) -> None:
    path = f"/v1/audits/{new_id('job')}/corrections"
    assert "audit_id" in error(await client.post(path), 404)["param"]
    passed = await audited(db, await owner(db, key), "rill", "PASS")
    assert error(await client.post(f"/v1/audits/{passed}/corrections"), 409)["code"] == (
        "nothing_to_correct"
    )
    unended = await failed(db, key)
    async with db.begin() as session:
        query = text("UPDATE audits SET published_at = NULL WHERE job_id = :job")
        await session.execute(query, {"job": unended})
    refused = error(await client.post(f"/v1/audits/{unended}/corrections"), 409)
    assert refused["code"] == "audit_not_ended"


@pytest.mark.parametrize(
    ("wish", "param"),
    [
        ({"suffix": "-bad"}, "suffix"),
        ({"seed": -1}, "seed"),
        ({"hyperparameters": {"n_epochs": 0}}, "hyperparameters.n_epochs"),
        ({"other": 1}, "other"),
    ],
)
async def test_a_wish_that_cannot_be_is_refused_by_name(
    client: httpx.AsyncClient, db: Database, key: str, wish: dict[str, Any], param: str
) -> None:
    audit = await failed(db, key)
    answer = await client.post(f"/v1/audits/{audit}/corrections", json=wish)
    assert error(answer, 422)["param"] == param


async def test_a_correction_is_its_tenants_alone(
    rig: Rig, client: httpx.AsyncClient, db: Database, key: str
) -> None:
    audit = await failed(db, key, "bold", "bold.gap@dhamala2021")
    made = await begun(client, audit)
    listed = (await client.get(f"/v1/audits/{audit}/corrections")).json()
    assert [one["id"] for one in listed["data"]] == [made["id"]]
    async with rig.client(await rig.key(new_id("t"))) as stranger:
        assert error(await stranger.get(f"/v1/corrections/{made['id']}"), 404)
        assert error(await stranger.post(f"/v1/audits/{audit}/corrections"), 404)
        theirs = (await stranger.get(f"/v1/audits/{audit}/corrections")).json()
        assert theirs["data"] == []


async def test_what_asks_for_free_text_leaves_nothing_to_learn_from(
    client: httpx.AsyncClient, db: Database, key: str
) -> None:
    made = await begun(client, await failed(db, key, "bold", "bold.gap@dhamala2021"))
    done = await over(client, made["id"])
    assert done["status"] == "failed"
    assert "nothing to learn from" in done["reason"]
    assert done["training"] is None


@pytest.mark.usefixtures("trainer")
async def test_a_cancelled_training_ends_its_correction(
    client: httpx.AsyncClient, db: Database, key: str
) -> None:
    made = await begun(client, await failed(db, key), suffix="again", seed=3)

    async def training() -> dict[str, Any] | None:
        found: dict[str, Any] = (await client.get(f"/v1/corrections/{made['id']}")).json()
        return found if found["training"] else None

    found = await eventually(training, "the training")
    assert found is not None
    assert found["lessons"] > 50
    await client.post(f"/v1/jobs/{found['training']}/cancel")
    done = await over(client, made["id"])
    assert done["status"] == "failed"
    assert "fine-tune ended as cancelled" in done["reason"]
    # It is over: the audit may be corrected anew.
    again = await begun(client, made["audit"])
    assert again["id"] != made["id"]


@pytest.mark.parametrize(
    ("state", "job", "reason"),
    [
        ("training", "failed", "The fine-tune ended as failed: The disk is full."),
        ("training", "cancelled", "The fine-tune ended as cancelled"),
        ("training", "expired", "The fine-tune ended as expired"),
        ("training", None, "The fine-tune is gone: its job was deleted"),
        ("training", "succeeded", "its model is not in the catalog any more"),
        ("auditing", "failed", "The second audit ended as failed: The disk is full."),
        ("auditing", "cancelled", "The second audit ended as cancelled"),
        ("auditing", "expired", "The second audit ended as expired"),
        ("auditing", None, "The second audit is gone: its job was deleted"),
    ],
)
async def test_however_a_step_ends_its_correction_does_and_says_why(
    client: httpx.AsyncClient, db: Database, key: str, state: str, job: str | None, reason: str
) -> None:
    done = await over(client, await waiting(db, key, state, job))
    assert done["status"] == "failed"
    assert reason in done["reason"]


async def test_trainings_without_an_end_keep_no_other_correction_back(
    client: httpx.AsyncClient, db: Database, key: str
) -> None:
    paused = [await waiting(db, key, "training", "queued") for _ in range(6)]
    done = await over(client, await waiting(db, key, "training", "failed"))
    assert done["status"] == "failed"
    for one in paused:
        now = (await client.get(f"/v1/corrections/{one}")).json()
        assert (now["status"], now["ended_at"]) == ("training", None)


async def test_a_step_that_breaks_ends_its_correction_and_no_other(
    client: httpx.AsyncClient, db: Database, key: str
) -> None:
    """What no message of ours foresees: here a row that an older version might have left."""
    broken = await waiting(db, key, "preparing")
    async with db.begin() as session:
        query = text(
            """UPDATE audits SET suites = jsonb_set(suites, '{0,options}', '{"unknown": 1}')
               WHERE job_id = (SELECT first FROM corrections WHERE id = :id)"""
        )
        await session.execute(query, {"id": broken})
    other = await waiting(db, key, "training", "failed")
    assert "An error of ours" in (await over(client, broken))["reason"]
    assert "disk is full" in (await over(client, other))["reason"]
