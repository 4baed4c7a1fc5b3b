"""Rows that are conversations: OpenAI's {"messages"} and ShareGPT's {"conversations"}, checked field by field.

What comes out is {"messages": [...], "tools"?: [...]} as core/jobs/messages.py has them, plus `weight` 0 on the
assistant's messages that are not to be learned.
"""

from typing import Any

import orjson

from workers.data.problems import Wrong

Row = dict[str, Any]

ROLES = ("system", "developer", "user", "assistant", "tool")
# What a message may hold and we use; then what clients' exports hold beside it and templates do not read.
_USED = {"role", "content", "name", "weight", "tool_calls", "tool_call_id", "function_call"}
_UNREAD = {"refusal", "audio", "annotations", "id", "reasoning_content", "thinking"}
_SHAPE = 'such as {"role": "user", "content": "..."}'


def chat(row: Row, wrong: Wrong) -> Row:
    made: Row = {"messages": messages(row.get("messages"), "messages", wrong)}
    _ends(made["messages"], "messages", wrong)
    return made | tools(row, wrong)


def messages(value: Any, at: str, wrong: Wrong) -> list[Row]:
    if not isinstance(value, list) or not value:
        wrong(at, f"must be a list of messages {_SHAPE}")
        return []
    return [message(one, f"{at}.{number}", wrong) for number, one in enumerate(value)]


def message(value: Any, at: str, wrong: Wrong) -> Row:
    if not isinstance(value, dict):
        wrong(at, f"must be an object {_SHAPE}")
        return {}
    said = {k: v for k, v in value.items() if v is not None}
    if unknown := sorted(set(said) - _USED - _UNREAD):
        wrong(
            f"{at}.{unknown[0]}",
            f"is not a field of a message; it may have {', '.join(sorted(_USED))}",
        )
    role = "tool" if said.get("role") == "function" else said.get("role")
    if role not in ROLES:
        wrong(f"{at}.role", f"must be one of {', '.join(ROLES)}, not {_short(said.get('role'))}")
        return {}
    made: Row = {"role": role}
    for name in ("name", "tool_call_id"):
        if name in said:
            made[name] = text(said[name], f"{at}.{name}", wrong)
    calls = _calls(said, at, wrong)
    if calls and role != "assistant":
        wrong(f"{at}.tool_calls", "may stand in the assistant's messages only")
    if calls:
        made["tool_calls"] = calls
    made["content"] = _content(said.get("content"), at, wrong, optional=bool(calls))
    _weight(said, made, at, wrong)
    return made


def _content(value: Any, at: str, wrong: Wrong, *, optional: bool) -> str:
    if value is None and optional:
        return ""
    if isinstance(value, list) and value:
        return "\n".join(_part(p, f"{at}.content.{n}", wrong) for n, p in enumerate(value))
    return text(value, f"{at}.content", wrong)


def _part(part: Any, at: str, wrong: Wrong) -> str:
    if not isinstance(part, dict) or part.get("type") != "text":
        kind = part.get("type") if isinstance(part, dict) else part
        wrong(
            at,
            f'is {_short(kind)}; only text parts can be trained on: {{"type": "text", "text": "..."}}',
        )
        return ""
    return text(part.get("text"), f"{at}.text", wrong)


def _weight(said: Row, made: Row, at: str, wrong: Wrong) -> None:
    weight = said.get("weight")
    if weight is not None and made["role"] != "assistant":
        wrong(f"{at}.weight", "may stand in the assistant's messages only; take it out")
    elif weight is not None and (isinstance(weight, bool) or weight not in (0, 1)):
        wrong(f"{at}.weight", f"must be 0 (not learned) or 1 (learned), not {_short(weight)}")
    elif weight == 0:
        made["weight"] = 0
    elif made["role"] == "assistant" and not made["content"].strip() and "tool_calls" not in made:
        wrong(f"{at}.content", "is empty: give what the assistant should say, or weight 0")


def _calls(said: Row, at: str, wrong: Wrong) -> list[Row]:
    calls = said.get("tool_calls")
    at = f"{at}.tool_calls"
    if calls is None and "function_call" in said:  # the old way to say it
        calls, at = [{"function": said["function_call"]}], at.replace("tool_calls", "function_call")
    if calls is None:
        return []
    if not isinstance(calls, list) or not calls:
        wrong(
            at,
            'must be a list such as [{"id", "type": "function", "function": {"name", "arguments"}}]',
        )
        return []
    return [_call(call, number, f"{at}.{number}", wrong) for number, call in enumerate(calls)]


