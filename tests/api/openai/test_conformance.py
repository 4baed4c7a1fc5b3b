"""The compatibility page tells the truth: its fields are the openai package's, its figures are what comes out.

PENSTOCK_WRITE_CONFORMANCE=1 writes the tables anew.
"""

import json
import os
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI

from core.db.session import Database
from core.jobs.job import Job
from core.jobs.responses import Response
from tests import asking
from tests.api.openai import conformance
from tests.api.openai.conformance import HONOURED, KEPT, REFUSED, Family
from tests.api.openai.families import CHAT, COMPLETIONS, EMBEDDINGS, FAMILIES, RESPONSES
from tests.api.openai.shown import FLAT, SAID, SHOWN, TOOL, Asker
from tests.rig import ROOT

pytestmark = pytest.mark.usefixtures("embedder")
PAGE = ROOT / "docs" / "openai-compatibility.md"
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
    "max_tokens": {}, "max_completion_tokens": {"max_tokens": None, "max_completion_tokens": 3},
    "model": {}, "n": {"n": 2}, "presence_penalty": {"presence_penalty": 0.5}, "seed": {"seed": 4},
    "stop": {"stop": ["a"]}, "stream": {"stream": True}, "messages": {}, "prompt": {},
    "stream_options": {"stream": True, "stream_options": {"include_usage": True}},
    "temperature": {"temperature": 0.4}, "top_p": {"top_p": 0.4}, "user": {"user": "u"},
    "metadata": {"metadata": {"a": "b"}}, "modalities": {"modalities": ["text"]},
    "parallel_tool_calls": {"parallel_tool_calls": False}, "prompt_cache_key": {"prompt_cache_key": "k"},
    "reasoning_effort": {"reasoning_effort": "none"}, "safety_identifier": {"safety_identifier": "s"},
    "response_format": {"response_format": {"type": "json_object"}}, "verbosity": {"verbosity": "medium"},
    "prompt_cache_options": {"prompt_cache_options": {"mode": "implicit"}},
    "prompt_cache_retention": {"prompt_cache_retention": "in_memory"},
    "service_tier": {"service_tier": "flex"}, "store": {"store": False}, "best_of": {"best_of": 1},
    "tool_choice": {"tools": [TOOL], "tool_choice": "required"}, "echo": {"echo": True},
    "functions": {"functions": [TOOL["function"]], "function_call": "none"},
    "function_call": {"functions": [TOOL["function"]], "function_call": {"name": "f"}},
    "tools": {"tools": [TOOL], "tool_choice": "none"}, "top_logprobs": {"logprobs": True, "top_logprobs": 1},
    "dimensions": {"dimensions": 64}, "encoding_format": {"encoding_format": "base64"}, "input": {},
}  # fmt: skip

OF_RESPONSES: dict[str, dict[str, Any]] = {
    "background": {"background": True}, "include": {"include": ["message.output_text.logprobs"]},
    "background_options": {"background": True, "background_options": {"completion_window": "2h"}},
    "input": {"input": [{"role": "user", "content": [{"type": "input_text", "text": "x"}]}]},
    "instructions": {"instructions": "i"}, "max_output_tokens": {}, "max_tool_calls": {"max_tool_calls": 1},
    "truncation": {"truncation": "auto"},
    "reasoning": {"reasoning": {"effort": "none"}}, "text": {"text": {"format": {"type": "json_object"}}},
    "stream_options": {"stream": True, "stream_options": {"include_obfuscation": True}},
    "tool_choice": {"tools": [FLAT], "tool_choice": "required"}, "top_logprobs": {"top_logprobs": 1},
    "tools": {"tools": [FLAT], "tool_choice": "none"}, "image": {"image": {"context_compression": "auto"}},
}  # fmt: skip
# Fields of the plainest request, and those whose effect is not in the job: each has its own tests, here or beside.
PLAIN = {name: set(body) for name, body in BASE.items()}
ELSEWHERE = {
    "encoding_format",
    "stream",
    "stream_options",
    "echo",
    "store",
    "background",
    "truncation",
}


def sample(family: Family, name: str) -> dict[str, Any]:
    if family is RESPONSES and name in OF_RESPONSES:
        return OF_RESPONSES[name]
    if name == "logprobs":
        return {"logprobs": True if family is CHAT else 1}
    return SAMPLES[name]


async def recorded(db: Database, answer: httpx.Response) -> tuple[Any, Any]:
    """What is known of a request once it is a job: what it does, and what is kept with it."""
    async with db.single() as session:
        job = await session.get_one(Job, answer.headers["x-penstock-job"])
        response = await session.get(Response, job.id)
    does = [job.spec, job.priority, job.deadline is None]
    return does, [job.labels, response and response.asked]


