"""Each known form of a row: found by its fields, put into our own form, refused field by field."""

from collections import Counter
from typing import Any

import pytest

from tests.workers.data.conftest import Run, chat
from workers.data import parsing
from workers.data.formats import checked, detected

USER = {"role": "user", "content": "Hi"}
BOT = {"role": "assistant", "content": "Hello"}
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
TOOL = {"type": "function", "function": {"name": "look"}}


def of(row: dict[str, Any], known: str = "") -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """A row in our form, and what is wrong with it."""
    wrong: list[tuple[str, str]] = []
    form: Any = known or detected(row)
    made = checked(form, row, lambda field, message: wrong.append((field, message)), Counter())
    return made, wrong


@pytest.mark.parametrize(
    ("row", "known", "ours"),
    [
        ({"messages": [USER, BOT]}, "chat", {"messages": [USER, BOT]}),
        (
            {"messages": [USER, BOT | {"weight": 0, "refusal": None}, USER, BOT | {"weight": 1}]},
            "chat",
            {"messages": [USER, BOT | {"weight": 0}, USER, BOT]},
        ),
        (
            {"messages": [USER | {"content": [{"type": "text", "text": t} for t in "ab"]}, BOT]},
            "chat",
            {"messages": [{"role": "user", "content": "a\nb"}, BOT]},
        ),
        (
            {"messages": [USER, {"role": "assistant", "tool_calls": [CALL]}], "tools": [TOOL]},
            "chat",
            {"messages": [USER, {"role": "assistant", "content": "", "tool_calls": [CALL]}], "tools": [TOOL]},
        ),
        (
            {"messages": [USER, {"role": "assistant", "content": None, "function_call": CALL["function"]}],
             "functions": [TOOL["function"]]},
            "chat",
            {"messages": [USER, {"role": "assistant", "content": "", "tool_calls": [CALL | {"id": "call_0"}]}],
             "tools": [TOOL]},
        ),
        ({"prompt": "2+2=", "completion": "4"}, "completion", {"prompt": "2+2=", "completion": "4"}),
        (
            {"prompt": [USER, BOT, USER], "completion": [BOT]},
            "completion",
            {"messages": [USER, BOT | {"weight": 0}, USER, BOT]},
        ),
        (
            {"instruction": "Add", "input": "2 2", "output": "4"},
            "alpaca",
            {"prompt": "Add\n\n2 2", "completion": "4"},
        ),
        ({"instruction": "Add", "input": "", "output": "4"}, "alpaca", {"prompt": "Add", "completion": "4"}),
        (
            {"instruction": "Hi", "output": "Hello", "system": "Be brief", "history": [["a", "b"]]},
            "alpaca",
            {"messages": [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "a"},
                          {"role": "assistant", "content": "b"}, USER, BOT]},
        ),
        (
            {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"},
                               {"from": "human", "value": "unanswered"}], "id": 3},
            "sharegpt",
            {"messages": [USER, BOT]},
        ),
        ({"text": "Once upon"}, "text", {"text": "Once upon"}),
        (
            {"input": {"messages": [USER], "tools": [TOOL]}, "preferred_output": [BOT],
             "non_preferred_output": [BOT | {"content": "No"}]},
            "preference",
            {"messages": [USER], "chosen": [BOT], "rejected": [BOT | {"content": "No"}], "tools": [TOOL]},
        ),
        (
            {"prompt": "Hi", "chosen": "Hello", "rejected": "No"},
            "preference",
            {"prompt": "Hi", "chosen": "Hello", "rejected": "No"},
        ),
        (
            {"chosen": [USER, BOT], "rejected": [USER, BOT | {"content": "No"}]},
            "preference",
            {"messages": [USER], "chosen": [BOT], "rejected": [BOT | {"content": "No"}]},
        ),
        (
            {"prompt": "Hi", "chosen": [BOT], "rejected": [BOT | {"content": "No"}]},
            "preference",
            {"messages": [USER], "chosen": [BOT], "rejected": [BOT | {"content": "No"}]},
        ),
        (
            {"prompt": [USER], "chosen": "Hello", "rejected": "No"},
            "preference",
            {"messages": [USER], "chosen": [BOT], "rejected": [BOT | {"content": "No"}]},
        ),
    ],
)  # fmt: skip
def test_a_row_of_each_form_is_found_and_put_into_ours(row: Any, known: str, ours: Any) -> None:
    assert detected(row) == known
    made, wrong = of(row)
    assert not wrong
    assert made == ours
    # Ours is read again as what it is: dataset versions hold it.
    assert of(made) == (made, [])


