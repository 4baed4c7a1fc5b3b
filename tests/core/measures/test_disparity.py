"""Groups: a gap is judged by what chance makes of it, and no model without one fails for it."""

import math

import numpy as np
import pytest

from core.measures import agreement, bold, calibration, disparity, fairness, intervals, judging
from core.measures.judging import Limit
from core.measures.metric import Array, Metric
from core.measures.rows import Row
from tests.core.measures import sampling

GROUPS = tuple("abcdefghijkl")


def by_group(rng: np.random.Generator, rates: list[float], n: int) -> list[Row]:
    return [
        Row(
            f"{group}{k}",
            f"{group}{k}",
            True,
            bold.counts(group=group, score=float(hit)),
            {"group": group},
        )
        for group, rate in zip(GROUPS, rates, strict=False)
        for k, hit in enumerate(rng.random(n) < rate)
    ]


def test_twelve_equal_groups_have_a_gap_and_it_is_shown_to_be_chance() -> None:
    """Facts, section 3: at 0.2 and 12 groups of 100 the mean gap is 13 points, with nothing behind it."""
    rng = np.random.default_rng(0)
    gaps, alarms, standing = [], 0, 0
    for seed in range(30):
        one = disparity.disparity(
            bold.MEAN, by_group(rng, [0.2] * 12, 100), "group", seed=seed, permutations=200
        )
        assert one.gap is not None
        assert one.null_95 is not None
        gaps.append(one.gap)
        alarms += one.p_any < 0.05
        standing += any(each.p_rest < 0.05 for each in one.each.values())
    assert math.isclose(np.mean(gaps), 0.13, abs_tol=0.015)
    assert alarms <= 5
    assert standing <= 5


def test_the_group_that_stands_out_is_named() -> None:
    rng = np.random.default_rng(1)
    one = disparity.disparity(bold.MEAN, by_group(rng, [0.2] * 5 + [0.5], 150), "group")
    assert one.p_any < 0.01
    assert one.gap is not None
    assert one.null_95 is not None
    assert one.gap > one.null_95
    assert min(one.each, key=lambda group: one.each[group].p_rest) == "f"
    assert one.each["f"].p_rest < 0.01


def test_groups_within_one_template_are_mixed_within_it_alone() -> None:
    """Templates differ much, groups a little within each: only a comparison within templates sees it."""
    rng = np.random.default_rng(2)
    rows = [
        Row(
            f"{t}{g}",
            f"t{t}",
            True,
            bold.counts(group=g, score=base + (0.05 if g == "b" else 0)),
            {"group": g},
        )
        for t, base in enumerate(rng.uniform(0, 0.9, 40))
        for g in "ab"
    ]
    assert disparity.disparity(bold.MEAN, rows, "group").p_any < 0.01
    apart = [Row(row.item, row.item, True, row.counts, row.groups) for row in rows]
    assert disparity.disparity(bold.MEAN, apart, "group").p_any > 0.2


def test_whole_clusters_change_their_group_where_each_holds_one() -> None:
    """Ten templates a group that all say the same: four hundred rows, but only twenty independent ones."""
    rng = np.random.default_rng(3)
    alarms = 0
    for seed in range(40):
        hits = rng.random(20) < 0.5
        rows = [
            Row(
                f"{t}-{k}",
                f"t{t}",
                True,
                agreement.counts(correct=bool(hit)),
                {"group": "ab"[t % 2]},
            )
            for t, hit in enumerate(hits)
            for k in range(20)
        ]
        one = disparity.disparity(agreement.ACCURACY, rows, "group", seed=seed, permutations=400)
        alarms += one.p_any < 0.05
    assert alarms / 40 <= 0.16


@pytest.mark.parametrize(
    "rows", [[], [Row("a", "a", False, groups={"group": "a"})], sampling.answers([True])]
)
def test_no_groups_no_gap(rows: list[Row]) -> None:
    one = disparity.disparity(agreement.ACCURACY, rows, "group")
    assert (one.gap, one.null_95, one.p_any) == (None, None, 1.0)


def test_a_group_that_could_not_be_read_is_shown_without_a_figure() -> None:
    rows = sampling.answers([True, False] * 20, group=["a", "b"] * 20)
    rows += [Row("x", "x", False, groups={"group": "c"})]
    one = disparity.disparity(agreement.ACCURACY, rows, "group")
    assert one.each["c"].estimate.value is None
    assert one.each["c"].p_rest == 1.0


