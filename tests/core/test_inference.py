"""The inference spec: forms and messages it refuses, and what is kept of several answers."""

from typing import Any

import orjson
import pytest
from pydantic import ValidationError
from sqlalchemy import text as sql

from core.catalog import tokenizer
from core.config import MODEL_FOLDER
from core.db.session import Database
from core.errors import InvalidInput
from core.jobs import inference
from core.jobs.inference import InferenceSpec
from core.jobs.job import PARTIAL
from core.jobs.kinds import InferenceJob
from core.jobs.messages import for_template
from core.jobs.submission import fingerprint

TEXT = tokenizer.load(str(MODEL_FOLDER))
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
SAID = [{"role": "user", "content": "x"}]
DEEP: dict[str, Any] = {}
for _ in range(70):
    DEEP = {"items": DEEP}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": [1, -1]}, "prompt"),
        ({"prompt": [True]}, "prompt"),
        ({"prompt": "a\x00"}, "prompt"),
        ({"n": 0}, "n"),
        ({"min_p": 1.5}, "min_p"),
        ({"logit_bias": {"-1": 1}}, "logit_bias.-1.[key]"),
        ({"logit_bias": {"1": 101}}, "logit_bias.1"),
        ({"structured": {"json_schema": DEEP}}, "structured.json_schema"),
        ({"structured": {"json_schema": {"const": 2**80}}}, "structured.json_schema"),
        ({"structured": {"json_schema": {"const": "a\x00"}}}, "structured.json_schema"),
        ({"structured": {"grammar": 'start: "a" missing'}}, "structured.grammar"),
        ({"structured": {"choice": []}}, "structured.choice"),
        ({"structured": {"choice": ["a", ""]}}, "structured.choice"),
        ({"structured": {"choice": ["a"], "regex": "b"}}, "structured"),
        ({"tools": [{**TOOL, "type": "custom"}]}, "tools.0.type"),
        ({"tool_choice": {"type": "function"}}, "tool_choice"),
    ],
    ids=lambda v: str(v)[:50],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(ValidationError) as refused:
        InferenceSpec.model_validate({"prompt": "x"} | fields)
    assert ".".join(map(str, refused.value.errors()[0]["loc"])) == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": "x", "max_tokens": 0}, "max_tokens"),
        ({"prompt": "x", "max_tokens": 3, "min_tokens": 4}, "min_tokens"),
        ({"prompt": [TEXT.size]}, "prompt"),
        ({"prompt": "x", "logit_bias": {str(TEXT.size): 1}}, "logit_bias"),
        ({"prompt": "x", "tools": [TOOL], "tool_choice": "required"}, "tools"),
        ({"messages": SAID, "tools": [TOOL]}, "tool_choice"),
        ({"messages": SAID, "tools": [TOOL], "tool_choice": "required",
          "structured": {"json_object": True}}, "structured"),
    ],
    ids=lambda v: str(v)[:50],
)  # fmt: skip
def test_rules_across_fields_name_one(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        inference.check(InferenceSpec.model_validate(fields), TEXT)
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("fields", "walks"),
    [
        ({}, False),
        ({"temperature": 1.0}, False),
        ({"seed": 1, "temperature": 0.0}, False),
        ({"repetition_penalty": 1.2}, False),
        ({"seed": 1}, True),
        ({"presence_penalty": 0.1}, True),
        ({"structured": {"regex": "a"}}, True),
        ({"messages": SAID, "prompt": None, "tools": [TOOL], "tool_choice": "required"}, True),
    ],
)
def test_which_answers_must_walk_their_way_again(fields: dict[str, Any], walks: bool) -> None:
    assert InferenceSpec.model_validate({"prompt": "x"} | fields).walks is walks


def test_a_template_sees_content_and_calls_as_it_expects() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    spec = InferenceSpec.model_validate(
        {"messages": [*SAID, {"role": "assistant", "tool_calls": [call]},
                      {"role": "tool", "tool_call_id": "c", "content": "y"}]}
    )  # fmt: skip
    first, second, third = for_template(spec.messages or [])
    assert first == SAID[0]
    assert second["content"] == ""
    assert second["tool_calls"][0]["function"]["arguments"] == {"a": 1}
    assert third == {"role": "tool", "tool_call_id": "c", "content": "y"}


def test_a_key_survives_a_field_that_is_new() -> None:
    """A body with a default written out, and with a field that did not exist, is the same body."""
    short = InferenceJob.model_validate({"kind": "inference", "prompt": "x"})
    long = InferenceJob.model_validate(
        {"kind": "inference", "prompt": "x", "n": 1, "tools": None, "temperature": 0.8}
    )
    other = InferenceJob.model_validate({"kind": "inference", "prompt": "x", "n": 2})
    assert fingerprint(short) == fingerprint(long) != fingerprint(other)


LIKELY: dict[str, Any] = {"token": "a", "id": 5, "logprob": -0.5, "top": []}


def test_several_answers_are_kept_apart() -> None:
    said: list[dict[str, Any]] = [
        {"text": "a", "tokens": [1], "logprobs": [LIKELY]},
        {"text": "b", "tokens": [2], "index": 1},
        {"text": "c", "tokens": [3], "index": 1, "finish": "stop"},
    ]
    whole = inference.join(None, said)
    assert whole == {
        "text": "a", "tokens": [1], "logprobs": [LIKELY],
        "choices": [{"index": 1, "text": "bc", "tokens": [2, 3], "finish": "stop"}],
    }  # fmt: skip
    assert inference.join(inference.join(None, said[:2]), said[2:]) == whole
    assert inference.choices(whole)[1] == {"text": "bc", "tokens": [2, 3], "finish": "stop"}


@pytest.mark.parametrize(
    "progress",
    [
        {"text": "a", "tokens": [1]},
        {"text": "a", "tokens": [1], "finish": "stop", "logprobs": [LIKELY]},
        {"text": "a", "tokens": [1], "choices": [{"index": 1, "text": "b", "tokens": [2]}]},
    ],
)
async def test_postgres_shows_a_partial_answer_as_python_does(
    db: Database, progress: dict[str, Any]
) -> None:
    query = sql(
        f"SELECT {PARTIAL} FROM (SELECT 'inference' AS kind, cast(:p AS jsonb) AS progress) AS given"
    )
    async with db.begin() as session:
        shown = await session.scalar(query, {"p": orjson.dumps(progress).decode()})
    assert shown == inference.partial(progress)


def test_what_a_job_took_is_what_its_last_word_says() -> None:
    first = {"prompt_tokens": 9, "engine_seconds": 0.5}
    last = {"prompt_tokens": 9, "engine_seconds": 1.5, "cached_tokens": 4}
    said: list[dict[str, Any]] = [
        {"text": "a", "tokens": [1], "took": first},
        {"text": "b", "tokens": [2, 3], "took": last},
        {"text": "c", "tokens": [4], "index": 1, "took": None},
    ]
    joined = inference.join(None, said)
    assert joined["took"] == last
    assert inference.usage(joined) == {
        "prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13, "cached_tokens": 4,
        "engine_seconds": 1.5,
    }  # fmt: skip
    # A heartbeat may know of more than the pieces that follow it.
    later = joined | {"took": last | {"engine_seconds": 2.0}}
    assert inference.join(later, said[:1])["took"]["engine_seconds"] == 2.0
    shown = inference.partial(joined)
    assert shown is not None
    assert "took" not in repr(shown)
    assert inference.usage(None)["total_tokens"] == 0
