"""/v1/evals as OpenAI's own client sees it: evals, their runs, what was answered, and how a run ends."""

from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from tests import asking
from tests.api.openai import evaluating as given
from tests.fakes.receiver import receiver
from tests.rig import Rig
from tests.waiting import eventually


async def test_an_eval_is_kept_changed_listed_and_deleted(ai: AsyncOpenAI) -> None:
    made = await given.new_eval(ai, given.CHECK, given.ALIKE, name="capitals", metadata={"a": "b"})
    assert made.id.startswith("eval_")
    assert (made.object, made.name, made.metadata) == ("eval", "capitals", {"a": "b"})
    assert made.data_source_config.type == "custom"
    schema = made.data_source_config.schema_
    assert schema["properties"]["item"] == given.CONFIG["item_schema"]
    assert "output_text" in schema["properties"]["sample"]["properties"]
    assert [one.type for one in made.testing_criteria] == ["string_check", "text_similarity"]
    assert made.testing_criteria[1].pass_threshold == 0.99
    assert (await ai.evals.retrieve(made.id)).model_dump() == made.model_dump()
    changed = await ai.evals.update(made.id, name="towns", metadata={"c": "d"})
    assert (changed.name, changed.metadata) == ("towns", {"c": "d"})
    assert (await ai.evals.update(made.id, name="cities")).metadata == {"c": "d"}
    deleted: Any = await ai.evals.delete(made.id)
    assert (deleted.eval_id, deleted.deleted, deleted.object) == (made.id, True, "eval.deleted")
    with pytest.raises(openai.NotFoundError) as gone:
        await ai.evals.retrieve(made.id)
    assert gone.value.code == "eval_not_found"


async def test_evals_come_in_pages_by_creation_or_change(ai: AsyncOpenAI) -> None:
    made = [(await given.new_eval(ai)).id for _ in range(3)]
    assert [one.id async for one in ai.evals.list(limit=1)] == made
    assert [one.id async for one in ai.evals.list(limit=2, order="desc")] == made[::-1]
    await ai.evals.update(made[0], name="x")
    by_change = [one.id async for one in ai.evals.list(limit=1, order_by="updated_at")]
    assert by_change == [made[1], made[2], made[0]]


async def test_a_run_asks_grades_and_counts(ai: AsyncOpenAI, client: httpx.AsyncClient) -> None:
    made = await given.new_eval(ai, given.CHECK, given.ALIKE, name="capitals")
    said = await given.answered(ai, made.id)
    known = {c: said[c] for c in given.COUNTRIES[:4]}
    run = await given.new_run(ai, made.id, given.source(known), name="mine", metadata={"k": "v"})
    assert run.id.startswith("evalrun_")
    assert (run.object, run.eval_id, run.name, run.metadata) == (
        "eval.run", made.id, "mine", {"k": "v"},
    )  # fmt: skip
    assert run.status in ("queued", "in_progress")
    ended = await given.done(ai, run)
    counts = ended.result_counts
    assert (counts.total, counts.passed, counts.failed, counts.errored) == (6, 4, 2, 0)
    results = ended.per_testing_criteria_results
    assert [(r.testing_criteria, r.passed, r.failed) for r in results] == [
        ("right", 4, 2), ("close", 4, 2),
    ]  # fmt: skip
    (usage,) = ended.per_model_usage
    assert (usage.run_model_name, usage.invocation_count) == ("rill", 6)
    assert usage.completion_tokens == 36
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert (ended.error, ended.verdict, ended.policy) == (None, "INCONCLUSIVE", None)
    native = await asking.get(client, ended.audit)
    assert (native["kind"], native["metadata"]) == ("audit", {"k": "v"})
    page = await client.get(ended.report_url)
    assert page.headers["content-type"].startswith("text/html")


