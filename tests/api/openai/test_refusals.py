"""What is wrong or not supported is refused by name before a job is made; nothing is ignored silently."""

from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from tests import asking
from tests.asking import JOBS

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
SAID = [{"role": "user", "content": "x"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
SCHEMA = "response_format.json_schema.schema"


def _schema(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}


WRONG_CHAT: list[tuple[dict[str, Any], str]] = [
    ({"messages": []}, "messages"),
    ({"messages": [{"role": "user"}]}, "messages.0.content"),
    ({"messages": [{"role": "user", "content": None}]}, "messages.0.content"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
     "messages.0.content"),
    ({"messages": [{"role": "critic", "content": "x"}]}, "messages.0.role"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": 4, "max_completion_tokens": 5}, "max_completion_tokens"),
    ({"max_completion_tokens": 5000}, "max_completion_tokens"),
    ({"max_tokens": "5"}, "max_tokens"),
    ({"n": 17}, "n"),
    ({"temperature": 3}, "temperature"),
    ({"presence_penalty": 2.5}, "presence_penalty"),
    ({"logit_bias": {"x": 1}}, "logit_bias"),
    ({"logit_bias": {"99999999": 1}}, "logit_bias"),
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ({"stop": ["a"] * 17}, "stop"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"stream": True, "stream_options": {"include_obfuscation": "yes"}},
     "stream_options.include_obfuscation"),
    ({"response_format": {"type": "xml"}}, "response_format.type"),
    ({"response_format": {"type": "json_schema"}}, "response_format"),
    ({"response_format": _schema({"type": "objekt"})}, SCHEMA),
    ({"response_format": _schema({"type": "array", "uniqueItems": True})}, SCHEMA),
    ({"response_format": _schema({"type": "string", "pattern": "("})}, SCHEMA),
    ({"structured": {"regex": "a["}}, "structured.regex"),
    ({"structured": {}}, "structured"),
    ({"tools": []}, "tools"),
    ({"tools": [TOOL, TOOL], "tool_choice": "required"}, "tools"),
    ({"tools": [TOOL]}, "tool_choice"),
    ({"tools": [TOOL], "tool_choice": "auto"}, "tool_choice"),
    ({"tools": [TOOL], "tool_choice": "sometimes"}, "tool_choice"),
    ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}},
     "tool_choice"),
    ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": 5}}}],
      "tool_choice": "required"}, "tools.0.function.parameters"),
    ({"tools": [TOOL], "tool_choice": "required", "response_format": {"type": "json_object"}},
     "response_format"),
    ({"metadata": {"a": "x" * 513}}, "metadata"),
    ({"audio": {"voice": "x"}}, "audio"),
    ({"modalities": ["text", "audio"]}, "modalities"),
    ({"functions": []}, "functions"),
    ({"functions": [{"name": "f"}]}, "function_call"),
    ({"functions": [{"name": "f"}], "tools": [TOOL]}, "functions"),
    ({"functions": [{"name": "f"}], "function_call": {"name": "g"}}, "function_call"),
    ({"functions": [{"name": "f"}], "function_call": "required"}, "function_call"),
    ({"function_call": "auto"}, "function_call"),
    ({"prompt_cache_options": {"mode": "explicit"}}, "prompt_cache_options"),
    ({"prompt_cache_retention": "24h"}, "prompt_cache_retention"),
    ({"web_search_options": {}}, "web_search_options"),
    ({"store": True}, "store"),
    ({"service_tier": "priority"}, "service_tier"),
    ({"reasoning_effort": "high"}, "reasoning_effort"),
    ({"prediction": {"type": "content", "content": "x"}}, "prediction"),
    ({"nonsense": 1}, "nonsense"),
]  # fmt: skip
WRONG_COMPLETIONS: list[tuple[dict[str, Any], str]] = [
    ({"prompt": []}, "prompt"),
    ({"prompt": ""}, "prompt"),
    ({"prompt": ["x", ""]}, "prompt"),
    ({"prompt": [[]]}, "prompt"),
    ({"prompt": [-1]}, "prompt"),
    ({"prompt": [99_999_999]}, "prompt"),
    ({"prompt": ["x"] * 129}, "prompt"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"logprobs": 21}, "logprobs"),
    ({"suffix": "x"}, "suffix"),
    ({"best_of": 2}, "best_of"),
    ({"min_tokens": 9, "max_tokens": 8}, "min_tokens"),
    ({"messages": SAID}, "messages"),
]


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [(CHAT, *case) for case in WRONG_CHAT] + [(COMPLETIONS, *case) for case in WRONG_COMPLETIONS],
    ids=lambda v: str(v)[:60],
)
async def test_a_wrong_field_is_named(
    client: httpx.AsyncClient, path: str, fields: dict[str, Any], param: str
) -> None:
    base = {"messages": SAID} if path == CHAT else {"prompt": "x"}
    answer = await client.post(path, json={"model": "rill"} | base | fields)
    found = asking.error(answer, 400)["param"]
    assert found == param or found.startswith(f"{param}."), answer.text
    assert (await client.get(JOBS)).json()["data"] == []


async def test_what_says_nothing_is_accepted(client: httpx.AsyncClient) -> None:
    """Nulls, and values that are what happens anyway."""
    nothing = dict.fromkeys(
        ("audio", "functions", "stop", "seed", "tools", "tool_choice", "response_format", "n",
         "temperature", "stream", "stream_options", "logit_bias", "prediction"),
    ) | {
        "service_tier": "auto", "store": False, "modalities": ["text"], "reasoning_effort": "none",
        "prompt_cache_key": "k", "safety_identifier": "who", "parallel_tool_calls": True,
    }  # fmt: skip
    body = {"model": "rill", "messages": SAID, "max_tokens": 2} | nothing
    answer = await client.post(CHAT, json=body)
    assert answer.status_code == 200, answer.text
    (job,) = (await client.get(JOBS)).json()["data"]
    assert job["metadata"] == {"safety_identifier": "who"}


async def test_flex_waits_behind_interactive_jobs(client: httpx.AsyncClient) -> None:
    body = {"model": "rill", "messages": SAID, "max_tokens": 2, "service_tier": "flex"}
    answer = await client.post(CHAT, json=body)
    assert answer.json()["service_tier"] == "flex"
    (job,) = (await client.get(JOBS)).json()["data"]
    assert job["priority"] == "batch"


async def test_openais_client_raises_what_it_should(ai: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as wrong:
        await ai.completions.create(model="rill", prompt="x", temperature=9)
    assert wrong.value.param == "temperature"
    with pytest.raises(openai.AuthenticationError):
        await ai.with_options(api_key="sk-wrong").models.list()