@pytest.mark.parametrize("family", [CHAT, COMPLETIONS, RESPONSES, EMBEDDINGS], ids=lambda f: f.name)
async def test_the_table_lists_the_packages_fields_and_says_what_happens(
    client: httpx.AsyncClient, db: Database, family: Family
) -> None:
    assert family.fields.keys() == family.known, "a version of openai brought or dropped a field"
    plain = await client.post(PATH[family.name], json=BASE[family.name])
    does, keeps = await recorded(db, plain)
    for name, (fate, _) in family.fields.items():
        if "." in name:
            continue
        if name == "previous_response_id":
            OF_RESPONSES[name] = {name: plain.json()["id"]}
        extra = {name: "something"} if fate == REFUSED else sample(family, name)
        body = {k: v for k, v in (BASE[family.name] | extra).items() if v is not None}
        answer = await client.post(PATH[family.name], json=body)
        if fate == REFUSED:
            asking.error(answer, 400, name)
            continue
        assert answer.status_code == 200, f"{name}: {answer.text}"
        if name in PLAIN[family.name] | ELSEWHERE:
            continue
        did, kept = await recorded(db, answer)
        assert fate != HONOURED or did != does, f"{name} changes nothing of what is done"
        assert fate != KEPT or kept != keeps, f"{name} is not kept"
        assert fate in (HONOURED, KEPT) or did == does, f"{name} changes what is done"


async def test_fields_of_the_stream_are_honoured(client: httpx.AsyncClient) -> None:
    for name, extra in (
        ("chat", {"include_usage": True}),
        ("completions", {"include_usage": True}),
        ("responses", {}),
    ):
        for padded in (False, True):
            options = {"stream": True, "stream_options": extra | {"include_obfuscation": padded}}
            answer = await client.post(PATH[name], json=BASE[name] | {"top_p": 0.9} | options)
            frames = [
                json.loads(one[6:]) for one in answer.text.splitlines() if one.startswith("data: {")
            ]
            assert any("obfuscation" in one for one in frames) == padded
            assert any(one.get("usage") for one in frames) == bool(extra)
            if padded and name == "responses":
                sizes = {
                    len(json.dumps(f)) for f in frames if f["type"] == "response.output_text.delta"
                }
                assert max(sizes) - min(sizes) < 4, "one size but for the digits of their numbers"


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/v1/responses/{id}/input_items?include=message.input_image.image_url", "include"),
        ("/v1/responses/{id}?include=message.output_text.logprobs", "include"),
        ("/v1/responses/{id}?include[]=reasoning.encrypted_content", "include"),
        ("/v1/responses/{id}?whatever=1", "whatever"),
        ("/v1/responses/{id}/input_items?before=x", "before"),
        ("/v1/files?whatever=1", "whatever"),
        ("/v1/batches?whatever=1", "whatever"),
        ("/v1/models?limit=1", "limit"),
    ],
)
async def test_what_a_query_cannot_have_is_refused_by_name(
    client: httpx.AsyncClient, path: str, param: str
) -> None:
    made = (await client.post(PATH["responses"], json=BASE["responses"])).json()
    asking.error(await client.get(path.format(id=made["id"])), 400, param)


async def test_counting_tokens_takes_what_creating_does(ai: AsyncOpenAI) -> None:
    first = await ai.responses.create(**BASE["responses"])
    count = ai.responses.input_tokens.count
    plain = (await count(model="rill", input="x")).input_tokens
    tools: Any = [FLAT]
    for more in (
        {"instructions": "Be brief."}, {"previous_response_id": first.id},
    ):  # fmt: skip
        assert (await count(model="rill", input="x", **more)).input_tokens > plain
    for same in (
        {"parallel_tool_calls": False}, {"reasoning": {"effort": "none"}}, {"truncation": "auto"},
        {"text": {"format": {"type": "json_object"}}}, {"tools": tools, "tool_choice": "none"},
    ):  # fmt: skip
        assert (await count(model="rill", input="x", **same)).input_tokens == plain


async def test_the_figures_on_the_page_are_what_comes_out(
    client: httpx.AsyncClient, ai: AsyncOpenAI, db: Database
) -> None:
    assert set(SHOWN) == {family.name for family in FAMILIES}
    found: dict[str, set[str]] = {}
    for family in FAMILIES:
        found[family.name] = await SHOWN[family.name](Asker(client, ai, db))
        assert family.fields.keys() == family.known, family.name
    lines = [conformance.HEAD, *(family.row(found[family.name]) for family in FAMILIES)]
    tables = {
        "conformance": "\n".join(lines),
        "missing": conformance.missing_list(FAMILIES, found),
        "beyond": conformance.beyond_list(FAMILIES),
        "fields": conformance.fields_table(FAMILIES),
    }
    page = PAGE.read_text()
    if os.environ.get("PENSTOCK_WRITE_CONFORMANCE"):
        for name, table in tables.items():
            page = _between(page, name, table)
        PAGE.write_text(page)
    for table in tables.values():
        assert table in page, table


def _between(page: str, name: str, table: str) -> str:
    """The page with the table behind its mark, up to the next end of one."""
    before, _, after = page.partition(f"<!-- {name} -->")
    _, end, rest = after.partition("<!-- end -->")
    return f"{before}<!-- {name} -->\n\n{table}\n\n<!-- end -->{rest if end else after}"
