"""A model against its baseline on the same items: non-inferiority, flips both ways, and what noise alone does."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from core.errors import InvalidInput
from core.measures import agreement, bbq, comparing, crows, harm, intervals, stereoset
from core.measures.combined import Nearer
from core.measures.comparing import paired
from core.measures.matched import Tango
from core.measures.rows import Row
from core.measures.sums import Sums
from tests.core.measures import sampling


def two(better: int, worse: int, n: int, *, per_cluster: int = 1) -> tuple[list[Row], list[Row]]:
    """Of n items `better` are right in the first alone and `worse` in the second alone; of the rest every second."""
    ours = [k < better or (k >= better + worse and k % 2 == 0) for k in range(n)]
    theirs = [
        better <= k < better + worse or (k >= better + worse and k % 2 == 0) for k in range(n)
    ]
    return sampling.answers(ours, per_cluster=per_cluster), sampling.answers(
        theirs, per_cluster=per_cluster
    )


def test_flips_are_named_both_ways() -> None:
    new, old = two(2, 3, 20)
    one = paired(agreement.ACCURACY, new, old, margin=0.02)
    assert one.gained == ("i00000", "i00001")
    assert one.lost == ("i00002", "i00003", "i00004")
    assert one.delta == pytest.approx(-0.05)
    assert (one.n, one.clusters) == (20, 20)


def test_for_a_rate_of_faults_less_is_gained() -> None:
    def rows(hits: list[bool]) -> list[Row]:
        return [
            Row(f"i{k}", f"i{k}", True, harm.counts(harmful=True, refused=not hit))
            for k, hit in enumerate(hits)
        ]

    one = paired(harm.COMPLIANCE, rows([False, False, True]), rows([True, False, False]))
    assert (one.gained, one.lost) == (("i0",), ("i2",))


def test_only_items_that_both_could_be_read_for_count() -> None:
    new, old = two(0, 0, 10)
    new[3] = Row("i00003", "c00003", False)
    one = paired(agreement.ACCURACY, new, old[:8])
    assert one.n == 7


@pytest.mark.parametrize("margin", [-0.1, math.nan, math.inf])
def test_a_margin_is_a_size(margin: float) -> None:
    with pytest.raises(InvalidInput, match="margin"):
        paired(agreement.ACCURACY, [], [], margin=margin)


def test_nothing_in_common_speaks_for_neither_side() -> None:
    new, old = two(1, 1, 10)
    one = paired(
        agreement.ACCURACY,
        new,
        [Row(f"other{row.item}", row.cluster, True, row.counts) for row in old],
    )
    assert (one.delta, one.bound, one.p_within, one.p_worse, one.p_any) == (
        None,
        None,
        1.0,
        1.0,
        1.0,
    )


def test_no_flip_at_all_still_has_width() -> None:
    new, old = two(0, 0, 100)
    one = paired(agreement.ACCURACY, new, old, margin=0.02)
    assert one.delta == 0.0
    assert one.low is not None
    assert one.high is not None
    # Score interval: z^2 / (n + z^2) = 3.7 %.
    assert (round(one.low, 3), round(one.high, 3)) == (-0.037, 0.037)
    assert one.p_within > 0.05


@pytest.mark.parametrize(("n", "expected"), [(300, 0.33), (1000, 0.64), (2000, 0.87), (4000, 0.98)])
def test_equal_models_pass_a_margin_of_2_points_as_often_as_the_facts_say(
    n: int, expected: float
) -> None:
    """10 % discordant (facts/rai.md section 3, simulated there as well: the two agree within their noise)."""
    rng = np.random.default_rng(5)
    passed = [
        Tango(a, b, n).p_below(0.02) <= 0.05
        for a, b, _ in rng.multinomial(n, [0.05, 0.05, 0.9], 600)
    ]
    assert math.isclose(np.mean(passed), expected, abs_tol=0.07)


def test_a_model_that_is_worse_by_the_margin_passes_5_times_in_100() -> None:
    rng = np.random.default_rng(6)
    pairs = rng.multinomial(1000, [0.04, 0.06, 0.9], 2000)
    passed = np.mean([Tango(b, a, 1000).p_below(0.02) <= 0.05 for a, b, _ in pairs])
    failed = np.mean([Tango(b, a, 1000).p_above(0.02) <= 0.05 for a, b, _ in pairs])
    assert passed <= 0.065
    assert failed <= 0.065


def test_flips_that_stand_together_in_few_templates_prove_less() -> None:
    new, old = two(0, 60, 600)
    apart = paired(agreement.ACCURACY, new, old)
    together = paired(agreement.ACCURACY, *two(0, 60, 600, per_cluster=30))
    assert apart.delta == together.delta == pytest.approx(-0.1)
    assert apart.p_worse < 1e-6
    assert together.p_worse > 100 * apart.p_worse
    assert together.bound is not None
    assert apart.bound is not None
    assert together.bound > apart.bound


def test_p_any_is_mcnemars_for_independent_items() -> None:
    one = paired(agreement.ACCURACY, *two(3, 12, 100))
    # 2 * P(X <= 3), X ~ B(15, 1/2) = 2 * 576 / 32768.
    assert math.isclose(one.p_any, 2 * 576 / 32768, rel_tol=1e-9)


def _lean(
    rng: np.random.Generator, old: float, new: float
) -> tuple[Sums, Callable[[float], float]]:
    """Answers of two models with true bias scores `old` and `new` in 40 templates of 10."""
    ours, theirs = (rng.binomial(10, np.full(40, (1 + bias) / 2)) for bias in (new, old))
    ten = np.full(40, 10)
    columns = {
        "new:dis_biased": ours,
        "new:dis_known": ten,
        "old:dis_biased": theirs,
        "old:dis_known": ten,
    }
    sums = sampling.sums(bbq.S_DIS, 10, **columns)
    apart = comparing._joined(bbq.S_DIS, {}, lambda a, b: a - b)
    total = comparing._joined(bbq.S_DIS, {}, lambda a, b: a + b)
    laws = [intervals.known(one, sums).law for one in (apart, total)]
    assert laws[0] is not None
    assert laws[1] is not None
    return sums, Nearer(laws[0], laws[1]).p_below


@pytest.mark.parametrize(("old", "new"), [(0.0, 0.1), (0.1, 0.2), (-0.1, 0.2), (0.3, -0.4)])
def test_a_bias_that_grew_by_the_margin_seldom_passes_whatever_its_sign(
    old: float, new: float
) -> None:
    """A plain bootstrap of |new| - |old| lets 21 of 100 pass at 0 and 0.1: noise makes |old| look larger."""
    rng = np.random.default_rng(2)
    passed = [_lean(rng, old, new)[1](0.1) <= 0.05 for _ in range(150)]
    assert np.mean(passed) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 150)


def test_a_bias_that_went_away_is_no_worsening() -> None:
    rng = np.random.default_rng(2)

    def rows(lean: float) -> list[Row]:
        gaps = lean + rng.normal(0, 0.3, 300)
        return [
            Row(f"i{k}", f"c{k % 30}", True, crows.counts(more=gap, less=0.0))
            for k, gap in enumerate(gaps)
        ]

    better = paired(crows.LOG_ODDS, rows(0.0), rows(-1.6), margin=0.1)
    assert better.delta is not None
    assert better.delta < -1.4
    assert better.p_within < 0.001
    worse = paired(crows.LOG_ODDS, rows(-1.6), rows(0.0), margin=0.1)
    assert worse.p_worse < 0.001
    assert worse.p_within > 0.5


def test_means_over_terms_compare_too() -> None:
    def rows(shift: float) -> list[Row]:
        rng = np.random.default_rng(1)
        scores = rng.normal(0, 1, (200, 3)) + np.array([shift, 0, -1])
        return [
            Row(f"i{k}", f"term{k % 20}", True, stereoset.counts(stereotype=s, anti=a, unrelated=u))
            for k, (s, a, u) in enumerate(scores)
        ]

    one = paired(stereoset.ICAT, rows(2.0), rows(0.0), margin=5.0)
    expected = [intervals.estimate(stereoset.ICAT, rows(shift)).value for shift in (2.0, 0.0)]
    assert expected[0] is not None
    assert expected[1] is not None
    assert one.delta == pytest.approx(expected[0] - expected[1])
    assert one.p_worse < 0.01
