"""Tool calls: the form they are given, and reading them back out of what a model said."""

import json
from typing import Any

import pytest

from core.jobs import tools
from core.jobs.messages import Tool
from core.jobs.structured import sound_schema
from core.jobs.tools import Call, Choice

WEATHER = Tool.model_validate(
    {"type": "function", "function": {"name": "weather", "parameters": {
        "type": "object", "properties": {"place": {"$ref": "#/$defs/place"}},
        "required": ["place"], "$defs": {"place": {"enum": ["Basel"]}}}}}
)  # fmt: skip
NOW = Tool.model_validate({"type": "function", "function": {"name": "now"}})
AUTO = Choice("auto")


@pytest.mark.parametrize(
    ("given", "wanted", "choice"),
    [
        (None, None, Choice("none")),
        ([NOW], None, AUTO),
        ([NOW], "none", Choice("none")),
        ([NOW], "required", Choice("required")),
        ([NOW], {"type": "function", "function": {"name": "now"}}, Choice("named", "now")),
    ],
)
def test_silence_means_auto_and_no_tools_mean_none(given: Any, wanted: Any, choice: Choice) -> None:
    assert tools.chosen(given, wanted) == choice


def test_a_required_call_is_one_of_the_functions_with_its_own_arguments() -> None:
    schema = tools.constraint([WEATHER, NOW], Choice("required"))
    assert schema is not None
    assert [one["properties"]["name"]["const"] for one in schema["anyOf"]] == ["weather", "now"]
    # Pointers of each function still lead where they did.
    moved = schema["$defs"]["weather"]["properties"]["place"]["$ref"]
    assert moved == "#/$defs/weather/$defs/place"
    assert sound_schema(schema) == schema
    assert tools.constraint([NOW], Choice("none")) is None
    assert tools.constraint([NOW], AUTO) is None
    named = tools.constraint([WEATHER], Choice("named", "weather"))
    assert named == WEATHER.function.parameters


CALL = '<tool_call>\n{"name": "weather", "arguments": {"place": "Basel"}}\n</tool_call>'
CALLED = Call("weather", '{"place":"Basel"}')


@pytest.mark.parametrize(
    ("said", "content", "calls"),
    [
        ("Rain.", "Rain.", []),
        (CALL, None, [CALLED]),
        (f"Let me look. {CALL}", "Let me look.", [CALLED]),
        (f"{CALL}\n{CALL}", None, [CALLED, CALLED]),
        # Cut off before its closing mark, or before it was JSON.
        (CALL.removesuffix("</tool_call>"), None, [CALLED]),
        ("<tool_call>{not json}</tool_call>", "<tool_call>{not json}</tool_call>", []),
        ("<tool_call>[1]</tool_call>", "<tool_call>[1]</tool_call>", []),
        (
            '<tool_call>{"name": "now", "arguments": {"a": {"b": {}}}}</tool_call>',
            None,
            [Call("now", '{"a":{"b":{}}}')],
        ),
    ],
)
def test_calls_are_found_in_what_was_said(
    said: str, content: str | None, calls: list[Call]
) -> None:
    assert tools.calls(said, AUTO) == (content, calls)


def test_one_call_where_only_one_may_be() -> None:
    assert tools.calls(f"{CALL}{CALL}", AUTO, parallel=False) == (None, [CALLED])


def test_required_and_named_answers_are_the_call() -> None:
    said = json.dumps({"name": "now", "arguments": {"zone": 1}})
    assert tools.calls(said, Choice("required")) == (None, [Call("now", '{"zone":1}')])
    assert tools.calls(said[:-3], Choice("required")) == (said[:-3], [])
    assert tools.calls('{"a":1}', Choice("named", "now")) == (None, [Call("now", '{"a":1}')])


@pytest.mark.parametrize(
    ("said", "free"),
    [
        ("Rain.", 5),
        ("Rain <", 5),
        ("Rain <tool_cal", 5),
        ("Rain <b", 7),
        (f"So {CALL}", 3),
        ("", 0),
    ],
)
def test_what_may_become_a_call_is_held_back(said: str, free: int) -> None:
    assert tools.free(said) == free
