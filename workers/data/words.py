"""What the rules look at in a row: its texts, and its words."""

import re
from collections.abc import Callable
from typing import Any

from workers.data.conversation import Row

_WORD = re.compile(r"\w+")


def texts(row: Row) -> list[str]:
    """Everything that is said in it."""
    said: list[str] = [row[name] for name in ("prompt", "completion", "text") if name in row]
    said += [m["content"] for m in row.get("messages", ())]
    for name in ("chosen", "rejected"):
        if name in row:
            said += [row[name]] if isinstance(row[name], str) else [m["content"] for m in row[name]]
    return said


def learned(row: Row) -> str:
    """What a model would learn to say from it."""
    for name in ("text", "completion"):
        if name in row:
            return str(row[name])
    if "chosen" in row:
        chosen = row["chosen"]
        return chosen if isinstance(chosen, str) else "\n".join(m["content"] for m in chosen)
    return "\n".join(
        m["content"] for m in row["messages"] if m["role"] == "assistant" and m.get("weight") != 0
    )


def mapped(row: Row, change: Callable[[str], str]) -> Row:
    """The row with each of its texts changed; names, arguments and tools stay."""
    return {name: _changed(name, value, change) for name, value in row.items()}


def _changed(name: str, value: Any, change: Callable[[str], str]) -> Any:
    if name == "tools":
        return value
    if isinstance(value, str):
        return change(value)
    return [message | {"content": change(message["content"])} for message in value]


def words(text: str) -> list[str]:
    """In small letters, without punctuation."""
    return _WORD.findall(text.lower())