async def test_what_was_answered_is_there_item_by_item(ai: AsyncOpenAI) -> None:
    made = await given.new_eval(ai, given.CHECK, given.ALIKE)
    said = await given.answered(ai, made.id)
    run = await given.done(
        ai, await given.new_run(ai, made.id, given.source(dict([*said.items()][:2])))
    )
    items = ai.evals.runs.output_items
    found = [one async for one in items.list(run.id, eval_id=made.id, limit=4)]
    assert [one.status for one in found] == ["pass"] * 2 + ["fail"] * 4
    first = found[0]
    assert (first.object, first.run_id, first.eval_id) == (
        "eval.run.output_item", run.id, made.id,
    )  # fmt: skip
    assert first.datasource_item == {"country": "France", "capital": said["France"]}
    assert [(r.name, r.type, r.passed, r.score) for r in first.results] == [
        ("right", "string_check", True, 1.0), ("close", "text_similarity", True, 1.0),
    ]  # fmt: skip
    assert first.sample.output[0].content == said["France"]
    assert "Be brief." in first.sample.input[0].content
    assert (first.sample.model, first.sample.max_completion_tokens) == ("rill", 6)
    assert first.sample.usage.completion_tokens == 6
    alone = await items.retrieve(first.id, eval_id=made.id, run_id=run.id)
    assert alone.model_dump() == first.model_dump()
    failed = [one.id async for one in items.list(run.id, eval_id=made.id, status="fail", limit=3)]
    assert failed == [one.id for one in found[2:]]
    backwards = [one.id async for one in items.list(run.id, eval_id=made.id, order="desc", limit=4)]
    assert backwards == [one.id for one in found][::-1]


async def test_runs_come_in_pages_and_by_status(ai: AsyncOpenAI) -> None:
    made = await given.new_eval(ai)
    runs = [
        await given.done(ai, await given.new_run(ai, made.id, given.source())) for _ in range(3)
    ]
    ids = [run.id for run in runs]
    of = ai.evals.runs.list
    assert [one.id async for one in of(made.id, limit=1)] == ids
    assert [one.id async for one in of(made.id, limit=2, order="desc")] == ids[::-1]
    assert [one.id async for one in of(made.id, status="completed")] == ids
    assert [one.id async for one in of(made.id, status="failed")] == []
    deleted: Any = await ai.evals.runs.delete(ids[0], eval_id=made.id)
    assert (deleted.run_id, deleted.deleted) == (ids[0], True)
    assert [one.id async for one in of(made.id)] == ids[1:]


async def test_a_run_is_canceled_by_a_post_and_its_end_is_told(
    ai: AsyncOpenAI, client: httpx.AsyncClient
) -> None:
    made = await given.new_eval(ai)
    long = given.source(sampling_params={"max_completion_tokens": 1500})
    async with receiver() as there:
        types: Any = ["eval.run.succeeded", "eval.run.failed", "eval.run.canceled"]
        hook = await ai.webhooks.create(name="n", url=there.url, event_types=types)
        run = await given.new_run(ai, made.id, long)
        with pytest.raises(openai.ConflictError) as early:
            await ai.evals.runs.delete(run.id, eval_id=made.id)
        assert early.value.code == "eval_run_not_ended"
        asked = await client.post(f"/v1/evals/{made.id}/runs/{run.id}")
        assert asked.status_code == 200, asked.text
        await ai.evals.runs.cancel(run.id, eval_id=made.id)
        ended = await given.done(ai, run, "canceled")
        whole = await given.done(ai, await given.new_run(ai, made.id, given.source()))

        async def both() -> bool:
            return len(there.requests) >= 2

        await eventually(both, "two webhooks")
        told = set()
        for one in there.requests:
            event: Any = ai.webhooks.unwrap(one.body, one.headers, secret=hook.signing_secret)
            told.add((event.type, event.data.id))
    assert told == {("eval.run.canceled", ended.id), ("eval.run.succeeded", whole.id)}
    assert (await asking.get(client, ended.audit))["state"] == "cancelled"