def _call(call: Any, number: int, at: str, wrong: Wrong) -> Row:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        wrong(f"{at}.function", 'must be {"name": "...", "arguments": "{...}"}')
        return {}
    arguments = function.get("arguments", "{}")
    if isinstance(arguments, dict):  # as Hugging Face's sets have it
        arguments = orjson.dumps(arguments).decode()
    arguments = text(arguments, f"{at}.function.arguments", wrong)
    name = text(function["name"], f"{at}.function.name", wrong)
    ident = call.get("id") or f"call_{number}"
    return {
        "id": text(ident, f"{at}.id", wrong),
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def tools(row: Row, wrong: Wrong) -> Row:
    """{"tools": [...]} or nothing; `functions` is the old name for it."""
    given = row.get("tools")
    if given is None and row.get("functions"):
        given = [{"type": "function", "function": one} for one in row["functions"]]
    if not given:
        return {}
    if not isinstance(given, list):
        wrong("tools", 'must be a list such as [{"type": "function", "function": {"name": "..."}}]')
        return {}
    for number, tool in enumerate(given):
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            wrong(f"tools.{number}.function.name", "must be the name of a function")
    return {"tools": given}


def _ends(said: list[Row], at: str, wrong: Wrong) -> None:
    """Something must be learned, and nothing may come after it that answers nothing."""
    if not said or not all(said):
        return
    if said[-1]["role"] != "assistant":
        wrong(
            f"{at}.{len(said) - 1}.role",
            "is the last message and must be the assistant's: it is what is learned",
        )
    elif not any(m["role"] == "assistant" and m.get("weight") != 0 for m in said):
        wrong(at, "has weight 0 on each of the assistant's messages; nothing would be learned")


_SPEAKERS = {
    "human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant", "assistant": "assistant",
    "model": "assistant", "bing": "assistant", "bard": "assistant", "function_call": "assistant",
    "system": "system", "tool": "tool", "observation": "tool", "function_response": "tool",
}  # fmt: skip


def sharegpt(row: Row, wrong: Wrong) -> Row:
    turns = row.get("conversations")
    if not isinstance(turns, list) or not turns:
        wrong(
            "conversations",
            'must be a list such as [{"from": "human", "value": "..."}, {"from": "gpt", ...}]',
        )
        return {}
    said: list[Row] = []
    if row.get("system"):
        said.append({"role": "system", "content": text(row["system"], "system", wrong)})
    for number, turn in enumerate(turns):
        said.append(_turn(turn, f"conversations.{number}", wrong))
    if all(said) and said[-1]["role"] == "user":
        # Many such sets end with a question that nobody answered.
        said.pop()
        if not any(m["role"] == "assistant" for m in said):
            wrong("conversations", 'holds no answer (from "gpt"); nothing would be learned')
    _ends(said, "conversations", wrong)
    return {"messages": said} | tools(row, wrong)


def _turn(turn: Any, at: str, wrong: Wrong) -> Row:
    if not isinstance(turn, dict):
        wrong(at, 'must be an object such as {"from": "human", "value": "..."}')
        return {}
    if "role" in turn:
        return message(turn, at, wrong)
    role = _SPEAKERS.get(turn["from"]) if isinstance(turn.get("from"), str) else None
    if role is None:
        wrong(
            f"{at}.from", f"must be one of {', '.join(_SPEAKERS)}, not {_short(turn.get('from'))}"
        )
        return {}
    made: Row = {"role": role, "content": text(turn.get("value"), f"{at}.value", wrong)}
    _weight(turn, made, at, wrong)
    return made


def text(value: Any, at: str, wrong: Wrong) -> str:
    """A string that can be stored and shown to a tokenizer."""
    if not isinstance(value, str):
        wrong(at, f"must be a string, not {_short(value)}")
        return ""
    if "\0" in value:
        wrong(at, "holds a NUL character; take it out")
    elif not value.isascii() and not _whole(value):
        wrong(at, "holds half of a character (a lone surrogate); write the character whole")
    return value


def _whole(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _short(value: Any) -> str:
    if value is None:
        return "missing"
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:37]}..."