@pytest.mark.parametrize(
    ("rates", "limit"), [([0.2] * 12, 0.05), ([0.2, 0.25], 0.05), ([0.2] * 11 + [0.3], 0.1)]
)
def test_a_gap_within_its_limit_seldom_fails_and_one_at_its_limit_seldom_passes(
    rates: list[float], limit: float
) -> None:
    rng = np.random.default_rng(4)
    truth = max(rates) - min(rates)
    failed = passed = 0
    for seed in range(40):
        one = judging.judged(bold.GAP, by_group(rng, rates, 100), Limit(max=limit), seed=seed)
        failed += one.p_beyond <= 0.05
        passed += one.p_within <= 0.05
    assert failed <= 6
    if truth >= limit:
        assert passed <= 6


def test_a_large_gap_fails() -> None:
    rng = np.random.default_rng(5)
    one = judging.judged(bold.GAP, by_group(rng, [0.1, 0.1, 0.6], 200), Limit(max=0.1))
    assert one.p_beyond < 0.01
    assert one.estimate.low is not None
    assert one.estimate.low > 0.3


def test_a_perfect_calibration_does_not_fail_for_noise() -> None:
    rng = np.random.default_rng(6)
    failed = covered = 0
    for seed in range(60):
        sure = rng.uniform(0.5, 1, 300)
        rows = [
            Row(
                f"i{k}",
                f"i{k}",
                True,
                calibration.counts(confidence=float(c), correct=bool(rng.random() < c)),
            )
            for k, c in enumerate(sure)
        ]
        one = judging.judged(calibration.ECE, rows, Limit(max=0.01), seed=seed)
        failed += one.p_beyond <= 0.05
        covered += one.estimate.low == 0.0
    assert failed <= 8
    assert covered >= 52


def test_a_figure_that_noise_raises_and_nothing_bounds_has_no_interval() -> None:
    rng = np.random.default_rng(7)
    one = intervals.estimate(bold.VARIANCE, by_group(rng, [0.2, 0.3], 50))
    assert one.value is not None
    assert (one.low, one.high) == (None, None)
    assert (
        judging.judged(bold.VARIANCE, by_group(rng, [0.2, 0.3], 50), Limit(max=0.5)).p_within == 1.0
    )


def test_the_smallest_ratio_has_bounds_on_both_sides() -> None:
    rng = np.random.default_rng(8)
    rows = [
        Row(
            f"{g}{k}",
            f"{g}{k}",
            True,
            fairness.counts(group=g, truth=True, decision=bool(rng.random() < rate)),
        )
        for g, rate in (("a", 0.5), ("b", 0.3))
        for k in range(300)
    ]
    one = intervals.estimate(fairness.PARITY_RATIO, rows)
    assert one.value is not None
    assert one.low is not None
    assert one.high is not None
    assert one.low < 0.6 < one.high <= 1.0
    assert one.low < one.value < one.high


def _metrics_with_sides() -> list[Metric]:
    return [
        bold.GAP,
        fairness.PARITY,
        fairness.ODDS,
        fairness.OPPORTUNITY,
        fairness.PARITY_RATIO,
        calibration.ECE,
    ]


@pytest.mark.parametrize("metric", _metrics_with_sides(), ids=lambda metric: metric.name)
def test_a_figure_is_the_extreme_of_its_sides(metric: Metric) -> None:
    rng = np.random.default_rng(9)
    totals: dict[str, Array] = {}
    for group in ("a", "b", "c"):
        n = 50.0
        pos = float(rng.integers(10, 40))
        totals |= {
            f"texts[{group}]": np.array(n),
            f"score[{group}]": np.array(rng.uniform(0, n)),
            f"people[{group}]": np.array(n),
            f"pos[{group}]": np.array(pos),
            f"neg[{group}]": np.array(n - pos),
            f"pos_yes[{group}]": np.array(rng.uniform(0, pos)),
            f"neg_yes[{group}]": np.array(rng.uniform(0, n - pos)),
        }
        totals[f"yes[{group}]"] = totals[f"pos_yes[{group}]"] + totals[f"neg_yes[{group}]"]
    totals |= {"items": np.array(100.0), "over[01]": np.array(3.0), "over[02]": np.array(-5.0)}
    assert metric.sides is not None
    sides = metric.sides(totals)
    extreme = np.nanmin(sides) if metric.better == "higher" else np.nanmax(sides)
    assert math.isclose(float(metric.value(totals)), float(extreme))
