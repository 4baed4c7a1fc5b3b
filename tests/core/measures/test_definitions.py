"""Each published formula on a few answers by hand, and what it is where there is nothing to say: undefined."""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pytest

from core.measures import (
    agreement,
    bbq,
    bold,
    calibration,
    counterfactual,
    crows,
    fairness,
    harm,
    intervals,
    likelihood,
    representation,
    stereoset,
    toxicity,
    winobias,
)
from core.measures.metric import Metric
from core.measures.rows import Row

MODULES = (
    agreement, bbq, bold, calibration, counterfactual, crows, fairness, harm, likelihood, representation, stereoset,
    toxicity, winobias,
)  # fmt: skip


def every() -> Iterator[Metric]:
    for module in MODULES:
        yield from module.METRICS
    yield from agreement.CONSISTENCY
    yield from crows.MASKED_METRICS


def figure(
    metric: Metric, counts: Sequence[Mapping[str, float]], clusters: Sequence[str] = ()
) -> float | None:
    rows = [
        Row(f"i{k}", clusters[k] if clusters else f"c{k}", True, one)
        for k, one in enumerate(counts)
    ]
    return intervals.estimate(metric, rows).value


def test_names_are_unique_and_say_their_source() -> None:
    names = [metric.name for metric in every()]
    assert len(names) == len(set(names))
    for metric in every():
        assert all((metric.title, metric.definition, metric.source)), metric.name
        assert metric.definition.endswith("."), metric.name
        if metric.better == "neutral":
            assert metric.neutral is not None, metric.name


@pytest.mark.parametrize("metric", list(every()), ids=lambda metric: metric.name)
def test_what_was_never_counted_is_undefined(metric: Metric) -> None:
    """In one cluster, in many, and in all draws of a bootstrap at once; without a warning."""
    assert figure(metric, [{}]) is None
    assert figure(metric, [{}] * 20) is None


def test_crows_pairs() -> None:
    counts = [
        crows.counts(more=m, less=n) for m, n in ((-10, -12), (-11, -10.5), (-9, -9), (-8, -8.0001))
    ]
    # The tie counts in N and as not preferred, as in the original.
    assert figure(crows.PREFERRED, counts) == 0.5
    assert figure(crows.MASKED, counts) == 0.5
    assert figure(crows.LOG_ODDS, counts) == pytest.approx((2 - 0.5 + 0 + 0.0001) / 4)
    assert figure(crows.DISTANCE, counts) == pytest.approx((2 + 0.5 + 0 + 0.0001) / 4)
    assert sum(one["ties"] for one in counts) == 2


def test_a_preference_that_is_slight_everywhere_saturates_the_share_and_not_the_log_odds() -> None:
    counts = [crows.counts(more=-10.0, less=-10.0 - math.log(0.51 / 0.49))] * 50
    assert figure(crows.PREFERRED, counts) == 1.0
    assert figure(crows.LOG_ODDS, counts) == pytest.approx(0.04, abs=0.001)


def test_stereoset_takes_means_over_terms_and_not_over_examples() -> None:
    scores = [(-1, -2, -3), (-1, -2, -3), (-1, -2, -3), (-2, -1, -3), (-5, -4, -3), (-2, -2, -3)]
    terms = ["nurse", "nurse", "nurse", "chef", "chef", "chef"]
    counts = [stereoset.counts(stereotype=s, anti=a, unrelated=u) for s, a, u in scores]
    # nurse: 3 of 3 stereotype, 6 of 6 meaningful. chef: 0 of 3 (the tie is anti), 4 of 6 meaningful.
    ss, lms = (100 + 0) / 2, (100 + 100 * 4 / 6) / 2
    assert figure(stereoset.SS, counts, terms) == pytest.approx(ss)
    assert figure(stereoset.LMS, counts, terms) == pytest.approx(lms)
    assert figure(stereoset.ICAT, counts, terms) == pytest.approx(lms * min(ss, 100 - ss) / 50)


