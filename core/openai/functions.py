"""`functions` and `function_call`, as tools were called before: taken as tools, answered under their old names."""

from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

_NAMED: dict[str, Any] = {
    "type": "object", "required": ["name"], "additionalProperties": False,
    "properties": {"name": {"type": "string"}},
}  # fmt: skip


def _choice(value: Any) -> Any:
    match value:
        case None | "none" | "auto":
            return value
        case {"name": str()} if len(value) == 1:
            return value
    raise ValueError('must be "none", "auto" or {"name": "..."}')


FunctionCall = Annotated[
    str | dict[str, Any] | None,
    BeforeValidator(_choice),
    WithJsonSchema({"anyOf": [{"enum": ["none", "auto", None]}, _NAMED]}),
]


def tool_choice(call: str | dict[str, Any] | None) -> Any:
    return {"type": "function", "function": call} if isinstance(call, dict) else call


def as_tools(message: dict[str, Any]) -> dict[str, Any]:
    """A message of the old kind as one of the new; others as they are."""
    match message:
        case {"role": "function", "name": str(name), "content": content}:
            return {"role": "tool", "tool_call_id": f"call_{name}", "content": content}
        case {"role": "assistant", "function_call": {"name": str(name)} as called}:
            rest = {k: v for k, v in message.items() if k != "function_call"}
            call = {"id": f"call_{name}", "type": "function", "function": called}
            return {"content": None} | rest | {"tool_calls": [call]}
    return message


def calls(told: list[dict[str, Any]], *, old: bool) -> dict[str, Any]:
    """The calls of an answer, or of a delta, as its request's names for them have it."""
    return {"function_call": told[0]["function"]} if old else {"tool_calls": told}


def finish(reason: str, *, old: bool) -> str:
    return "function_call" if old and reason == "tool_calls" else reason
