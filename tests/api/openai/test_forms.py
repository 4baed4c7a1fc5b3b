"""Answers that must have a form, and tool calls, through OpenAI's own client on the scripted engine."""

import json
from typing import Any

import pydantic
import pytest
from openai import AsyncOpenAI

SAID: list[Any] = [{"role": "user", "content": "Tell me of the river."}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "What the sky does.",
        "parameters": {
            "type": "object",
            "properties": {"place": {"$ref": "#/$defs/place"}, "days": {"type": "integer"}},
            "required": ["place", "days"],
            "additionalProperties": False,
            "$defs": {"place": {"enum": ["Basel"]}},
        },
    },
}
CALLED = {"place": "Basel", "days": 7}


class River(pydantic.BaseModel):
    name: str
    length: int


async def test_a_schema_is_met(ai: AsyncOpenAI) -> None:
    said = await ai.chat.completions.parse(model="rill", messages=SAID, response_format=River)
    assert said.choices[0].message.parsed == River(name="x", length=7)
    assert said.choices[0].finish_reason == "stop"


async def test_a_form_of_ours_goes_in_the_extra_body(ai: AsyncOpenAI) -> None:
    extra = {"structured": {"choice": ["yes", "no"]}}
    said = await ai.completions.create(model="rill", prompt="Is it?", extra_body=extra)
    assert said.choices[0].text == "yes"


@pytest.mark.parametrize(
    ("choice", "finish"),
    [
        ("required", "tool_calls"),
        ({"type": "function", "function": {"name": "weather"}}, "stop"),
    ],
)
async def test_a_call_that_must_be_is_made(ai: AsyncOpenAI, choice: Any, finish: str) -> None:
    asked: dict[str, Any] = {
        "model": "rill", "messages": SAID, "tools": [WEATHER], "tool_choice": choice,
    }  # fmt: skip
    said = (await ai.chat.completions.create(**asked)).choices[0]
    assert said.message.content is None
    (call,) = said.message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments) == CALLED
    assert said.finish_reason == finish
    # As a helper of theirs puts the stream together again.
    name, arguments, ids, last = "", "", set(), None
    async for chunk in await ai.chat.completions.create(**asked, stream=True):
        for part in chunk.choices[0].delta.tool_calls or []:
            ids |= {part.id} - {None}
            if part.function is not None:
                name += part.function.name or ""
                arguments += part.function.arguments or ""
        last = chunk.choices[0].finish_reason or last
    assert (name, json.loads(arguments), len(ids), last) == ("weather", CALLED, 1, finish)


async def test_no_tool_is_called_when_none_may(ai: AsyncOpenAI) -> None:
    said = await ai.chat.completions.create(
        model="rill", messages=SAID, max_tokens=4, tools=[WEATHER], tool_choice="none"
    )
    assert said.choices[0].message.tool_calls is None
    assert said.choices[0].message.content


async def test_a_call_and_its_answer_go_back_into_the_conversation(ai: AsyncOpenAI) -> None:
    first = await ai.chat.completions.create(
        model="rill", messages=SAID, tools=[WEATHER], tool_choice="required"
    )
    message = first.choices[0].message
    assert message.tool_calls
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "rain"}
    # The message goes back as the client library dumps it, with its empty fields.
    whole: list[Any] = [*SAID, message.model_dump(), result]
    said = await ai.chat.completions.create(model="rill", messages=whole, max_tokens=3)
    assert said.choices[0].message.content


async def test_functions_are_the_old_name_of_tools(ai: AsyncOpenAI) -> None:
    old: dict[str, Any] = {
        "model": "rill", "messages": SAID, "functions": [WEATHER["function"]],
        "function_call": {"name": "weather"},
    }  # fmt: skip
    said = (await ai.chat.completions.create(**old)).choices[0]
    assert said.message.tool_calls is None
    assert said.message.function_call is not None
    assert said.message.function_call.name == "weather"
    assert json.loads(said.message.function_call.arguments) == CALLED
    assert said.finish_reason == "stop"
    name = arguments = ""
    async for chunk in await ai.chat.completions.create(**old, stream=True):
        if part := chunk.choices[0].delta.function_call:
            name += part.name or ""
            arguments += part.arguments or ""
    assert (name, arguments) == ("weather", said.message.function_call.arguments)
    back: list[Any] = [
        *SAID, said.message.model_dump(), {"role": "function", "name": "weather", "content": "rain"}
    ]  # fmt: skip
    more = await ai.chat.completions.create(model="rill", messages=back, max_tokens=3)
    assert more.choices[0].message.content


async def test_text_parts_are_a_text(ai: AsyncOpenAI) -> None:
    parts: list[Any] = [{"type": "text", "text": "Tell me"}, {"type": "text", "text": "of it."}]
    one = await ai.chat.completions.create(
        model="rill", messages=[{"role": "user", "content": parts}], max_tokens=4
    )
    other = await ai.chat.completions.create(
        model="rill", messages=[{"role": "user", "content": "Tell me\nof it."}], max_tokens=4
    )
    assert one.choices == other.choices
