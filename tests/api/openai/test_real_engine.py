"""The surface on the real engine: what it streams is what it answers, and forms are met."""

import json
from typing import Any

import jsonschema
import pytest
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from core.ids import new_id
from tests.rig import Rig

pytestmark = pytest.mark.engine

SAID: list[Any] = [{"role": "user", "content": "Tell me of the river."}]
SCHEMA = {
    "type": "object",
    "properties": {"place": {"type": "string", "maxLength": 10}, "days": {"enum": [1, 2, 3]}},
    "required": ["place", "days"],
    "additionalProperties": False,
}


async def asked(rig: Rig) -> AsyncOpenAI:
    return AsyncOpenAI(
        base_url=f"{rig.base_url}/v1",
        api_key=await rig.key(new_id("t")),
        http_client=DefaultAsyncHttpxClient(trust_env=False, timeout=60),
    )


async def test_several_seeded_answers_stream_as_they_are_answered(engine_rig: Rig) -> None:
    async with await asked(engine_rig) as ai:
        fields: dict[str, Any] = {
            "model": "rill", "messages": SAID, "max_tokens": 12, "n": 3, "seed": 11,
            "frequency_penalty": 0.5, "logprobs": True, "top_logprobs": 2,
        }  # fmt: skip
        whole = await ai.chat.completions.create(**fields)
        texts = ["", "", ""]
        async for chunk in await ai.chat.completions.create(**fields, stream=True):
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
        assert texts == [choice.message.content for choice in whole.choices]
        assert len(set(texts)) == 3
        told = whole.choices[0].logprobs
        assert told is not None
        assert "".join(t.token for t in told.content or []).startswith(texts[0])


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "sky"}}])
async def test_a_call_meets_its_functions_schema(engine_rig: Rig, choice: Any) -> None:
    tool: Any = {"type": "function", "function": {"name": "sky", "parameters": SCHEMA}}
    async with await asked(engine_rig) as ai:
        said = await ai.chat.completions.create(
            model="rill", messages=SAID, tools=[tool], tool_choice=choice, max_tokens=100
        )
        (call,) = said.choices[0].message.tool_calls or []
        assert call.type == "function"
        jsonschema.validate(json.loads(call.function.arguments), SCHEMA)


async def test_a_response_format_is_met(engine_rig: Rig) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "sky", "schema": SCHEMA}}
    async with await asked(engine_rig) as ai:
        said = await ai.chat.completions.create(
            model="rill", messages=SAID, response_format=form, max_tokens=100
        )
        jsonschema.validate(json.loads(said.choices[0].message.content or ""), SCHEMA)
        assert said.choices[0].finish_reason == "stop"


async def test_a_response_is_replayed_with_the_probabilities_of_its_deltas(engine_rig: Rig) -> None:
    asked_for: dict[str, Any] = {
        "model": "rill", "input": SAID, "max_output_tokens": 80, "top_logprobs": 2, "temperature": 1.5
    }  # fmt: skip
    async with await asked(engine_rig) as ai:
        live: list[Any] = [e async for e in await ai.responses.create(**asked_for, stream=True)]
        again = await ai.responses.retrieve(live[-1].response.id, stream=True)
        assert [e.to_dict() async for e in again] == [e.to_dict() for e in live]
    said = heard = ""
    for event in live:
        if event.type == "response.output_text.delta":
            said += event.delta
            heard += "".join(one.token for one in event.logprobs)
            assert said.startswith(heard)
    (message,) = live[-1].response.output
    assert len(message.content[0].logprobs) == live[-1].response.usage.output_tokens
    assert said == message.content[0].text
    assert heard