@pytest.mark.parametrize(
    ("row", "field", "says"),
    [
        ({"messages": []}, "messages", "must be a list of messages"),
        ({"messages": "Hi"}, "messages", "must be a list of messages"),
        ({"messages": ["Hi"]}, "messages.0", "must be an object"),
        ({"messages": [{"role": "human", "content": "x"}, BOT]}, "messages.0.role", "must be one of system"),
        ({"messages": [{"content": "x"}, BOT]}, "messages.0.role", "not missing"),
        ({"messages": [{"role": "user"}, BOT]}, "messages.0.content", "must be a string, not missing"),
        ({"messages": [USER | {"content": 5}, BOT]}, "messages.0.content", "must be a string, not 5"),
        ({"messages": [USER | {"content": [{"type": "image_url"}]}, BOT]}, "messages.0.content.0", "only text parts"),
        ({"messages": [USER | {"contents": "x"}, BOT]}, "messages.0.contents", "is not a field of a message"),
        ({"messages": [USER | {"weight": 0}, BOT]}, "messages.0.weight", "assistant's messages only"),
        ({"messages": [USER, BOT | {"weight": 0.5}]}, "messages.1.weight", "must be 0"),
        ({"messages": [USER, BOT | {"weight": True}]}, "messages.1.weight", "must be 0"),
        ({"messages": [USER, BOT | {"weight": 0}]}, "messages", "weight 0 on each"),
        ({"messages": [USER, BOT, USER]}, "messages.2.role", "must be the assistant's"),
        ({"messages": [USER, BOT | {"content": " "}]}, "messages.1.content", "is empty"),
        ({"messages": [USER | {"tool_calls": [CALL]}, BOT]}, "messages.0.tool_calls", "assistant's messages only"),
        ({"messages": [USER, BOT | {"tool_calls": [{"id": "x"}]}]}, "messages.1.tool_calls.0.function", "must be"),
        ({"messages": [USER, BOT], "tools": [{"name": "x"}]}, "tools.0.function.name", "name of a function"),
        ({"messages": [USER, BOT], "tools": "x"}, "tools", "must be a list"),
        ({"messages": [USER | {"content": "a\0b"}, BOT]}, "messages.0.content", "NUL"),
        ({"messages": [USER | {"content": "a\ud800"}, BOT]}, "messages.0.content", "half of a character"),
        ({"prompt": "x"}, "completion", "must be a string, not missing"),
        ({"completion": "x"}, "prompt", "must be a string, not missing"),
        ({"prompt": "x", "completion": ""}, "completion", "is empty"),
        ({"instruction": "x"}, "output", "must be a string, not missing"),
        ({"instruction": " ", "output": "y"}, "instruction", "is empty"),
        ({"instruction": "x", "output": "y", "history": [["a"]]}, "history.0", "must be a pair"),
        ({"conversations": [{"from": "robot", "value": "x"}]}, "conversations.0.from", "must be one of human"),
        ({"conversations": [{"from": "human", "value": "x"}]}, "conversations", "holds no answer"),
        ({"conversations": [{"from": "gpt"}]}, "conversations.0.value", "not missing"),
        ({"text": "  "}, "text", "is empty"),
        ({"text": 3}, "text", "must be a string, not 3"),
        ({"preferred_output": [BOT], "non_preferred_output": [BOT]}, "input", "what both answers answer"),
        ({"input": {"messages": [USER]}, "preferred_output": [BOT]}, "non_preferred_output", "must be a list"),
        ({"input": {"messages": [USER]}, "preferred_output": [USER], "non_preferred_output": [BOT]},
         "preferred_output", "begin and end with the assistant"),
        ({"prompt": "Hi", "chosen": "a", "rejected": "a"}, "rejected", "is the same"),
        ({"chosen": [BOT], "rejected": [BOT | {"content": "No"}]}, "prompt", "is missing"),
        ({"prompt": "Hi", "chosen": "a"}, "rejected", "must be a string, not missing"),
    ],
)  # fmt: skip
def test_a_wrong_row_is_told_by_field(row: Any, field: str, says: str) -> None:
    _, wrong = of(row)
    found = [message for at, message in wrong if at == field]
    assert found, wrong
    assert says in found[0]


