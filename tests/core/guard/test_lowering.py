"""What takes the role: each way in which an enforced guard would keep less, and nothing else."""

from typing import Any

import pytest

from core.guard.lowering import lowered
from core.guard.settings import GuardSettings

JUDGE = {"name": "penstock-lexical@1", "categories": {"hate": 0.5, "violence": 0.5}}
ROUTER = {"examples": ["a", "b"], "contrast": ["c"], "threshold": 0.3}
HELD: dict[str, Any] = {
    "mode": "enforce",
    "actions": {"email": {"action": "stop"}, "ip": {"action": "off"}, "hate": {"action": "mask"}},
    "lexicons": [{"category": "slur", "terms": ["badword", "grue"], "severe": True}],
    "patterns": [{"category": "staff", "pattern": r"EMP-\d{6}"}],
    "classifier": JUDGE,
    "router": ROUTER,
}


def _less(after: dict[str, Any], before: dict[str, Any] | None = None) -> list[str]:
    return lowered(
        GuardSettings.model_validate(HELD if before is None else before),
        GuardSettings.model_validate(after),
    )


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"actions": HELD["actions"] | {"ip": {"action": "mask"}}},
        {"actions": HELD["actions"] | {"violence": {"action": "stop"}}},
        {"actions": HELD["actions"] | {"card": {"action": "rewrite", "text": "(a card)"}}},
        {"lexicons": [{"category": "other", "terms": ["Grue!", "BADWORD", "new"], "severe": True}]},
        {"classifier": JUDGE | {"categories": {"hate": 0.4}}},
        {"classifier": JUDGE | {"budget_ms": 20}},
        {"router": None},
        {"router": ROUTER | {"examples": ["b", "a", "d"], "contrast": [], "threshold": 0.2}},
        {"router": ROUTER | {"model": "another", "digest": "0"}},
        {"monitor": {"group": "team"}},
    ],
)
def test_what_keeps_as_much_takes_no_role(fields: dict[str, Any]) -> None:
    assert _less(HELD | fields) == []


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"mode": "observe"}, "mode"),
        ({"mode": "off"}, "mode"),
        ({"actions": HELD["actions"] | {"email": {"action": "mask"}}}, "actions.email"),
        ({"actions": HELD["actions"] | {"card": {"action": "observe"}}}, "actions.card"),
        ({"actions": HELD["actions"] | {"encoded": {"action": "off"}}}, "actions.encoded"),
        ({"actions": HELD["actions"] | {"hate": {"action": "observe"}}}, "actions.hate"),
        ({"actions": HELD["actions"] | {"unchecked": {"action": "off"}}}, "actions.unchecked"),
        ({"actions": HELD["actions"] | {"slur": {"action": "off"}}}, "lexicons"),
        ({"actions": HELD["actions"] | {"staff": {"action": "observe"}}}, "patterns"),
        ({"lexicons": []}, "lexicons"),
        (
            {"lexicons": [{"category": "slur", "terms": ["badword"], "severe": True}]},
            "'grue' first",
        ),
        ({"lexicons": [{"category": "slur", "terms": ["badword", "grue"]}]}, "lexicons"),
        ({"patterns": []}, "patterns"),
        ({"classifier": None, "router": None}, "classifier"),
        ({"classifier": JUDGE | {"name": "another@1"}}, "classifier"),
        (
            {"classifier": JUDGE | {"categories": {"violence": 0.5}}},
            "classifier.categories.hate",
        ),
        ({"classifier": JUDGE | {"categories": {"hate": 0.6}}}, "classifier.categories.hate"),
        ({"classifier": JUDGE | {"categories": {"hate": None}}}, "classifier.categories.hate"),
        ({"classifier": JUDGE | {"on_failure": "fail_open"}}, "classifier.on_failure"),
        ({"router": ROUTER | {"threshold": 0.4}}, "router"),
        ({"router": ROUTER | {"examples": ["a"]}}, "router"),
        ({"router": ROUTER | {"contrast": ["c", "d"]}}, "router"),
    ],
)
def test_what_keeps_less_is_named(fields: dict[str, Any], named: str) -> None:
    (less,) = _less(HELD | fields)
    assert named in less


def test_a_router_where_there_was_none_spares_the_classifier() -> None:
    assert _less(HELD, HELD | {"router": None}) == ["router"]


@pytest.mark.parametrize("mode", ["off", "observe"])
def test_what_keeps_nothing_is_never_lowered(mode: str) -> None:
    assert _less({"mode": "off"}, HELD | {"mode": mode}) == []


def test_a_classifier_that_only_watches_keeps_nothing() -> None:
    watched = HELD | {"actions": {}}
    assert _less(watched | {"classifier": None, "router": None}, watched) == []
