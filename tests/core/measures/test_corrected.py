"""A detector's errors are taken off its rate, with what is not known of them."""

import math

import numpy as np
import pytest

from core.measures import harm, judging
from core.measures.corrected import Detected, Labelled, corrected, rogan_gladen
from core.measures.intervals import estimate
from core.measures.judging import Limit
from core.measures.rows import Row


@pytest.mark.parametrize(
    ("n", "rate", "sensitivity", "specificity", "labelled"),
    [
        (300, 0.05, 0.9, 0.95, (100, 200)),
        (300, 0.0, 0.9, 0.95, (100, 200)),
        (500, 0.3, 0.8, 0.9, (60, 60)),
    ],
)
def test_the_interval_holds_the_true_rate(
    n: int, rate: float, sensitivity: float, specificity: float, labelled: tuple[int, int]
) -> None:
    rng = np.random.default_rng(0)
    seen = rate * sensitivity + (1 - rate) * (1 - specificity)
    covered = 0
    for _ in range(800):
        one = rogan_gladen(
            rng.binomial(n, seen), n,
            sensitivity=Labelled(rng.binomial(labelled[0], sensitivity), labelled[0]),
            specificity=Labelled(rng.binomial(labelled[1], specificity), labelled[1]),
        )  # fmt: skip
        assert one.low is not None
        assert one.high is not None
        covered += one.low <= rate <= one.high
    assert covered / 800 >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 800)


def test_false_alarms_alone_are_no_finding() -> None:
    """5 % seen by a detector that cries wolf in 5 %: nothing there. Uncorrected it would be 5 % [3, 8]."""
    one = rogan_gladen(20, 400, sensitivity=Labelled(90, 100), specificity=Labelled(190, 200))
    assert one.value == 0.0
    assert one.low == 0.0
    assert one.high is not None
    assert 0.0 < one.high < 0.06


def test_a_perfect_detector_needs_no_correction_but_is_not_known_to_be_perfect() -> None:
    one = rogan_gladen(30, 300, sensitivity=Labelled(50, 50), specificity=Labelled(50, 50))
    assert one.value == pytest.approx(0.1)
    assert one.low is not None
    assert one.high is not None
    assert one.high - one.low > 0.07


@pytest.mark.parametrize(
    ("sensitivity", "specificity", "n"),
    [
        (Labelled(50, 100), Labelled(50, 100), 10),
        (Labelled(0, 0), Labelled(9, 10), 10),
        (Labelled(9, 10), Labelled(9, 10), 0),
    ],
)
def test_a_detector_no_better_than_chance_says_nothing(
    sensitivity: Labelled, specificity: Labelled, n: int
) -> None:
    one = rogan_gladen(n // 2, n, sensitivity=sensitivity, specificity=specificity)
    assert (one.value, one.low, one.high) == (None, None, None)


def test_clustered_items_widen_it() -> None:
    se, sp = Labelled(900, 1000), Labelled(950, 1000)
    plain, wide = (
        rogan_gladen(60, 300, sensitivity=se, specificity=sp, design_effect=effect)
        for effect in (1.0, 8.0)
    )
    assert plain.value == wide.value
    assert plain.high is not None
    assert wide.high is not None
    assert wide.high > plain.high


def requests(complied: int, n: int) -> list[Row]:
    return [
        Row(
            str(number), str(number), valid=True,
            counts=harm.counts(harmful=True, refused=number >= complied), groups={"request": "harmful"},
        )
        for number in range(n)
    ]  # fmt: skip


def test_a_corrected_metric_has_the_interval_of_rogan_and_gladen() -> None:
    se, sp = Labelled(72, 78), Labelled(38, 50)
    metric = corrected(harm.COMPLIANCE, se, sp)
    assert metric.name == "harm.compliance@corrected"
    found = estimate(metric, requests(40, 100))
    known = rogan_gladen(40, 100, sensitivity=se, specificity=sp)
    assert (found.value, found.low, found.high) == pytest.approx(
        (known.value, known.low, known.high)
    )
    assert found.method == known.method
    # 24 % of refusals are taken for help: 40 seen are about 23 that helped.
    assert found.value == pytest.approx((0.40 + 0.76 - 1) / (72 / 78 + 0.76 - 1))


def test_false_alarms_of_the_detector_do_not_pass_for_certainty() -> None:
    metric = corrected(harm.COMPLIANCE, Labelled(72, 78), Labelled(38, 50))
    found = estimate(metric, requests(0, 100))
    assert found.value == found.low == 0
    assert found.high is not None
    assert found.high > 0
    undefined = corrected(harm.COMPLIANCE, Labelled(5, 10), Labelled(5, 10))
    assert estimate(undefined, requests(3, 100)).value is None
    assert judging.judged(undefined, requests(3, 100), Limit(max=0.5)).bound is None


@pytest.mark.parametrize("seen", [0.0, 0.1, 0.4, 1.0])
@pytest.mark.parametrize("trials", [12.0, 400.0])
def test_its_bounds_and_p_values_agree(seen: float, trials: float) -> None:
    law = Detected(seen, trials, Labelled(72, 78), Labelled(38, 50))
    for alpha in (0.001, 0.01, 0.025, 0.05, 0.2):
        for x in (0.01, 0.05, 0.2, 0.5, 0.9):
            assert (law.upper(alpha) < x) == (law.p_below(x) < alpha)
            assert (law.lower(alpha) > x) == (law.p_above(x) < alpha)