@pytest.mark.parametrize(
    ("scores", "lms", "ss", "icat"),
    # The paper's own: an ideal model, one that always takes the stereotype.
    [([(-1, -2, -3), (-2, -1, -3)], 100, 50, 100), ([(-1, -2, -3)] * 2, 100, 100, 0)],
)
def test_stereosets_landmarks(
    scores: list[tuple[float, ...]], lms: float, ss: float, icat: float
) -> None:
    counts = [stereoset.counts(stereotype=s, anti=a, unrelated=u) for s, a, u in scores]
    terms = ["one"] * len(scores)
    assert [figure(metric, counts, terms) for metric in stereoset.METRICS] == [lms, ss, icat]


def test_winobias() -> None:
    counts = [winobias.counts(side="pro", correct=c) for c in (True, True, True, False)]
    counts += [winobias.counts(side="anti", correct=c) for c in (True, False, False, False)]
    assert [figure(metric, counts) for metric in winobias.METRICS] == [0.5, 0.75, 0.25]
    assert figure(winobias.GAP, counts[:4]) is None


def test_bold() -> None:
    scores = {"a": [0.1, 0.3], "b": [0.6, 0.6], "c": [0.2, 0.2]}
    counts = [
        bold.counts(group=group, score=score) for group, some in scores.items() for score in some
    ]
    assert figure(bold.GAP, counts) == pytest.approx(0.4)
    assert figure(bold.MEAN, counts) == pytest.approx(2.0 / 6)
    assert figure(bold.VARIANCE, counts) == pytest.approx(float(np.var([0.2, 0.6, 0.2])))
    assert figure(bold.GAP, counts[:2]) is None


def test_representation_of_groups() -> None:
    sizes = {"a": 2, "b": 1, "c": 1}
    counts = [
        representation.counts({"a": 4}, sizes, {"doctor": {"a": 2}}),
        representation.counts({"b": 1}, sizes, {"nurse": {"b": 1, "c": 1}}),
    ]
    # Mentions by word list: 2, 1, 0 of 3: |2/3 - 1/3| + 0 + |0 - 1/3|, halved.
    assert figure(representation.REPRESENTATION, counts) == pytest.approx(1 / 3)
    # doctor: all a: 2/3; nurse: none a: 1/3.
    assert figure(representation.ASSOCIATION, counts) == pytest.approx((2 / 3 + 1 / 3) / 2)
    nobody = [representation.counts({}, sizes)] * 3
    assert figure(representation.REPRESENTATION, nobody) is None
    assert figure(representation.ASSOCIATION, nobody) is None


def test_representation_of_many_groups_has_a_figure_without_an_interval() -> None:
    sizes = {f"g{k}": 1 for k in range(12)}
    rows = [
        Row(f"i{k}", f"c{k}", True, representation.counts({f"g{k % 12}": 1}, sizes))
        for k in range(24)
    ]
    one = intervals.estimate(representation.REPRESENTATION, rows)
    assert one.value == pytest.approx(0.0)


def test_counterfactual_token_fairness() -> None:
    counts = [
        counterfactual.counts(0.2, [0.3, 0.7], [0.25]),
        counterfactual.counts(0.6, [0.4], [0.6]),
    ]
    assert figure(counterfactual.GAP, counts) == pytest.approx(((0.1 + 0.5) / 2 + 0.2) / 2)
    assert figure(counterfactual.SIGNED, counts) == pytest.approx(((0.1 + 0.5) / 2 - 0.2) / 2)
    assert figure(counterfactual.FLIPS, counts) == pytest.approx((0.5 + 1) / 2)
    assert figure(counterfactual.FLOOR, counts) == pytest.approx(0.025)
    assert figure(counterfactual.EXCESS, counts) == pytest.approx(0.25 - 0.025)
    assert counterfactual.counts(0.2, []) == {}
    assert figure(counterfactual.EXCESS, [counterfactual.counts(0.2, [0.3])]) is None


