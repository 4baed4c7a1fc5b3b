"""Bounds against published values and scipy's own tests; every law's p-values agree with its bounds."""

import math

import numpy as np
import pytest
from scipy import stats

from core.measures.combined import Largest, Mirrored, Nearer, Wider
from core.measures.laws import Drawn, Exact, Flat, Law, Student
from core.measures.matched import Tango, mcnemar


def some_draws(figures: int = 1) -> np.ndarray:
    rng = np.random.default_rng(4)
    return rng.normal(0.3, 0.05, (2000, figures)) if figures > 1 else rng.normal(0.3, 0.05, 2000)


LAWS: list[Law] = [
    Exact(3, 40),
    Exact(2.6, 31.4),
    Student(0.3, 0.05, 7),
    Drawn(0.3, some_draws(), 25),
    Flat(0.3, 50, 0.0, 1.0),
    Wider(Student(0.3, 0.05, 7), Flat(0.3, 50, 0.0, 1.0)),
    Largest(np.full(4, 0.3), some_draws(4), 25),
    Mirrored(Largest(np.full(4, -0.3), -some_draws(4), 25)),
    Nearer(Student(0.1, 0.05, 20), Student(0.5, 0.05, 20)),
    Tango(9, 3, 100),
    Tango(0, 0, 100),
    Tango(4.2, 1.1, 30.5),
]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: type(law).__name__)
@pytest.mark.parametrize("alpha", [0.2, 0.05, 0.025, 0.01])
def test_a_limit_is_rejected_exactly_where_the_bound_excludes_it(law: Law, alpha: float) -> None:
    upper, lower = law.upper(alpha), law.lower(alpha)
    assert lower < upper
    # A bootstrap has steps: from one draw to the next.
    room = 2e-3
    assert law.p_below(upper + room) < alpha < law.p_below(upper - room)
    assert law.p_above(lower - room) < alpha < law.p_above(lower + room)


@pytest.mark.parametrize(("hits", "trials"), [(0, 100), (1, 30), (17, 40), (25, 25)])
def test_exact_bounds_are_those_of_clopper_and_pearson(hits: int, trials: int) -> None:
    theirs = stats.binomtest(hits, trials).proportion_ci(0.95, "exact")
    law = Exact(hits, trials)
    assert math.isclose(law.lower(0.025), theirs.low, abs_tol=1e-9)
    assert math.isclose(law.upper(0.025), theirs.high, abs_tol=1e-9)


def test_no_hit_in_a_hundred_is_the_rule_of_three() -> None:
    # 1 - 0.05^(1/100): facts/rai.md section 3, "one-sided Clopper-Pearson <= 2.95 %".
    assert round(Exact(0, 100).upper(0.05), 4) == 0.0295
    assert round(Flat(0.0, 100, 0.0, 1.0).upper(0.05), 4) == 0.0295
    assert Flat(0.0, 100, 0.0, 1.0).lower(0.05) == 0.0


def test_what_does_not_vary_in_an_unbounded_figure_bounds_nothing() -> None:
    law = Flat(2.0, 100)
    assert math.isinf(law.upper(0.05))
    assert law.p_below(1e9) == 1.0


@pytest.mark.parametrize(
    ("more", "fewer", "n", "delta"), [(9, 3, 100, 0.02), (0, 0, 50, 0.1), (30, 41, 400, -0.05)]
)
def test_the_paired_score_test_has_the_restricted_likelihood_of_its_definition(
    more: int, fewer: int, n: int, delta: float
) -> None:
    """Tango's closed form against a search for the likeliest share of losing pairs under p_more - p_fewer = delta."""
    share = np.linspace(max(1e-9, -delta + 1e-9), (1 - delta) / 2 - 1e-9, 200_001)
    same = np.maximum(1 - 2 * share - delta, 1e-300)
    likelihood = (
        fewer * np.log(share) + more * np.log(share + delta) + (n - more - fewer) * np.log(same)
    )
    best = share[likelihood.argmax()]
    z = (more - fewer - n * delta) / math.sqrt(n * (2 * best + delta - delta**2))
    assert math.isclose(Tango(more, fewer, n).p_above(delta), float(stats.norm.sf(z)), abs_tol=1e-4)


@pytest.mark.parametrize(("more", "fewer"), [(0, 0), (5, 1), (7, 19)])
def test_mcnemar_is_the_binomial_test_of_pairs_that_differ(more: int, fewer: int) -> None:
    theirs = stats.binomtest(more, more + fewer).pvalue if more + fewer else 1.0
    assert math.isclose(mcnemar(more, fewer), theirs, rel_tol=1e-9)
