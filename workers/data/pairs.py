"""Rows that are one question and one answer, one text, or two answers of which one is better."""

from typing import Any

from workers.data.conversation import Row, messages, text, tools
from workers.data.problems import Wrong


def completion(row: Row, wrong: Wrong) -> Row:
    """{"prompt", "completion"}: strings, or lists of messages as TRL has them."""
    if isinstance(row.get("prompt"), list) or isinstance(row.get("completion"), list):
        asked = _unlearned(messages(row.get("prompt"), "prompt", wrong))
        return {"messages": asked + _answer(row.get("completion"), "completion", wrong)} | tools(
            row, wrong
        )
    return {
        "prompt": text(row.get("prompt"), "prompt", wrong),
        "completion": _said(row.get("completion"), "completion", wrong),
    }


def alpaca(row: Row, wrong: Wrong) -> Row:
    """{"instruction", "input"?, "output", "system"?, "history"?: [[question, answer], ...]}."""
    asked = _said(row.get("instruction"), "instruction", wrong)
    if row.get("input"):
        asked += "\n\n" + text(row["input"], "input", wrong)
    output = _said(row.get("output"), "output", wrong)
    before = _before(row, wrong)
    if not before:
        return {"prompt": asked, "completion": output}
    turn = [{"role": "user", "content": asked}, {"role": "assistant", "content": output}]
    return {"messages": before + turn}


def _before(row: Row, wrong: Wrong) -> list[Row]:
    made: list[Row] = []
    if row.get("system"):
        made.append({"role": "system", "content": text(row["system"], "system", wrong)})
    history = row.get("history") or []
    if not isinstance(history, list):
        wrong("history", "must be a list of [question, answer] pairs")
        return made
    for number, pair in enumerate(history):
        if not isinstance(pair, list) or len(pair) != 2:
            wrong(f"history.{number}", "must be a pair: [question, answer]")
            continue
        for role, value in zip(("user", "assistant"), pair, strict=True):
            made.append({"role": role, "content": text(value, f"history.{number}", wrong)})
    return made


def plain(row: Row, wrong: Wrong) -> Row:
    return {"text": _said(row.get("text"), "text", wrong)}


def preference(row: Row, wrong: Wrong) -> Row:
    """OpenAI's {"input", "preferred_output", "non_preferred_output"}, or {"prompt"?, "chosen", "rejected"}; in our
    own form the prompt's messages are `messages`."""
    if "messages" in row:
        row = row | {"prompt": row["messages"]}
    if "preferred_output" in row or "non_preferred_output" in row:
        return _openai(row, wrong)
    chosen, rejected = row.get("chosen"), row.get("rejected")
    if isinstance(chosen, list) or isinstance(rejected, list):
        return _listed(row, wrong)
    made: Row = {
        "prompt": text(row.get("prompt"), "prompt", wrong)
        if not isinstance(row.get("prompt"), list)
        else "",
        "chosen": _said(chosen, "chosen", wrong),
        "rejected": _said(rejected, "rejected", wrong),
    }
    if isinstance(row.get("prompt"), list):
        asked = messages(row["prompt"], "prompt", wrong)
        answers = {n: [{"role": "assistant", "content": made[n]}] for n in ("chosen", "rejected")}
        made = {"messages": asked, **answers}
    return _different(made, "rejected", wrong) | tools(row, wrong)


def _openai(row: Row, wrong: Wrong) -> Row:
    given = row.get("input")
    if not isinstance(given, dict):
        wrong("input", 'must be {"messages": [...]}: what both answers answer')
        given = {}
    made: Row = {
        "messages": messages(given.get("messages"), "input.messages", wrong),
        "chosen": _answer(row.get("preferred_output"), "preferred_output", wrong),
        "rejected": _answer(row.get("non_preferred_output"), "non_preferred_output", wrong),
    }
    return _different(made, "non_preferred_output", wrong) | tools(given, wrong)


def _listed(row: Row, wrong: Wrong) -> Row:
    """Lists of messages; they may begin with the prompt, which is then what both have in common."""
    sides = [messages(row.get(n), n, wrong) for n in ("chosen", "rejected")]
    asked = messages(row["prompt"], "prompt", wrong) if isinstance(row.get("prompt"), list) else []
    if not asked:
        common = 0
        for one, other in zip(*sides, strict=False):
            if one != other:
                break
            common += 1
        asked, sides = sides[0][:common], [side[common:] for side in sides]
        if not asked and isinstance(row.get("prompt"), str):
            asked = [{"role": "user", "content": text(row["prompt"], "prompt", wrong)}]
    if not asked:
        wrong(
            "prompt",
            "is missing, and chosen and rejected do not begin with the same messages; give it",
        )
    for name, side in zip(("chosen", "rejected"), sides, strict=True):
        _assistants(side, name, wrong)
    made = {"messages": asked, "chosen": sides[0], "rejected": sides[1]}
    return _different(made, "rejected", wrong) | tools(row, wrong)


def _different(made: Row, name: str, wrong: Wrong) -> Row:
    if made["chosen"] and made["chosen"] == made["rejected"]:
        wrong(name, "is the same as the preferred answer; take this row out")
    return made


def _answer(value: Any, at: str, wrong: Wrong) -> list[Row]:
    said = messages(value, at, wrong)
    _assistants(said, at, wrong)
    return said


def _assistants(said: list[Row], at: str, wrong: Wrong) -> None:
    if said and all(said) and {said[0]["role"], said[-1]["role"]} != {"assistant"}:
        wrong(at, "must begin and end with the assistant's message")


def _unlearned(said: list[Row]) -> list[Row]:
    return [m | {"weight": 0} if m.get("role") == "assistant" else m for m in said]


def _said(value: Any, at: str, wrong: Wrong) -> str:
    said = text(value, at, wrong)
    if isinstance(value, str) and not said.strip():
        wrong(at, "is empty; give a text or take this row out")
    return said
