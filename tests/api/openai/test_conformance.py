"""The compatibility page tells the truth: its fields are the openai package's, its figures are what comes out.

PENSTOCK_WRITE_CONFORMANCE=1 writes the tables anew.
"""

import json
import os
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI

from tests import asking
from tests.api.openai import conformance
from tests.api.openai.batching import CHAT as CHAT_PATH
from tests.api.openai.batching import begin, ended, line
from tests.api.openai.conformance import (
    BATCHES,
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    FAMILIES,
    REFUSED,
    RESPONSES,
    Family,
)
from tests.rig import ROOT

pytestmark = pytest.mark.usefixtures("embedder")
PAGE = ROOT / "docs" / "openai-compatibility.md"
SAID = [{"role": "user", "content": "x"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
BASE: dict[str, dict[str, Any]] = {
    "chat": {"model": "rill", "messages": SAID, "max_tokens": 2},
    "completions": {"model": "rill", "prompt": "x", "max_tokens": 2},
    "responses": {"model": "rill", "input": "x", "max_output_tokens": 2},
    "embeddings": {"model": "scripted-embedder", "input": "x"},
}
PATH = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "responses": "/v1/responses",
    "embeddings": "/v1/embeddings",
}
# For each accepted field something that is not its default, and what it cannot be sent without.
SAMPLES: dict[str, dict[str, Any]] = {
    "frequency_penalty": {"frequency_penalty": 0.5}, "logit_bias": {"logit_bias": {"400": 1.5}},
    "max_tokens": {}, "max_completion_tokens": {"max_tokens": None, "max_completion_tokens": 2},
    "model": {}, "n": {"n": 2}, "presence_penalty": {"presence_penalty": 0.5}, "seed": {"seed": 4},
    "stop": {"stop": ["a"]}, "stream": {"stream": True}, "messages": {}, "prompt": {},
    "stream_options": {"stream": True, "stream_options": {"include_usage": True}},
    "temperature": {"temperature": 0.4}, "top_p": {"top_p": 0.4}, "user": {"user": "u"},
    "metadata": {"metadata": {"a": "b"}}, "modalities": {"modalities": ["text"]},
    "parallel_tool_calls": {"parallel_tool_calls": False}, "prompt_cache_key": {"prompt_cache_key": "k"},
    "reasoning_effort": {"reasoning_effort": "none"}, "safety_identifier": {"safety_identifier": "s"},
    "response_format": {"response_format": {"type": "json_object"}}, "verbosity": {"verbosity": "medium"},
    "service_tier": {"service_tier": "flex"}, "store": {"store": False}, "best_of": {"best_of": 1},
    "tool_choice": {"tools": [TOOL], "tool_choice": "required"}, "echo": {"echo": True},
    "dimensions": {"dimensions": 64}, "encoding_format": {"encoding_format": "base64"}, "input": {},
    "tools": {"tools": [TOOL], "tool_choice": "none"}, "top_logprobs": {"logprobs": True, "top_logprobs": 1},
}  # fmt: skip

FLAT = {"type": "function", "name": "f", "parameters": {"type": "object"}}
OF_RESPONSES: dict[str, dict[str, Any]] = {
    "background": {"background": True}, "include": {"include": ["message.output_text.logprobs"]},
    "background_options": {"background": True, "background_options": {"completion_window": "2h"}},
    "input": {"input": [{"role": "user", "content": [{"type": "input_text", "text": "x"}]}]},
    "instructions": {"instructions": "i"}, "max_output_tokens": {}, "max_tool_calls": {"max_tool_calls": 1},
    "prompt_cache_retention": {"prompt_cache_retention": "in_memory"}, "truncation": {"truncation": "disabled"},
    "reasoning": {"reasoning": {"effort": "none"}}, "text": {"text": {"format": {"type": "json_object"}}},
    "stream_options": {"stream": True, "stream_options": {"include_obfuscation": False}},
    "tool_choice": {"tools": [FLAT], "tool_choice": "required"}, "top_logprobs": {"top_logprobs": 1},
    "tools": {"tools": [FLAT], "tool_choice": "none"}, "image": {"image": {"context_compression": "auto"}},
    "prompt_cache_options": {"prompt_cache_options": {"mode": "implicit"}},
}  # fmt: skip


def sample(family: Family, name: str) -> dict[str, Any]:
    if family is RESPONSES and name in OF_RESPONSES:
        return OF_RESPONSES[name]
    if name == "logprobs":
        return {"logprobs": True if family is CHAT else 1}
    return SAMPLES[name]


@pytest.mark.parametrize("family", [CHAT, COMPLETIONS, RESPONSES, EMBEDDINGS], ids=lambda f: f.name)
async def test_the_table_lists_the_packages_fields_and_says_what_happens(
    client: httpx.AsyncClient, family: Family
) -> None:
    assert family.fields.keys() == family.known, "a version of openai brought or dropped a field"
    for name, (fate, _) in family.fields.items():
        if name == "previous_response_id":
            first = (await client.post(PATH[family.name], json=BASE[family.name])).json()
            OF_RESPONSES[name] = {name: first["id"]}
        extra = {name: "something"} if fate == REFUSED else sample(family, name)
        body = {k: v for k, v in (BASE[family.name] | extra).items() if v is not None}
        answer = await client.post(PATH[family.name], json=body)
        if fate == REFUSED:
            asking.error(answer, 400, name)
        else:
            assert answer.status_code == 200, f"{name}: {answer.text}"


async def test_every_field_of_a_batch_is_taken(client: httpx.AsyncClient) -> None:
    assert BATCHES.fields.keys() == BATCHES.known, "a version of openai brought or dropped a field"
    file = await client.post("/v1/files", files={"file": ("f", b"{}")}, data={"purpose": "batch"})
    body = {
        "input_file_id": file.json()["id"], "endpoint": CHAT_PATH, "completion_window": "2h",
        "metadata": {"a": "b"}, "output_expires_after": {"anchor": "created_at", "seconds": 3600},
    }  # fmt: skip
    assert body.keys() == BATCHES.known
    answer = await client.post("/v1/batches", json=body)
    assert answer.status_code == 200, answer.text


async def shown_of_batches(ai: AsyncOpenAI) -> set[str]:
    """Every field of a batch that ran, and of one that could not."""
    good = await ended(ai, (await begin(ai, [line("a")], metadata={"a": "b"})).id)
    bad = await ended(ai, (await begin(ai, [b"{"])).id)
    raw = [json.loads(one.model_dump_json(exclude_unset=True)) for one in (good, bad)]
    return {f"Batch.{path}" for one in raw for path in conformance.produced(one)}


async def shown(client: httpx.AsyncClient, family: Family) -> set[str]:
    """Every field that our answers have, whole and streamed."""
    if family.name == "models":
        return set(conformance.produced((await client.get("/v1/models/rill")).json()))
    if family is RESPONSES:
        return await shown_of_responses(client)
    if family is EMBEDDINGS:
        made = (await client.post(PATH[family.name], json=BASE[family.name])).json()
        return {f"{family.answers[0].__name__}.{path}" for path in conformance.produced(made)}
    found: set[str] = set()
    wishes: list[dict[str, Any]] = [{"logprobs": True, "top_logprobs": 1}] if family is CHAT else [
        {"logprobs": 1}
    ]  # fmt: skip
    if family is CHAT:
        wishes.append({"tools": [TOOL], "tool_choice": "required", "max_tokens": 60})
    for wish in wishes:
        body = BASE[family.name] | wish
        whole = await client.post(PATH[family.name], json=body)
        found |= {f"{family.answers[0].__name__}.{p}" for p in conformance.produced(whole.json())}
        streams = body | {"stream": True, "stream_options": {"include_usage": True}}
        async with client.stream("POST", PATH[family.name], json=streams) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data: {"):
                    chunk = conformance.produced(json.loads(line[6:]))
                    found |= {f"{family.answers[-1].__name__}.{path}" for path in chunk}
    return found


async def shown_of_responses(client: httpx.AsyncClient) -> set[str]:
    found: set[str] = set()
    for wish in ({"top_logprobs": 1}, {"tools": [FLAT], "tool_choice": "required"}):
        body = BASE["responses"] | {"max_output_tokens": 60} | wish
        answer = await client.post(PATH["responses"], json=body)
        found |= {f"Response.{path}" for path in conformance.produced(answer.json())}
    return found


async def test_the_figures_on_the_page_are_what_comes_out(
    client: httpx.AsyncClient, ai: AsyncOpenAI
) -> None:
    lines = ["| family | request fields accepted | response fields produced |", "|---|---|---|"]
    for family in FAMILIES:
        if family.name == "models":
            known = set(conformance.paths(family.answers[0]))
        else:
            known = {
                f"{a.__name__}.{p}"
                for a in family.answers
                for p in conformance.paths(a, "", family.spoken)
            }
        asked = conformance.share(family.accepted, family.known) if family.known else "no body"
        found = await (shown_of_batches(ai) if family is BATCHES else shown(client, family))
        made = conformance.share(found, known)
        lines.append(f"| {family.name} | {asked} | {made} |")
    page = PAGE.read_text()
    if os.environ.get("PENSTOCK_WRITE_CONFORMANCE"):
        page = _between(page, "conformance", "\n".join(lines))
        page = _between(page, "fields", conformance.fields_table())
        PAGE.write_text(page)
    assert "\n".join(lines) in page, "\n".join(lines)
    assert conformance.fields_table() in page


def _between(page: str, name: str, table: str) -> str:
    """The page with the table behind its mark, up to the next paragraph that is none of it."""
    before, _, after = page.partition(f"<!-- {name} -->")
    _, end, rest = after.partition("<!-- end -->")
    return f"{before}<!-- {name} -->\n\n{table}\n\n<!-- end -->{rest if end else after}"