async def test_a_run_whose_file_cannot_be_read_fails_and_says_where(
    ai: AsyncOpenAI, client: httpx.AsyncClient
) -> None:
    made = await given.new_eval(ai)
    lines = b'{"item": {"country": "France", "capital": "Paris"}}\n{"item": {"country": "Peru"}}\n'
    sent = await ai.files.create(file=("x.jsonl", lines), purpose="evals")
    run = await given.new_run(ai, made.id, given.source(file=sent.id))
    ended = await given.done(ai, run, "failed")
    assert "line 2: field 'item.capital' is missing" in ended.error.message
    assert ended.result_counts.total == 0


async def test_a_suite_of_audits_is_a_criterion(ai: AsyncOpenAI, client: httpx.AsyncClient) -> None:
    lines = b"".join(b'{"item": {"q": "%d"}}\n' % n for n in range(12))
    sent = await ai.files.create(file=("x.jsonl", lines), purpose="evals")
    options = {
        "messages": [{"role": "user", "content": "{{item.q}}"}], "max_tokens": 4,
        "graders": [given.CHECK | {"reference": "{{item.q}}", "operation": "ne"}],
    }  # fmt: skip
    criterion = given.AUDIT | {"file": sent.id, "options": options, "items": 10}
    made = await given.new_eval(ai, criterion, data_source_config={"type": "penstock.audit"})
    of = {"type": "penstock.audit", "model": "rill", "policy": "none", "baseline": None}
    run = await given.done(ai, await given.new_run(ai, made.id, of))
    assert run.result_counts.total == 10
    assert (run.verdict, run.data_source.type) == ("INCONCLUSIVE", "penstock.audit")


async def test_a_request_that_is_sent_again_is_the_same_run(
    ai: AsyncOpenAI, client: httpx.AsyncClient
) -> None:
    made = await given.new_eval(ai)
    headers = {"idempotency-key": f"k-{made.id}"}
    body = {"data_source": given.source()}
    path = f"/v1/evals/{made.id}/runs"
    first, again = [(await client.post(path, json=body, headers=headers)) for _ in range(2)]
    assert (first.status_code, again.status_code) == (201, 201), again.text
    assert first.json()["id"] == again.json()["id"]
    assert again.headers["idempotency-replayed"] == "true"


async def test_other_tenants_see_nothing_of_it(ai: AsyncOpenAI, rig: Rig) -> None:
    made = await given.new_eval(ai)
    run = await given.done(ai, await given.new_run(ai, made.id, given.source()))
    (item, *_) = [one async for one in ai.evals.runs.output_items.list(run.id, eval_id=made.id)]
    base = f"/v1/evals/{made.id}"
    asks = [
        ("GET", base, None), ("POST", base, {"name": "x"}), ("DELETE", base, None),
        ("GET", f"{base}/runs", None), ("POST", f"{base}/runs", {"data_source": given.source()}),
        ("GET", f"{base}/runs/{run.id}", None), ("POST", f"{base}/runs/{run.id}", None),
        ("DELETE", f"{base}/runs/{run.id}", None),
        ("GET", f"{base}/runs/{run.id}/output_items", None),
        ("GET", f"{base}/runs/{run.id}/output_items/{item.id}", None),
        ("GET", f"/v1/evals?after={made.id}", None),
    ]  # fmt: skip
    async with rig.client(await rig.key(f"other-{made.id}")) as other:
        for method, path, body in asks:
            answer = await other.request(method, path, json=body)
            assert answer.status_code == 404, f"{method} {path}: {answer.text}"
        wanted = {"data_source_config": given.CONFIG, "testing_criteria": [given.CHECK]}
        mine = await other.post("/v1/evals", json=wanted)
        theirs = f"/v1/evals/{mine.json()['id']}/runs/{run.id}"
        assert (await other.get(theirs)).status_code == 404
        listed = await other.get("/v1/evals")
        assert [one["id"] for one in listed.json()["data"]] == [mine.json()["id"]]
    assert (await ai.evals.runs.retrieve(run.id, eval_id=made.id)).status == "completed"
