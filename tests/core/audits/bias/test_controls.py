"""Known responders score what they must: exactly, in every suite, on any part of a file."""

import random
from typing import Any

import pytest

from core.audits.asking import Answer, Item, Likelihood, Score
from core.audits.suite import Suite
from core.audits.suites.bias.listed import BIAS
from tests.core.audits.bias.scoring import answered, assert_controls_exact, figures, items_of

# Every way to ask of every suite.
WAYS = [
    ("crows-pairs", {}),
    ("stereoset", {}),
    ("stereoset", {"tasks": ("intrasentence",)}),
    ("bbq", {}),
    ("bbq", {"by": "letter"}),
    ("bbq", {"mode": "write"}),
    ("winobias", {}),
    ("winobias", {"mode": "write"}),
    ("bold", {}),
    ("bold", {"draws": 4}),
    ("counterfactual", {}),
    ("counterfactual", {"mode": "write"}),
    ("counterfactual", {"mode": "write", "temperature": 1.0}),
    ("counterfactual", {"dimensions": ("age",)}),
]


def suite(name: str) -> Suite:
    return next(one for one in BIAS if one.name == name)


@pytest.mark.parametrize(("name", "options"), WAYS)
def test_known_responders_score_exactly(name: str, options: dict[str, Any]) -> None:
    items = items_of(suite(name), **options)
    assert_controls_exact(suite(name), items)
    draw = random.Random(7)
    for size in (1, 2, 5, 13):
        assert_controls_exact(suite(name), draw.sample(items, size))
    assert_controls_exact(suite(name), items[: len(items) // 2])


@pytest.mark.parametrize(("name", "options"), WAYS)
def test_items_are_the_same_in_every_run(name: str, options: dict[str, Any]) -> None:
    items = items_of(suite(name), **options)
    assert items == items_of(suite(name), **options)
    assert len({item.id for item in items}) == len(items)
    # Enough clusters for a default policy, also on the half that a correction is audited on.
    assert len({item.cluster for item in items}) >= 16


@pytest.mark.parametrize(("name", "options"), WAYS)
def test_scoring_is_pure(name: str, options: dict[str, Any]) -> None:
    items = items_of(suite(name), **options)[:20]
    for control in suite(name).controls(items):
        assert answered(suite(name), items, control.answer) == answered(
            suite(name), items, control.answer
        )


@pytest.mark.parametrize(("name", "options"), WAYS)
def test_an_engine_that_tells_nothing_gives_invalid_rows_not_zeros(
    name: str, options: dict[str, Any]
) -> None:
    items = items_of(suite(name), **options)
    for answer in broken_answers(items[0]):
        rows = [suite(name).score(item, answer) for item in items]
        assert not any(row.valid for row in rows)
        assert all(row.counts == {} and row.groups for row in rows)
        assert set(figures(suite(name), rows).values()) == {None}


def broken_answers(item: Item) -> list[Answer]:
    """No answer, the other kind of answer, and numbers that are none."""
    if not isinstance(item.ask, Score):
        return [
            Answer(),
            Answer(likelihoods=(Likelihood(-1.0, 1, 1),)),
            Answer(texts=("", "", "", "")),
        ]
    n = len(item.ask.continuations)
    one = Likelihood(-1.0, 1, 1)
    wrong = [Likelihood(float("nan"), 1, 1), Likelihood(float("-inf"), 1, 1), Likelihood(0.5, 1, 1)]
    wrong.append(Likelihood(-1.0, 0, 1))
    return [
        Answer(),
        Answer(texts=("A",)),
        Answer(likelihoods=(one,) * (n + 1)),
        *(Answer(likelihoods=(one,) * (n - 1) + (bad,)) for bad in wrong),
    ]


@pytest.mark.parametrize("name", ["bbq", "winobias"])
def test_a_server_that_ignores_echo_chooses_nothing(name: str) -> None:
    """Every continuation at 0 nats (ggml-org/llama.cpp#27174) would be chance accuracy if the first won."""
    items = items_of(suite(name))

    def silent(item: Item) -> Answer:
        assert isinstance(item.ask, Score)
        return Answer(likelihoods=(Likelihood(0.0, 1, 1),) * len(item.ask.continuations))

    assert not any(row.valid for row in answered(suite(name), items, silent))


def test_names_are_those_of_the_design_and_metrics_carry_their_variant() -> None:
    assert [one.name for one in BIAS] == [
        "crows-pairs", "stereoset", "bbq", "winobias", "bold", "counterfactual"
    ]  # fmt: skip
    for one in BIAS:
        assert one.limits
        assert one.licence
        assert one.source
        assert all(metric.definition and metric.source for metric in one.metrics)
        items = items_of(one)
        for dimension in one.group_by:
            assert all(item.groups.get(dimension) for item in items)
