"""Tool calls: what an answer must look like to be one, and reading them back out of the answer."""

import re
from dataclasses import dataclass
from typing import Any

import orjson

from core.jobs.messages import Tool

OPEN, CLOSE = "<tool_call>", "</tool_call>"
# The form that Hermes, Qwen and many others are trained on: JSON between two marks.
_CALL = re.compile(r"<tool_call>\s*(\{.*?\})\s*(?:</tool_call>|$)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Choice:
    """How the answer may call: `kind` is none, auto, required or named."""

    kind: str
    name: str | None = None


def chosen(tools: list[Tool] | None, wanted: Any) -> Choice:
    """What a request's tools and tool_choice amount to; auto is what OpenAI's clients mean by silence."""
    if not tools or wanted == "none":
        return Choice("none")
    if isinstance(wanted, dict):
        return Choice("named", wanted["function"]["name"])
    return Choice(wanted or "auto")


def constraint(tools: list[Tool], choice: Choice) -> dict[str, Any] | None:
    """The JSON schema that the answer must meet to be a call; None when it may be anything."""
    by_name = {tool.function.name: tool.function for tool in tools}
    if choice.kind == "named" and choice.name is not None:
        return by_name[choice.name].schema_
    if choice.kind != "required":
        return None
    return {
        "anyOf": [
            {
                "type": "object",
                "properties": {
                    "name": {"const": name},
                    "arguments": {"$ref": f"#/$defs/{name}"},
                },
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
            for name in by_name
        ],
        # Each function's own pointers still begin at its own root.
        "$defs": {name: _moved(f.schema_, f"#/$defs/{name}") for name, f in by_name.items()},
    }


def _moved(schema: Any, root: str) -> Any:
    if isinstance(schema, list):
        return [_moved(inner, root) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    out = {name: _moved(inner, root) for name, inner in schema.items()}
    pointer = schema.get("$ref")
    if isinstance(pointer, str) and pointer.startswith("#"):
        out["$ref"] = root + pointer[1:]
    return out


@dataclass(frozen=True, slots=True)
class Call:
    """`arguments`: JSON text, as the model wrote it."""

    name: str
    arguments: str


def calls(text: str, choice: Choice, *, parallel: bool = True) -> tuple[str | None, list[Call]]:
    """The content beside the calls, and the calls. An answer that was cut off before it was one has none."""
    match choice.kind:
        case "named":
            return None, [Call(choice.name or "", text)]
        case "required":
            call = _call(text)
            return (None, [call]) if call is not None else (text, [])
        case "auto":
            found = [call for m in _CALL.finditer(text) if (call := _call(m[1])) is not None]
            if not found:
                return text, []
            before = text[: text.index(OPEN)].strip()
            return before or None, found if parallel else found[:1]
    return text, []


def _call(text: str) -> Call | None:
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(body, dict) or not isinstance(body.get("name"), str):
        return None
    arguments = body.get("arguments", {})
    if not isinstance(arguments, str):
        arguments = orjson.dumps(arguments).decode()
    return Call(body["name"], arguments)


def free(text: str) -> int:
    """How many characters at the start of `text` are surely not part of a call of the auto form."""
    at = text.find(OPEN)
    if at >= 0:
        return at
    for size in range(min(len(OPEN) - 1, len(text)), 0, -1):
        if text.endswith(OPEN[:size]):
            return len(text) - size
    return len(text)


def call_id(job_id: str, index: int, number: int) -> str:
    """The same each time the answer is read, and another for each call."""
    return f"call_{job_id.removeprefix('job_')}{index:02d}{number:02d}"
