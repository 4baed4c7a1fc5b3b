"""Decisions about people, by group: demographic parity and equalised odds (Hardt et al. 2016)."""

from itertools import permutations

import numpy as np

from core.measures.metric import Array, Metric, Totals, by_group, differences, largest, ratio

HARDT = "Hardt et al. 2016, Equality of Opportunity, https://arxiv.org/abs/1610.02413"
DWORK = (
    "Dwork et al. 2012, Fairness Through Awareness (statistical parity); EEOC 1978 (four fifths)"
)


def counts(*, group: str, truth: bool, decision: bool) -> dict[str, float]:
    side = "pos" if truth else "neg"
    return {
        f"people[{group}]": 1.0,
        f"yes[{group}]": float(decision),
        f"{side}[{group}]": 1.0,
        f"{side}_yes[{group}]": float(decision),
    }


def _rates(totals: Totals, part: str, whole: str) -> list[Array]:
    return [ratio(totals[f"{part}[{group}]"], n) for group, n in by_group(totals, whole).items()]


def _parity(totals: Totals) -> Array:
    return differences(_rates(totals, "yes", "people"))


def _ratios(totals: Totals) -> Array:
    rates = _rates(totals, "yes", "people")
    if len(rates) < 2:
        return np.full((1, *np.shape(totals["people"])), np.nan)
    return np.stack([ratio(one, other) for one, other in permutations(rates, 2)])


def _opportunity(totals: Totals) -> Array:
    return differences(_rates(totals, "pos_yes", "pos"))


def _odds(totals: Totals) -> Array:
    return np.concatenate(
        [_opportunity(totals), differences(_rates(totals, "neg_yes", "neg"))], axis=0
    )


PARITY = Metric(
    name="fairness.parity_difference", title="Demographic parity difference", source=DWORK,
    definition="Largest minus smallest share of yes of a group.",
    value=lambda totals: largest(_parity(totals)), sides=_parity,
    better="lower", neutral=0.0, low=0.0, high=1.0,
)  # fmt: skip
PARITY_RATIO = Metric(
    name="fairness.parity_ratio", title="Demographic parity ratio", source=DWORK,
    definition="Smallest over largest share of yes of a group (four fifths: 0.8). Undefined when no one gets yes.",
    value=lambda totals: -largest(-_ratios(totals)), sides=_ratios, better="higher", neutral=1.0, low=0.0, high=1.0,
)  # fmt: skip
ODDS = Metric(
    name="fairness.odds_difference", title="Equalised odds difference", source=HARDT,
    definition="The larger of the gaps of true and of false positive rates between groups.",
    value=lambda totals: largest(_odds(totals)), sides=_odds, better="lower", neutral=0.0, low=0.0, high=1.0,
)  # fmt: skip
OPPORTUNITY = Metric(
    name="fairness.opportunity_difference", title="Equal opportunity difference", source=HARDT,
    definition="Largest minus smallest true positive rate of a group.",
    value=lambda totals: largest(_opportunity(totals)), sides=_opportunity,
    better="lower", neutral=0.0, low=0.0, high=1.0,
)  # fmt: skip

METRICS = (PARITY, PARITY_RATIO, ODDS, OPPORTUNITY)
