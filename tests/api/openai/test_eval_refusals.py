"""What /v1/evals cannot do it refuses by its name, before anything is recorded."""

from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI

from tests import asking
from tests.api.openai import evaluating as given

EVAL = {"data_source_config": given.CONFIG, "testing_criteria": [given.CHECK]}
JUDGE = {"type": "score_model", "name": "j", "model": "m", "input": []}
LABELS = {
    "type": "label_model", "name": "l", "model": "m", "input": [], "labels": ["a"],
    "passing_labels": ["a"],
}  # fmt: skip
CODE = {"type": "python", "name": "p", "source": "def grade(): pass"}


@pytest.mark.parametrize(
    ("change", "param", "message"),
    [
        ({"testing_criteria": [JUDGE]}, "testing_criteria.0", "score_model is not supported"),
        ({"testing_criteria": [LABELS]}, "testing_criteria.0", "label_model is not supported"),
        ({"testing_criteria": [CODE]}, "testing_criteria.0", "code of clients is not run here"),
        ({"testing_criteria": []}, "testing_criteria", "at least 1"),
        (
            {"testing_criteria": [given.ALIKE | {"evaluation_metric": "bleu"}]},
            "testing_criteria.0", "'bleu' is not supported",
        ),
        ({"testing_criteria": [given.CHECK, given.CHECK]}, None, "right is there twice"),
        ({"data_source_config": {"type": "logs"}}, "data_source_config", "logs is not supported"),
        (
            {"data_source_config": {"type": "stored_completions"}},
            "data_source_config", "stored_completions is not supported",
        ),
        ({"data_source_config": {"type": "penstock.audit"}}, None, "must be custom"),
        ({"metadata": {"k": "v" * 513}}, "metadata", "at most 512"),
        ({"other": 1}, "other", "not permitted"),
    ],
)  # fmt: skip
async def test_an_eval_that_cannot_be_is_refused(
    client: httpx.AsyncClient, change: dict[str, Any], param: str | None, message: str
) -> None:
    answer = await client.post("/v1/evals", json=EVAL | change)
    error = asking.error(answer, 400)
    assert message in error["message"]
    assert param is None or (error["param"] or "").startswith(param), error


STORED = {"type": "stored_completions", "limit": 10}


@pytest.mark.parametrize(
    ("change", "param", "message"),
    [
        ({"source": STORED}, "data_source", "stored_completions is not supported"),
        ({"type": "jsonl"}, "data_source", "jsonl is not supported"),
        ({"input_messages": None}, "data_source.input_messages", "say what the model is to be asked"),
        (
            {"input_messages": {"type": "item_reference", "item_reference": "item.m"}},
            "data_source", "item_reference is not supported",
        ),
        ({"model": "nobody"}, "data_source.model", "nobody"),
        ({"source": {"type": "file_id", "id": "file_x"}}, "data_source.source", "No file"),
        ({"sampling_params": {"tools": [{"type": "function"}]}}, "data_source", "not supported"),
        ({"sampling_params": {"response_format": {"type": "json_object"}}}, "data_source", "not supported"),
        ({"sampling_params": {"temperature": 3}}, "data_source", "less than or equal to 2"),
        ({"policy": "nobody"}, "data_source.policy", "nobody"),
    ],
)  # fmt: skip
async def test_a_run_that_cannot_be_is_refused(
    ai: AsyncOpenAI, client: httpx.AsyncClient, change: dict[str, Any], param: str, message: str
) -> None:
    made = await given.new_eval(ai)
    body = {"data_source": given.source() | change}
    answer = await client.post(f"/v1/evals/{made.id}/runs", json=body)
    assert answer.status_code in (400, 404), answer.text
    error = asking.error(answer, answer.status_code)
    assert message in error["message"]
    assert (error["param"] or "").startswith(param), error
    assert (await client.get(f"/v1/evals/{made.id}/runs")).json()["data"] == []


async def test_items_and_criteria_must_go_together(
    ai: AsyncOpenAI, client: httpx.AsyncClient
) -> None:
    plain = await given.new_eval(ai)
    audits = await given.new_eval(ai, given.AUDIT, data_source_config={"type": "penstock.audit"})
    for made, of in ((plain, {"type": "penstock.audit"}), (audits, given.source())):
        answer = await client.post(f"/v1/evals/{made.id}/runs", json={"data_source": of})
        assert asking.error(answer, 400)["param"] == "data_source.type"