def test_a_named_form_is_the_one_that_rows_must_have(run: Run) -> None:
    ran = run([{"text": "x"}], format="chat")
    assert ran.problems == [(1, "", "is not a row of the form 'chat' but of 'text'")]
    ran = run([{"text": "a text", "messages": [USER, BOT]}], format="text")
    assert ran.report["formats"] == {"text": 1}
    assert ran.report["notes"]["fields_not_read"] == {"messages": 1}


def test_the_first_row_decides_what_the_others_must_be(run: Run) -> None:
    ran = run([chat("Hi", "Hello"), {"text": "x"}, chat("Hi", "Ho")])
    assert [(line, message) for line, _, message in ran.problems] == [
        (2, "is not a row of the form 'chat' but of 'text'")
    ]


def test_fields_of_no_form_are_told_with_those_there_are(run: Run) -> None:
    ran = run([{"question": "x", "answer": "y"}])
    ((line, _, message),) = ran.problems
    assert line == 1
    assert "has the fields answer, question" in message
    assert '{"messages": [...]}' in message


def test_a_method_takes_its_own_rows(run: Run) -> None:
    ran = run([chat("Hi", "Hello")], method="dpo")
    assert "method dpo learns from preferences" in ran.problems[0][2]
    ran = run([{"prompt": "Hi", "chosen": "a", "rejected": "b"}], method="supervised")
    assert "train on them with the method dpo" in ran.problems[0][2]


def test_fifty_problems_are_told_and_not_more(run: Run) -> None:
    ran = run([{"messages": []}] * 70)
    assert len(ran.problems) == 50
    assert "train.jsonl line 1: messages must be" in ran.last["message"]
    assert ran.last["message"].endswith("(and 49 more)")
    assert ran.last["param"] == "training_file"


def test_all_wrong_lines_are_told_at_once(run: Run) -> None:
    rows = [chat("Hi", "Hello"), {"messages": []}, chat("Hi", ""), chat("Ho", "Hello", weight=3)]
    assert [(line, field) for line, field, _ in run(rows).problems] == [
        (2, "messages"), (3, "messages.1.content"), (4, "messages.1.weight"),
    ]  # fmt: skip


def test_problems_of_a_validation_file_say_so(run: Run, tmp_path: Any) -> None:
    (tmp_path / "held.jsonl").write_bytes(b'{"messages": []}\n')
    held = {"path": str(tmp_path / "held.jsonl"), "name": "held.jsonl"}
    ran = run([chat("Hi", "Hello")], validation=[held])
    assert ran.last["param"] == "validation_file"
    assert ran.last["problems"][0]["file"] == "held.jsonl"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "'c' is given twice"),
        ('{"a": NaN}', "NaN is no JSON number"),
        ('{"a": 1', "is not JSON"),
        ('{"a": 1} {"a": 2}', "is not JSON: Extra data"),
        ("[" * 100_000, "nests too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "is not JSON we can read"),
    ],
)
def test_what_is_no_json_is_told(text: str, says: str) -> None:
    with pytest.raises(parsing.NotJson, match=says):
        parsing.parsed(text)
