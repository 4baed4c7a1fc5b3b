"""Intervals hold the truth as often as they say: by clusters, with few of them, at zero hits, with no variation."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from core.measures import agreement, bbq, bold, crows, intervals, judging, likelihood, stereoset
from core.measures.judging import Limit
from core.measures.metric import Metric
from core.measures.rows import Row
from core.measures.sums import Sums, gathered
from tests.core.measures import sampling

RUNS = 300
# Three standard errors of a share of 0.95 in so many runs.
SLACK = 3 * math.sqrt(0.95 * 0.05 / RUNS)


def covered(metric: Metric, samples: list[Sums], truth: float) -> float:
    hits = 0
    for seed, sums in enumerate(samples):
        law = intervals.known(metric, sums, seed=seed).law
        assert law is not None
        hits += law.lower(0.025) <= truth <= law.upper(0.025)
    return hits / len(samples)


@pytest.mark.parametrize("clusters", [5, 8, 25, 100])
@pytest.mark.parametrize(
    ("rate", "correlation"), [(0.3, 0.0), (0.3, 0.1), (0.05, 0.1), (0.01, 0.2)]
)
def test_a_share_of_clustered_items(clusters: int, rate: float, correlation: float) -> None:
    rng = np.random.default_rng(clusters)
    samples = [
        sampling.sums(
            agreement.ACCURACY,
            20,
            items=np.full(clusters, 20),
            correct=sampling.clusters_of_shares(rng, clusters, 20, rate, correlation),
        )
        for _ in range(RUNS)
    ]
    assert covered(agreement.ACCURACY, samples, rate) >= 0.95 - SLACK


@pytest.mark.parametrize("clusters", [4, 8, 14, 15, 25, 60])
def test_a_mean_over_clusters_that_differ(clusters: int) -> None:
    rng = np.random.default_rng(clusters)
    samples = [
        sampling.sums(
            crows.LOG_ODDS,
            10,
            pairs=np.full(clusters, 10),
            gap=10 * (0.3 + rng.normal(0, 1, clusters)) + rng.normal(0, 10**0.5, clusters),
        )
        for _ in range(RUNS)
    ]
    assert covered(crows.LOG_ODDS, samples, 0.3) >= 0.95 - SLACK


@pytest.mark.parametrize("clusters", [8, 15, 25])
def test_a_bias_score_that_is_a_product_of_ratios(clusters: int) -> None:
    rng = np.random.default_rng(clusters)
    samples = []
    for _ in range(RUNS):
        named = rng.binomial(20, rng.beta(3, 3, clusters))
        samples.append(
            sampling.sums(
                bbq.S_AMB,
                20,
                amb=np.full(clusters, 20),
                amb_correct=20 - named,
                amb_known=named,
                amb_biased=rng.binomial(named, rng.beta(6, 4, clusters)),
            )
        )
    # Half of the answers name someone, 6 of 10 of these the stereotype.
    assert covered(bbq.S_AMB, samples, 0.5 * (2 * 0.6 - 1)) >= 0.95 - SLACK


UNEVEN = {
    "one holds two thirds": np.array([300] + [4] * 40),
    "one holds a third": np.array([100] + [5] * 40),
    "each half as large as the one before": np.maximum(1, 200 // np.arange(1, 41)),
}


@pytest.mark.parametrize("sizes", UNEVEN.values(), ids=UNEVEN)
@pytest.mark.parametrize("rate", [0.05, 0.3])
def test_a_share_of_templates_of_very_different_size(sizes: NDArray[np.int64], rate: float) -> None:
    """The mean follows the largest: taken for one of 41, its interval holds the truth 61 times in 100."""
    rng = np.random.default_rng(5)
    scale = (1 - 0.1) / 0.1
    n = int(sizes.sum())
    samples = []
    for _ in range(RUNS):
        hits = rng.binomial(sizes, rng.beta(rate * scale, (1 - rate) * scale, len(sizes)))
        table = np.stack([hits, sizes], axis=1).astype(float)
        samples.append(Sums(("correct", "items"), table, sizes.astype(float), None, n, n))
    assert covered(agreement.ACCURACY, samples, rate) >= 0.95 - SLACK


def test_the_naive_interval_would_not_have_done() -> None:
    """The same clustered shares, taken for independent: what the design effect is there for."""
    rng = np.random.default_rng(1)
    hits = [int(sampling.clusters_of_shares(rng, 25, 40, 0.3, 0.1).sum()) for _ in range(RUNS)]
    covers = 0
    for hit in hits:
        one = intervals.estimate(agreement.ACCURACY, sampling.answers(np.arange(1000) < hit))
        assert one.low is not None
        assert one.high is not None
        covers += one.low <= 0.3 <= one.high
    assert covers / RUNS < 0.75


@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("per_cluster", [1, 20])
def test_no_hit_or_nothing_but_hits_never_gives_an_interval_of_no_width(
    right: bool, per_cluster: int
) -> None:
    one = intervals.estimate(
        agreement.ACCURACY, sampling.answers([right] * 200, per_cluster=per_cluster)
    )
    assert one.low is not None
    assert one.high is not None
    assert one.value == float(right)
    # Clopper-Pearson, two-sided: 1 - 0.025^(1/200) = 1.83 %; more where items stand together.
    assert one.high - one.low >= 0.0182
    assert (one.high - one.low > 0.04) == (per_cluster > 1)


def test_a_composite_figure_that_never_varies_has_width_too() -> None:
    """Always "unknown" scores exactly 0 with no spread between draws: ten such answers prove little."""
    unknown = bbq.counts(
        context="ambig",
        polarity="neg",
        correct=True,
        unknown=True,
        stereotyped=False,
        right_is_stereotyped=None,
    )
    rows = [Row(f"i{k}", f"c{k}", True, unknown, {"context": "ambig"}) for k in range(10)]
    one = intervals.estimate(bbq.S_AMB, rows)
    assert one.value == 0.0
    assert one.low is not None
    assert one.high is not None
    assert one.low < -0.2
    assert one.high > 0.2
    assert "rule of three" in one.method


def test_a_figure_carried_by_two_clusters_is_not_surer_than_one_carried_by_none() -> None:
    def row(k: int, biased: bool) -> Row:
        counts = bbq.counts(
            context="ambig",
            polarity="neg",
            correct=not biased,
            unknown=not biased,
            stereotyped=biased,
            right_is_stereotyped=None,
        )
        return Row(f"i{k}", f"c{k}", True, counts)

    none = intervals.estimate(bbq.S_AMB, [row(k, False) for k in range(40)])
    two = intervals.estimate(bbq.S_AMB, [row(k, k < 2) for k in range(40)])
    assert none.high is not None
    assert two.high is not None
    assert two.high >= none.high


@pytest.mark.parametrize("metric", [agreement.ACCURACY, bbq.S_AMB, crows.LOG_ODDS, stereoset.ICAT])
def test_of_nothing_nothing_is_known(metric: Metric) -> None:
    for rows in ([], [Row("a", "a", False), Row("b", "b", False)]):
        one = intervals.estimate(metric, rows)
        assert (one.value, one.low, one.high, one.detectable) == (None, None, None, None)
        assert (one.n, one.valid) == (len(rows), 0)
        assert one.method == "undefined"


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("metric", [bold.GAP, bold.MEAN, likelihood.BITS_PER_BYTE])
def test_one_count_that_is_no_number_leaves_the_figure_undefined(
    metric: Metric, odd: float
) -> None:
    """A largest difference would go on without that group; what is undefined never passes."""

    def counts(k: int) -> dict[str, float]:
        score = odd if k == 7 else 0.1
        told = bold.counts(group=f"g{k % 3}", score=score)
        return told | likelihood.counts(logprob=-score, tokens=1, bytes_=1)

    rows = [Row(f"i{k}", f"c{k}", True, counts(k)) for k in range(60)]
    found = judging.judged(metric, rows, Limit(max=1000.0))
    assert (found.estimate.value, found.bound, found.p_within, found.p_beyond) == (
        None,
        None,
        1.0,
        1.0,
    )


def test_one_cluster_says_next_to_nothing() -> None:
    rows = sampling.answers([True, False] * 100, per_cluster=200)
    one = intervals.estimate(agreement.ACCURACY, rows)
    assert one.clusters == 1
    assert one.low is not None
    assert one.high is not None
    assert one.high - one.low > 0.9


def test_invalid_rows_lower_the_valid_rate_and_nothing_else() -> None:
    rows = sampling.answers([True, False] * 50)
    bad = [Row(f"x{k}", f"x{k}", False) for k in range(25)]
    one, other = (intervals.estimate(agreement.ACCURACY, some) for some in (rows, rows + bad))
    assert (one.value, one.low, one.high) == (other.value, other.low, other.high)
    assert other.valid_rate == 0.8


def test_a_metric_of_one_context_counts_its_own_rows_invalid_ones_too() -> None:
    def row(k: int, context: str, valid: bool) -> Row:
        return Row(
            f"{context}{k}",
            f"c{k}",
            valid,
            {"amb": 1.0, "amb_correct": 1.0} if valid else {},
            {"context": context},
        )

    rows = [row(k, context, k > 1) for k in range(10) for context in ("ambig", "disambig")]
    one = intervals.estimate(bbq.ACC_AMB, rows)
    assert (one.n, one.valid, one.clusters) == (10, 8, 8)


def test_the_same_seed_draws_the_same_interval() -> None:
    rng = np.random.default_rng(0)
    rows = [
        Row(f"i{k}", f"c{k % 30}", True, crows.counts(more=x, less=0.0))
        for k, x in enumerate(rng.normal(size=300))
    ]
    first, second, other = (
        intervals.estimate(crows.LOG_ODDS, rows, seed=seed) for seed in (3, 3, 4)
    )
    assert first == second
    assert first != other
    assert other.low is not None
    assert first.low is not None
    assert math.isclose(first.low, other.low, abs_tol=0.02)


def test_sums_are_those_of_a_loop_over_rows() -> None:
    rng = np.random.default_rng(0)
    rows = [
        Row(
            f"i{k}",
            f"c{rng.integers(7)}",
            bool(rng.random() < 0.9),
            {"a": float(k), f"only{k % 3}": 1.0},
        )
        for k in range(50)
    ]
    sums = gathered(agreement.ACCURACY, rows)
    totals = sums.totals()
    assert float(totals["a"]) == sum(row.counts["a"] for row in rows if row.valid)
    assert float(totals["only1"]) == sum(row.counts.get("only1", 0) for row in rows if row.valid)
    assert float(totals["nobody counted this"]) == 0.0
    assert sums.clusters == len({row.cluster for row in rows if row.valid})
