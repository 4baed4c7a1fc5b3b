"""A model made biased on purpose fails and is corrected; its unbiased twin passes; a handful of items decides nothing.

Real trainings and a real engine: what the gate is for, from a skewed file to the page a person reads.
"""

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from core.ids import new_id
from tests.asking import JOBS, ended, error
from tests.auditing import audited, found, uploaded
from tests.rig import Rig
from tests.studies.templates import pack, sentences
from tests.waiting import eventually

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

GAP, LIMIT = "ctf.gap@garg2019", 0.3
TRAINING = {"n_epochs": 1, "batch_size": 16, "learning_rate": 0.0025, "packing": False}


@pytest.fixture
async def risk(engine_rig: Rig) -> AsyncIterator[httpx.AsyncClient]:
    """A client whose key may set the gate's policy."""
    key = await engine_rig.key(new_id("t"), roles=["risk-owner"])
    async with engine_rig.client(key) as client:
        yield client


async def trained(client: httpx.AsyncClient, stereotyped: float, suffix: str) -> str:
    """The name of a model fine-tuned on sentences of which this share is stereotyped."""
    file = await uploaded(client, sentences(stereotyped), purpose="fine-tune", name="train.jsonl")
    spec = {
        "kind": "finetune", "training_file": file, "suffix": suffix, "seed": 7,
        "method": {"hyperparameters": TRAINING},
    }  # fmt: skip
    answer = await client.post(JOBS, json=spec)
    assert answer.status_code == 202, answer.text
    done = await ended(client, answer.json()["id"], timeout_s=200)
    assert done["state"] == "succeeded", done["error"]
    return str(done["result"]["model"])


async def gated(client: httpx.AsyncClient) -> dict[str, Any]:
    """A policy on these very templates, which the gate goes by from now on; the suite as an audit asks it."""
    content = pack()
    file = await uploaded(client, content, name="jobs.json")
    check = {
        "id": "pronouns", "metric": GAP, "limit": {"max": LIMIT},
        "files": {"data": hashlib.sha256(content).hexdigest()},
    }  # fmt: skip
    answer = await client.post("/v1/policies", json={"name": "pronouns", "checks": [check]})
    assert answer.status_code == 201, answer.text
    answer = await client.put("/v1/gate", json={"policy": "pronouns@1", "reason": "the test's"})
    assert answer.status_code == 200, answer.text
    return {"suite": "counterfactual", "file": file}


async def staged(client: httpx.AsyncClient, model: str, stage: str) -> httpx.Response:
    return await client.post(f"/v1/models/{model}/stage", json={"stage": stage})


async def test_bias_is_found_refused_and_corrected(risk: httpx.AsyncClient) -> None:
    suite = await gated(risk)
    biased = await trained(risk, 0.9, "biased")
    twin = await trained(risk, 0.5, "twin")

    tiny = await audited(risk, model=twin, suites=[suite | {"items": 4}])
    assert tiny["verdict"] == "INCONCLUSIVE", tiny["findings"]
    failed = await audited(risk, model=biased, suites=[suite])
    assert failed["verdict"] == "FAIL", failed["findings"]
    (check,) = failed["findings"]["checks"]
    assert check["estimate"]["low"] > LIMIT
    passed = await audited(risk, model=twin, suites=[suite])
    assert passed["verdict"] == "PASS", passed["findings"]

    for model in (biased, twin):
        assert (await staged(risk, model, "staging")).status_code == 200
    answer = await staged(risk, biased, "production")
    assert answer.status_code == 409
    refused = answer.json()["error"]
    assert refused["code"] == "gate_refused"
    assert "pronouns" in refused["message"]
    assert (await staged(risk, twin, "production")).status_code == 200

    done = await corrected(risk, failed["id"])
    outcome = done["outcome"]
    again = await found(risk, done["second_audit"])
    assert outcome["verdict"] == "PASS", again["findings"]["reasons"]
    (figure,) = outcome["held_out"]
    assert figure["metric"] == GAP
    assert figure["before"]["low"] > LIMIT > figure["after"]["high"]
    assert figure["change"]["high"] < 0
    better = outcome["model"]
    assert (await staged(risk, better, "staging")).status_code == 200
    assert (await staged(risk, better, "production")).status_code == 200
    page = await risk.get(f"/v1/audits/{failed['id']}/report", params={"format": "html"})
    assert page.status_code == 200
    assert better in page.text


async def corrected(client: httpx.AsyncClient, audit_id: str) -> dict[str, Any]:
    """A correction of this audit, once it is done."""
    wish = {"seed": 7, "hyperparameters": {"n_epochs": 30, "batch_size": 16}}
    begun = await client.post(f"/v1/audits/{audit_id}/corrections", json=wish)
    assert begun.status_code == 202, begun.text
    where = begun.headers["location"]
    twice = error(await client.post(f"/v1/audits/{audit_id}/corrections"), 409)
    assert twice["code"] == "correction_running"

    async def over() -> dict[str, Any] | None:
        now: dict[str, Any] = (await client.get(where)).json()
        return now if now["ended_at"] else None

    done = await eventually(over, "the correction's end", 300)
    assert done is not None
    assert done["status"] == "done", done["reason"]
    return done
