"""Known responders for lm-eval's tasks: of each kind of request those whose scores follow without lm-eval's code."""

import math
from collections.abc import Sequence
from typing import Any

from core.audits.asking import Answer, Item, Likelihood, Rolling, Score, Write
from core.audits.suite import Control

NOTHING = Answer()
# Metrics of plain multiple choice for which the right choice alone counts.
_CHOICE = frozenset(("acc", "acc_norm", "acc_bytes"))


def of(items: list[Item], tasks: Sequence[dict[str, Any]]) -> tuple[Control, ...]:
    """`always_gold`, `never_gold` of multiple choice; `bit_a_byte` of rolling texts; `silent` of all."""
    names = [
        f"lm-eval.{task['name']}.{one['key']}"
        for task in tasks
        for one in task["metrics"]
        if one["fold"]
    ]
    right = _plain_choice(items, tasks)
    made = [
        Control(
            name="silent", answer=lambda _: NOTHING, expected=dict.fromkeys(names), valid_rate=0.0
        )
    ]
    if right:
        made += [
            Control(
                name="always_gold",
                answer=lambda item: _picking(item, 0),
                expected=dict.fromkeys(right, 1.0),
            ),
            Control(
                name="never_gold",
                answer=lambda item: _picking(item, 1),
                expected=dict.fromkeys(right, 0.0),
            ),
        ]
    if bits := _rolling(items, tasks):
        made.append(Control(name="bit_a_byte", answer=_bit_a_byte, expected=bits))
    return tuple(made)  # fmt: skip


def _plain_choice(items: list[Item], tasks: Sequence[dict[str, Any]]) -> list[str]:
    """Metrics of tasks of which every item here has a known right choice among its own continuations."""
    return [
        f"lm-eval.{task['name']}.{one['key']}"
        for task in tasks
        for several in [[item for item in items if item.data["task"] == task["name"]]]
        if several and all("gold" in item.data for item in several)
        for one in task["metrics"]
        if one["metric"] in _CHOICE and one["share"] and one["fold"] == "mean"
    ]


def _rolling(items: list[Item], tasks: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    known = {"bits_per_byte": 1.0, "byte_perplexity": 2.0}
    asked = {item.data["task"] for item in items if isinstance(item.ask, Rolling)}
    return {
        f"lm-eval.{task['name']}.{one['key']}": known[one["metric"]]
        for task in tasks
        if task["name"] in asked and task["kind"] == "loglikelihood_rolling"
        for one in task["metrics"]
        if one["metric"] in known and one["filter"] == "none"
    }


def _picking(item: Item, off: int) -> Answer:
    """Sure of the right choice, or of the next; other kinds of question are answered with something that scores."""
    match item.ask:
        case Score(continuations=several):
            k = (item.data.get("gold", 0) + off) % _choices(item)
            return Answer(
                likelihoods=tuple(
                    Likelihood(
                        -0.01 if place == k else -100.0 * max(1, len(one)), 1, len(one.encode())
                    )
                    for place, one in enumerate(several)
                )
            )
        case Write(n=draws):
            return Answer(texts=("",) * draws, finish=("stop",) * draws)
        case Rolling():
            return _bit_a_byte(item)


def _choices(item: Item) -> int:
    """How many of the continuations are choices: for mutual information each stands a second time, without context."""
    assert isinstance(item.ask, Score)
    several = item.ask.continuations
    half = len(several) // 2
    return half if item.ask.contexts and several[:half] == several[half:] else len(several)


def _bit_a_byte(item: Item) -> Answer:
    if not isinstance(item.ask, Rolling):
        return _picking(item, 0)
    size = len(item.ask.text.encode())
    return Answer(likelihoods=(Likelihood(-size * math.log(2), max(1, size), size),))
