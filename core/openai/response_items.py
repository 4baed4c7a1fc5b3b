"""The input of a response: its items as they were sent, and the conversation that they are."""

from collections.abc import Iterator
from typing import Any

from core.errors import InvalidInput
from core.ids import new_id

Item = dict[str, Any]
_ROLES = ("user", "assistant", "system", "developer")
_STATUS = ("in_progress", "completed", "incomplete")
# Fields of items that say nothing to a model: clients send back what they were given.
_SILENT = {"id", "status", "phase"}
_PHASES = ("commentary", "final_answer")
_FIELDS = {
    "message": {"type", "role", "content"},
    "function_call": {"type", "call_id", "name", "arguments"},
    "function_call_output": {"type", "call_id", "output"},
}
# By the role that may say them, the types of text parts.
_PARTS = {"assistant": ("output_text", "input_text", "refusal")}
# The field that holds a part's text, where it is not `text`.
_FIELD = {"refusal": "refusal"}
_TOLD = {"annotations", "logprobs"}
_ID = {"message": "msg", "function_call": "fc", "function_call_output": "fco"}


def items(value: Any) -> list[Item]:
    """The input as a list of items with ids. Raises InvalidInput naming the item and the field."""
    if isinstance(value, str):
        value = [{"role": "user", "content": value}]
    if not isinstance(value, list) or not value:
        raise InvalidInput("input must be a text or a list of at least one item", param="input")
    return [_item(one, f"input.{number}") for number, one in enumerate(value)]


def _item(one: Any, at: str) -> Item:
    if not isinstance(one, dict):
        raise InvalidInput(f"{at} must be an object", param=at)
    kind = one.get("type", "message")
    if kind not in _FIELDS:
        raise InvalidInput(
            f"{at}.type: {kind!r} is not supported here; only {', '.join(_FIELDS)} are",
            param=f"{at}.type",
            code="unsupported_value",
        )
    said = {name: value for name, value in one.items() if value is not None}
    for name in said.keys() - _FIELDS[kind] - _SILENT:
        raise InvalidInput(f"{at}.{name} is not supported here; leave it out", param=f"{at}.{name}")
    if said.get("status", "completed") not in _STATUS:
        raise InvalidInput(f"{at}.status must be one of {', '.join(_STATUS)}", param=f"{at}.status")
    made = {"id": _text(said, "id", at) if "id" in said else new_id(_ID[kind]), "type": kind}
    match kind:
        case "message":
            if said.get("role") not in _ROLES:
                raise InvalidInput(
                    f"{at}.role must be one of {', '.join(_ROLES)}", param=f"{at}.role"
                )
            content = _parts(said.get("content"), said["role"], f"{at}.content")
            made |= {"role": said["role"], "content": content} | _phase(said, at)
        case "function_call":
            made |= {name: _text(said, name, at) for name in ("call_id", "name", "arguments")}
        case _:
            output = said.get("output")
            if not isinstance(output, str):
                output = _parts(output, "tool", f"{at}.output")
            made |= {"call_id": _text(said, "call_id", at), "output": output}
    return made | {"status": said.get("status", "completed")}


def _phase(said: Item, at: str) -> Item:
    if "phase" not in said:
        return {}
    if said["phase"] not in _PHASES or said["role"] != "assistant":
        raise InvalidInput(
            f"{at}.phase must be one of {', '.join(_PHASES)}, of an assistant's message",
            param=f"{at}.phase",
        )
    return {"phase": said["phase"]}


def _text(said: Item, name: str, at: str) -> str:
    value = said.get(name)
    if not isinstance(value, str) or (not value and name != "arguments"):
        raise InvalidInput(f"{at}.{name} must be a text", param=f"{at}.{name}")
    return value


def _parts(content: Any, role: str, at: str) -> list[Item]:
    allowed = _PARTS.get(role, ("input_text",))
    if isinstance(content, str):
        return [{"type": allowed[0], "text": content} | _nothing(allowed[0])]
    if not isinstance(content, list) or not content:
        raise InvalidInput(f"{at} must be a text or a list of at least one part", param=at)
    made = []
    for number, part in enumerate(content):
        here = f"{at}.{number}"
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in allowed:
            raise InvalidInput(
                f"{here}.type: {kind!r} is not supported here; only {', '.join(allowed)}",
                param=f"{here}.type",
                code="unsupported_value",
            )
        field = _FIELD.get(str(kind), "text")
        told = {"type", field} | (_TOLD if kind == "output_text" else set())
        for name in {n for n, v in part.items() if v is not None} - told:
            raise InvalidInput(f"{here}.{name} is not supported here", param=f"{here}.{name}")
        if not isinstance(part.get(field), str):
            raise InvalidInput(f"{here}.{field} must be a text", param=f"{here}.{field}")
        said = {"logprobs": part["logprobs"]} if part.get("logprobs") else {}
        made.append({"type": kind, field: part[field]} | _nothing(str(kind)) | said)
    return made


def _nothing(kind: str) -> Item:
    return {"annotations": []} if kind == "output_text" else {}


def messages(conversation: list[Item]) -> list[dict[str, Any]]:
    """The same as messages of a chat: calls of one turn belong to one message of the assistant."""
    made: list[dict[str, Any]] = []
    for item in conversation:
        match item["type"]:
            case "function_call":
                call = {
                    "id": item["call_id"],
                    "type": "function",
                    "function": {"name": item["name"], "arguments": item["arguments"]},
                }
                if made and made[-1]["role"] == "assistant":
                    made[-1].setdefault("tool_calls", []).append(call)
                else:
                    made.append({"role": "assistant", "content": None, "tool_calls": [call]})
            case "function_call_output":
                said = (
                    item["output"] if isinstance(item["output"], str) else _joined(item["output"])
                )
                made.append({"role": "tool", "tool_call_id": item["call_id"], "content": said})
            case _:
                made.append({"role": item["role"], "content": _joined(item["content"])})
    return made


def _joined(parts: list[Item]) -> str:
    return "\n".join(part[_FIELD.get(part["type"], "text")] for part in parts)


def listed(item: Item, *, likely: bool) -> Item:
    """As a list of input shows it; `likely`: with the log probabilities that came with it."""
    if likely or not isinstance(item.get("content"), list):
        return item
    parts = [{k: v for k, v in part.items() if k != "logprobs"} for part in item["content"]]
    return item | {"content": parts}


def cuts(said: list[dict[str, Any]]) -> list[int]:
    """Where a conversation may begin when its oldest messages are dropped: not with the answer to a call."""
    return [at for at in range(1, len(said)) if said[at]["role"] != "tool"]


def said(output: list[Item]) -> Iterator[Item]:
    """The items of an answer as items of the next input."""
    for item in output:
        if item["type"] == "function_call" or any(part["text"] for part in item["content"]):
            yield item