def test_likelihood() -> None:
    counts = [
        likelihood.counts(logprob=-8 * math.log(2), tokens=4, bytes_=16),
        likelihood.counts(logprob=-8 * math.log(2), tokens=12, bytes_=16),
    ]
    assert figure(likelihood.BITS_PER_BYTE, counts) == pytest.approx(0.5)
    assert figure(likelihood.PERPLEXITY, counts) == pytest.approx(2.0)


def test_agreement() -> None:
    assert (
        figure(agreement.ACCURACY, [agreement.counts(correct=c) for c in (True, False, True, True)])
        == 0.75
    )
    counts = [agreement.consistency(["x", "x", "x", "y"]), agreement.consistency(["x", "y"])]
    assert figure(agreement.MODAL, counts) == pytest.approx((0.75 + 0.5) / 2)
    assert figure(agreement.PAIRWISE, counts) == pytest.approx((3 * 2 / (4 * 3) + 0) / 2)
    expected = (-(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25)) + 1) / 2
    assert figure(agreement.ENTROPY, counts) == pytest.approx(expected)
    assert figure(agreement.PAIRWISE, [agreement.consistency(["x"])]) is None
    assert agreement.consistency([]) == {}


def test_calibration() -> None:
    said = [(0.9, True), (0.9, False), (0.6, True), (0.0, False), (1.0, True)]
    counts = [calibration.counts(confidence=c, correct=y) for c, y in said]
    # Bins (a, b]: 0.9 twice with one right; 0.6; 0.0 in the first; 1.0 in the last.
    assert figure(calibration.ECE, counts) == pytest.approx(
        (abs(1.8 - 1) + abs(0.6 - 1) + 0 + 0) / 5
    )
    assert figure(calibration.BRIER, counts) == pytest.approx((0.01 + 0.81 + 0.16) / 5)
    assert figure(calibration.OVERCONFIDENCE, counts) == pytest.approx((3.4 - 3) / 5)


def test_harm_is_never_read_without_refusals() -> None:
    counts = [harm.counts(harmful=True, refused=r) for r in (True, True, False, True)]
    counts += [harm.counts(harmful=False, refused=r) for r in (False, True)]
    assert figure(harm.COMPLIANCE, counts) == 0.25
    assert figure(harm.OVER_REFUSAL, counts) == 0.5
    leaks = harm.rate(
        "leaks.rate", title="Leaks", definition="Share of probes that leaked.", source="ours"
    )
    assert figure(leaks, [harm.tried(hit=True), harm.tried(hit=False)]) == 0.5


def test_toxicity() -> None:
    counts = [toxicity.counts([0.1, 0.9, 0.6]), toxicity.counts([0.2, 0.3])]
    assert [figure(metric, counts) for metric in toxicity.METRICS] == pytest.approx(
        [0.6, 0.5, 1 / 3]
    )
    assert toxicity.counts([]) == {}


def test_fairness_is_that_of_its_definition() -> None:
    rng = np.random.default_rng(0)
    people = [(g, bool(y), bool(d)) for g, y, d in zip(rng.choice(["a", "b", "c"], 300), rng.random(300) < 0.4,
                                                       rng.random(300) < 0.5, strict=True)]  # fmt: skip
    counts = [fairness.counts(group=g, truth=y, decision=d) for g, y, d in people]

    def spread(keep: set[bool]) -> float:
        rates = [np.mean([d for g, y, d in people if g == group and y in keep]) for group in "abc"]
        return float(max(rates) - min(rates))

    yes = [np.mean([d for g, _, d in people if g == group]) for group in "abc"]
    assert figure(fairness.PARITY, counts) == pytest.approx(spread({True, False}))
    assert figure(fairness.PARITY_RATIO, counts) == pytest.approx(float(min(yes) / max(yes)))
    assert figure(fairness.ODDS, counts) == pytest.approx(max(spread({True}), spread({False})))
    assert figure(fairness.OPPORTUNITY, counts) == pytest.approx(spread({True}))
