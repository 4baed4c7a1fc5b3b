"""Which of the known forms a file's rows have, and each row in our own form.

Ours are {"messages", "tools"?}, {"prompt", "completion"}, {"text"} and, of preferences, {"messages" | "prompt",
"chosen", "rejected", "tools"?}.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

from workers.data import conversation, pairs
from workers.data.conversation import Row
from workers.data.problems import Wrong

Known = Literal["chat", "completion", "alpaca", "sharegpt", "text", "preference"]

_CHECKS: dict[Known, Callable[[Row, Wrong], Row]] = {
    "chat": conversation.chat,
    "completion": pairs.completion,
    "alpaca": pairs.alpaca,
    "sharegpt": conversation.sharegpt,
    "text": pairs.plain,
    "preference": pairs.preference,
}
# The fields that say which form it is: the first that are all there.
_SIGNS: list[tuple[set[str], Known]] = [
    ({"preferred_output"}, "preference"),
    ({"non_preferred_output"}, "preference"),
    ({"chosen", "rejected"}, "preference"),
    ({"messages"}, "chat"),
    ({"conversations"}, "sharegpt"),
    ({"prompt", "completion"}, "completion"),
    ({"instruction", "output"}, "alpaca"),
    ({"text"}, "text"),
    # One field of two: enough to say which one is missing.
    ({"chosen"}, "preference"),
    ({"rejected"}, "preference"),
    ({"completion"}, "completion"),
    ({"prompt"}, "completion"),
    ({"instruction"}, "alpaca"),
]
_FIELDS: dict[Known, set[str]] = {
    "chat": {"messages", "tools", "functions", "parallel_tool_calls"},
    "completion": {"prompt", "completion", "tools"},
    "alpaca": {"instruction", "input", "output", "system", "history"},
    "sharegpt": {"conversations", "system", "tools"},
    "text": {"text"},
    "preference": {
        "input", "preferred_output", "non_preferred_output", "prompt", "messages", "chosen", "rejected",
        "tools",
    },
}  # fmt: skip
SHAPES = (
    '{"messages": [...]}, {"prompt", "completion"}, {"instruction", "input", "output"}, {"conversations": [...]}, '
    '{"text"}, or {"input", "preferred_output", "non_preferred_output"}'
)


def detected(row: Any) -> Known | None:
    """The form of a row by its fields' names; None when they are those of none."""
    if not isinstance(row, dict):
        return None
    have = {name for name, value in row.items() if value is not None}
    return next((known for signs, known in _SIGNS if signs <= have), None)


def checked(known: Known, value: Any, wrong: Wrong, unread: Counter[str]) -> Row:
    """A row in our own form; what is wrong is told, and then what comes back is of no use."""
    if not isinstance(value, dict):
        wrong("", f"must be a JSON object, such as {SHAPES}")
        return {}
    row = {name: one for name, one in value.items() if one is not None}
    unread.update(set(row) - _FIELDS[known])
    if (other := detected(row)) != known and not (_FIELDS[known] & set(row)):
        wrong(
            "",
            f"is not a row of the form {known!r}"
            + (f" but of {other!r}" if other else f": have {SHAPES}"),
        )
        return {}
    return _CHECKS[known](row, wrong)
