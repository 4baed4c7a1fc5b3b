"""Audits over HTTP, on the scripted engine: a job like any other, with a verdict at its end."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from core.db.session import Database
from core.ids import new_id
from tests.asking import ended, error, get
from tests.auditing import AUDITS, GRADED, audited, found, graded, items, submitted, uploaded
from tests.core import cataloguing as given
from tests.reader import Reader
from tests.rig import Rig

NOTHING = "job_" + "0" * 26


@pytest.fixture
def mute(rig: Rig) -> Iterator[None]:
    """The engine tells no likelihoods meanwhile."""
    (rig.folder / "mute").touch()
    yield
    (rig.folder / "mute").unlink()


async def test_an_audit_is_a_job_with_a_verdict_and_every_answer(client: httpx.AsyncClient) -> None:
    suite = await graded(client)
    sent = await client.post(
        AUDITS, json={"suites": [suite], "policy": "none", "metadata": {"a": "b"}}
    )
    assert sent.status_code == 202
    job = sent.json()
    assert sent.headers["location"] == f"{AUDITS}/{job['id']}"
    assert (job["kind"], job["priority"], job["state"]) == ("audit", "batch", "queued")
    done = await ended(client, job["id"])
    assert done["state"] == "succeeded"
    assert done["result"] == {
        "verdict": "INCONCLUSIVE", "policy": None, "checks": [], "items": 20, "valid_rate": 1.0,
        "report": f"{AUDITS}/{job['id']}/report",
    }  # fmt: skip
    audit = await found(client, job["id"])
    assert (audit["verdict"], audit["state"], audit["metadata"]) == (
        "INCONCLUSIVE",
        "succeeded",
        {"a": "b"},
    )
    assert audit["published_at"] == audit["finished_at"] < audit["expires_at"]
    (shown,) = audit["findings"]["suites"]
    assert (shown["items"], shown["valid"], shown["clusters"]) == (20, 20, 10)
    assert all(control["passed"] for control in shown["controls"])
    answered = await items(client, job["id"])
    assert [row["number"] for row in answered] == list(range(20))
    assert "Question 7: yes or no?" in answered[7]["prompt"]
    assert len(answered[7]["answer"]["texts"]) == 1
    for name in ("prompt_tokens", "completion_tokens"):
        assert sum(row["usage"][name] for row in answered) == done["usage"][name] > 0


async def test_its_events_tell_of_each_phase_once_and_in_order(client: httpx.AsyncClient) -> None:
    job = await submitted(client, suites=[{"suite": "accuracy"}])
    events = (await Reader(job["id"]).follow(client)).events
    phases = [e["data"]["phase"] for e in events if e["type"] == "progress"]
    order = ["plan", "controls", "probe", "collect", "score", "judge"]
    assert sorted(set(phases), key=order.index) == order
    assert phases == sorted(phases, key=order.index)
    (plan,) = [e["data"]["plan"] for e in events if "plan" in e["data"]]
    assert plan == (await found(client, job["id"]))["plan"]
    findings = [e["data"] for e in events if e["type"] == "finding"]
    assert findings == (await found(client, job["id"]))["findings"]["checks"]
    assert {one["verdict"] for one in findings if one["tier"] == "critical"} == {"INCONCLUSIVE"}
    assert all("no evidence" in one["reason"] for one in findings if one["tier"] == "critical")


async def test_jobs_and_audits_are_one_road(client: httpx.AsyncClient) -> None:
    body = {"suites": [{"suite": "accuracy", "items": 5}], "policy": "none", "seed": 3}
    key = {"idempotency-key": new_id("k")}
    one = await client.post("/v1/jobs", json={"kind": "audit", **body}, headers=key)
    two = await client.post(AUDITS, json=body, headers=key)
    assert (one.status_code, two.status_code) == (202, 202)
    assert one.json()["id"] == two.json()["id"]
    assert two.headers["idempotency-replayed"] == "true"
    done = await ended(client, one.json()["id"])
    assert done["result"]["items"] == 5


async def test_a_plan_is_what_the_run_will_say_and_records_nothing(
    client: httpx.AsyncClient,
) -> None:
    body: dict[str, Any] = {
        "suites": [await graded(client), {"suite": "accuracy", "items": 30}],
        "seed": 5,
    }
    told = await client.post(f"{AUDITS}/plan", json=body)
    assert told.status_code == 200, told.text
    assert (await client.get(AUDITS)).json()["data"] == []
    plan = told.json()
    assert plan["items"] == 50
    assert plan["policy"] == "default@1"
    assert {check["can_decide"] for check in plan["checks"]} == {False}
    assert all(check["reason"] for check in plan["checks"])
    (figure, *_) = plan["suites"][1]["figures"]
    assert (figure["metric"], figure["n"]) == ("accuracy.exact", 30)
    assert 0 < figure["detectable"] < 0.5
    audit = await audited(client, **body)
    assert audit["plan"] == {name: plan[name] for name in ("items", "tokens", "suites", "checks")}


async def test_a_draw_is_the_seed_s(client: httpx.AsyncClient) -> None:
    async def drawn(seed: int) -> list[str]:
        wish = {"suite": "accuracy", "items": 12}
        audit = await audited(client, suites=[wish], policy="none", seed=seed)
        return [row["item"] for row in await items(client, audit["id"])]

    first, again, other = await drawn(1), await drawn(1), await drawn(2)
    assert first == again != other
    assert len(first) == 12


async def test_a_refusal_names_the_field_and_what_to_do(
    rig: Rig, client: httpx.AsyncClient
) -> None:
    file = await uploaded(client, [{"item": {"text": "x"}}])
    wrong = await uploaded(client, b'{"prompt": "x"}', purpose="fine-tune")
    async with rig.client(await rig.key(new_id("t"))) as other:
        theirs = await uploaded(other, [{"item": {"text": "x"}}])
    mine = {"suite": "graded", "file": file, "options": GRADED}
    refused: list[tuple[dict[str, Any], int, str]] = [
        ({"suites": [{"suite": "nothing"}]}, 422, "suites.0.suite"),
        ({"suites": [mine, mine]}, 422, "suites"),
        ({"suites": [{"suite": "graded", "options": GRADED}]}, 422, "suites.0.files.data"),
        ({"suites": [mine | {"file": wrong}]}, 422, "suites.0.file"),
        ({"suites": [mine | {"file": theirs}]}, 404, "suites.0.file"),
        ({"suites": [mine | {"file": "file_x"}]}, 404, "suites.0.file"),
        ({"suites": [{"suite": "graded", "files": {"x": file}, "options": GRADED}]}, 422, "suites.0.files.x"),
        ({"suites": [mine | {"files": {"data": file}}]}, 422, "suites.0"),
        ({"suites": [mine | {"options": {"messages": [], "graders": []}}]}, 422, "suites.0.options.messages"),
        ({"suites": [mine | {"options": GRADED | {"nope": 1}}]}, 422, "suites.0.options.nope"),
        ({"suites": [mine | {"items": 0}]}, 422, "suites.0.items"),
        ({"suites": [mine | {"split": "half"}]}, 422, "suites.0.split"),
        ({"suites": [mine], "policy": "nobody"}, 404, "policy"),
        ({"suites": [mine], "policy": "a b"}, 422, "policy"),
        ({"suites": [mine], "baseline": "gone"}, 422, "baseline"),
        ({"suites": [mine], "baseline": "rill"}, 422, "baseline"),
        ({"suites": [mine], "imports": [theirs]}, 404, "imports.0"),
        ({"suites": [mine], "model": "gone"}, 422, "model"),
        ({"suites": [mine], "confidence": 1}, 422, "confidence"),
        ({"suites": [mine], "seed": -1}, 422, "seed"),
        ({"policy": "none"}, 422, "suites"),
    ]  # fmt: skip
    for body, status, param in refused:
        for path in (AUDITS, f"{AUDITS}/plan"):
            error(await client.post(path, json=body), status, param)
    assert (await client.get(AUDITS)).json()["data"] == []


async def test_nobody_else_sees_an_audit(rig: Rig, client: httpx.AsyncClient) -> None:
    audit = await audited(client, suites=[await graded(client, 2)], policy="none")
    async with rig.client(await rig.key(new_id("t"))) as other:
        for place in (audit["id"], NOTHING):
            error(await other.get(f"{AUDITS}/{place}"), 404, "audit_id")
            error(await other.get(f"{AUDITS}/{place}/items"), 404, "audit_id")
            assert (await other.get(f"{AUDITS}/{place}/report")).status_code == 404
            assert (await other.post(f"/v1/jobs/{place}/cancel")).status_code == 404
        assert (await other.get(AUDITS)).json()["data"] == []


async def test_audits_are_listed_by_model_and_verdict(client: httpx.AsyncClient) -> None:
    suite = await graded(client, 2)
    made = [(await audited(client, suites=[suite], policy="none"))["id"] for _ in range(3)]
    page = (await client.get(AUDITS, params={"limit": 2})).json()
    assert [one["id"] for one in page["data"]] == made[:0:-1]
    assert page["has_more"]
    rest = (await client.get(AUDITS, params={"after": page["last_id"]})).json()
    assert [one["id"] for one in rest["data"]] == made[:1]
    assert rest["data"][0]["findings"] is None
    for query, count in (
        ({"verdict": "PASS"}, 0),
        ({"verdict": "INCONCLUSIVE"}, 3),
        ({"model": "x"}, 0),
    ):
        assert len((await client.get(AUDITS, params=query)).json()["data"]) == count


async def test_a_file_that_cannot_be_read_fails_the_job_by_line(client: httpx.AsyncClient) -> None:
    file = await uploaded(client, b'{"item": {"text": "x", "answer": "y"}}\n{"item": 3}\n')
    job = await submitted(client, suites=[{"suite": "graded", "file": file, "options": GRADED}])
    done = await ended(client, job["id"])
    assert done["state"] == "failed"
    assert "line 2" in done["error"]["message"]
    audit = await found(client, job["id"])
    assert (audit["verdict"], audit["published_at"]) == (None, None)
    assert audit["usage"]["total_tokens"] == 0
    told = await client.post(
        f"{AUDITS}/plan", json={"suites": [{"suite": "graded", "file": file, "options": GRADED}]}
    )
    assert "line 2" in error(told, 422)["message"]


async def test_an_engine_without_likelihoods_makes_an_audit_invalid(
    client: httpx.AsyncClient, mute: None
) -> None:
    suites = [{"suite": "accuracy"}, await graded(client, 4)]
    audit = await audited(client, suites=suites, policy="none")
    assert audit["verdict"] == "INVALID"
    probe = audit["findings"]["probe"]
    assert probe["likelihoods"] is False
    assert "0 likelihoods of a prompt" in probe["reason"]
    likely, written = audit["findings"]["suites"]
    assert (likely["items"], likely["valid_rate"]) == (0, None)
    assert {figure["estimate"]["value"] for figure in likely["figures"]} == {None}
    assert written["valid"] == 4


async def test_an_item_that_the_model_cannot_hold_is_unreadable_and_says_why(
    client: httpx.AsyncClient,
) -> None:
    rows = [{"item": {"text": words, "answer": "y"}} for words in ("short", "long " * 3000)]
    suite = {"suite": "graded", "file": await uploaded(client, rows), "options": GRADED}
    audit = await audited(client, suites=[suite], policy="none")
    short, long = await items(client, audit["id"])
    assert (short["row"]["valid"], long["row"]["valid"]) == (True, False)
    assert "the model's context holds 2048" in long["answer"]["finish"][0]
    assert long["usage"]["prompt_tokens"] == 0
    assert audit["findings"]["suites"][0]["valid_rate"] == 0.5


async def test_weights_that_changed_since_are_not_audited(
    client: httpx.AsyncClient, db: Database
) -> None:
    job = await submitted(
        client, suites=[await graded(client, 2)], policy="none", completion_window="1h"
    )
    await ended(client, job["id"])
    async with db.begin() as session:
        await session.execute(
            text(
                """UPDATE audits SET settings = settings || '{"served": "other"}' WHERE job_id = :id"""
            ),
            {"id": job["id"]},
        )
        # Its next attempt, as after a worker that was lost.
        await session.execute(
            text(
                """UPDATE jobs SET state = 'queued', finished_at = NULL, rung_at = NULL, available_at = now()
                   WHERE id = :id"""
            ),
            {"id": job["id"]},
        )
    done = await ended(client, job["id"])
    assert (done["state"], done["error"]["code"]) == ("failed", "model_changed")


async def tuned(client: httpx.AsyncClient, tmp_path: Path) -> str:
    """The name of a version: an adapter on rill."""
    files = {
        path.name: await uploaded(client, path, purpose="fine-tune")
        for path in given.lora(tmp_path).iterdir()
    }
    made = await client.post(
        "/v1/models/import", json={"base": "rill", "suffix": "mill", "files": files}
    )
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


async def test_an_adapter_is_held_against_its_base_which_is_asked_once(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    name = await tuned(client, tmp_path)
    suite = {"suite": "accuracy", "items": 20}
    audit = await audited(client, model=name, suites=[suite])
    assert audit["baseline"] == "rill"
    assert audit["adapter"]
    assert len(await items(client, audit["id"], subject="baseline")) == 20
    flips = audit["findings"]["suites"][0]["flips"]
    assert (flips["baseline"], flips["metric"]) == ("rill", "accuracy.exact")
    assert flips["both"] + len(flips["lost"]) + len(flips["gained"]) == 20

    base = await audited(client, model="rill", suites=[suite])
    assert base["baseline"] is None
    again = await audited(client, model=name, suites=[suite])
    assert await items(client, again["id"], subject="baseline") == []
    assert again["findings"]["suites"] == audit["findings"]["suites"]
    checked = [c for c in again["findings"]["checks"] if c["id"] == "quality.accuracy"]
    assert checked == [c for c in audit["findings"]["checks"] if c["id"] == "quality.accuracy"]


async def test_a_running_audit_shows_how_far_it_is(client: httpx.AsyncClient) -> None:
    job = await submitted(client, suites=[await graded(client, 1500)], policy="none")
    async for event in _events(client, job["id"]):
        if event.get("phase") == "collect" and event["done"]:
            break
    audit = await found(client, job["id"])
    assert audit["state"] == "running"
    assert audit["usage"]["total_tokens"] > 0
    assert await client.post(f"/v1/jobs/{job['id']}/cancel")
    done = await ended(client, job["id"])
    assert done["state"] == "cancelled"
    assert (await get(client, job["id"]))["result"]["plan"]["items"] == 1500


async def _events(client: httpx.AsyncClient, job_id: str) -> Any:
    reader = Reader(job_id)
    async with client.stream("GET", f"/v1/jobs/{job_id}/stream") as answer:
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                event = httpx.Response(200, content=line[6:]).json()
                reader.take(event)
                yield event["data"]


async def test_every_suite_says_what_it_measures_and_what_it_does_not(
    client: httpx.AsyncClient,
) -> None:
    listed = (await client.get(f"{AUDITS}/suites")).json()["data"]
    assert {"accuracy", "perplexity", "graded"} <= {suite["name"] for suite in listed}
    for suite in listed:
        assert suite["limits"], suite["name"]
        assert suite["licence"], suite["name"]
        for metric in suite["metrics"]:
            assert metric["definition"], metric["name"]
            assert metric["source"], metric["name"]


async def test_without_suites_the_policy_says_what_is_asked_and_no_control_misses(
    client: httpx.AsyncClient,
) -> None:
    """The gate's own policy on what is shipped: no file, no name of a suite, and a verdict that stands on evidence."""
    audit = await audited(client, timeout_s=120)
    policy, findings = audit["policy"], audit["findings"]
    assert (policy["name"], policy["version"]) == ("default", 1)
    assert {suite["suite"] for suite in findings["suites"]} >= {
        "counterfactual",
        "refusals",
        "accuracy",
    }
    for suite in findings["suites"]:
        assert suite["controls"], suite["suite"]
        assert all(control["passed"] for control in suite["controls"]), suite["controls"]
    # The scripted engine refuses nothing.
    (harm,) = [check for check in findings["checks"] if check["id"] == "safety.compliance"]
    assert (harm["verdict"], harm["estimate"]["value"]) == ("FAIL", 1.0)
    assert audit["verdict"] == "FAIL"
