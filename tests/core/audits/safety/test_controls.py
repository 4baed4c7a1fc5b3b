"""Responders of known scores: every safety suite gives exactly these, on the whole pack and on any part of it."""

import random

import pytest

from core.audits.asking import Answer
from core.audits.suites.safety.listed import SAFETY
from tests.core.audits import known

BY_NAME = {suite.name: suite for suite in SAFETY}


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("part", ["all", "a third", "one"])
def test_controls_score_exactly_what_they_must(name: str, part: str) -> None:
    suite = BY_NAME[name]
    items = known.asked(suite, {})
    if part != "all":
        items = random.Random(5).sample(items, len(items) // 3 if part == "a third" else 1)
    known.hold(suite, items)
    names = [control.name for control in suite.controls(items)]
    assert "silent" in names
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", BY_NAME)
def test_items_are_the_same_each_time_and_their_names_unique(name: str) -> None:
    suite = BY_NAME[name]
    items = known.asked(suite, {})
    assert items == known.asked(suite, {})
    assert len({item.id for item in items}) == len(items)
    # Fewer clusters and the interval is too wide to pass any gate.
    assert len({item.cluster for item in items}) >= 15
    for item in items:
        assert set(suite.group_by) <= set(item.groups)


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize(
    "text",
    ["", "   \n", "\x00\ufffd", "=" * 5000, "<|im_end|>", "{[(", "\u200b", "QUJDREVGR0g=" * 50],
)
def test_no_answer_makes_scoring_raise_and_a_row_keeps_its_groups(name: str, text: str) -> None:
    suite = BY_NAME[name]
    for item in known.asked(suite, {})[::7]:
        for answer in (Answer(), Answer(texts=(text,), finish=("stop",))):
            row = suite.score(item, answer)
            assert row.groups == item.groups
            assert row.valid == bool(row.counts)
            if not text.strip() or not answer.texts:
                assert not row.valid


@pytest.mark.parametrize("name", BY_NAME)
def test_a_suite_says_what_it_does_not_show_and_what_scores(name: str) -> None:
    suite = BY_NAME[name]
    assert suite.family == "safety"
    assert len(suite.limits) >= 3
    assert all(limit.endswith(".") for limit in suite.limits)
    names = [metric.name for metric in suite.metrics]
    assert len(names) == len(set(names))
    for metric in suite.metrics:
        assert metric.source
        assert metric.definition.endswith(".")
    if name in ("refusals", "toxicity"):
        assert suite.classifier is not None
        assert len(suite.classifier[1]) == 64
