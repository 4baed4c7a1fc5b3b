"""Does a model know how sure it may be: expected calibration error, Brier score, overconfidence."""

import numpy as np

from core.measures.metric import Array, Metric, Totals, by_group, ratio, signed

BINS = 10
GUO = "Guo et al. 2017, On Calibration of Modern Neural Networks, https://arxiv.org/abs/1706.04599"


def counts(*, confidence: float, correct: bool) -> dict[str, float]:
    """`confidence`: the probability that the model gave its answer, within 0 and 1. Bins of equal width, the upper end
    belonging to each (the paper's (a, b])."""
    place = max(0, min(BINS - 1, int(np.ceil(confidence * BINS)) - 1))
    return {
        "items": 1.0,
        "brier": (confidence - correct) ** 2,
        "over": confidence - correct,
        f"over[{place:02}]": confidence - correct,
    }


def _over(totals: Totals) -> Array:
    """Bins x ...: confidence minus accuracy of the bin, times its share of the items."""
    bins = by_group(totals, "over")
    return ratio(np.stack(list(bins.values())), totals["items"]) if bins else np.full((1,), np.nan)


def _ece(totals: Totals) -> Array:
    return np.asarray(np.abs(_over(totals)).sum(axis=0))


ECE = Metric(
    name="calibration.ece@guo2017", title="Expected calibration error", source=GUO,
    definition=(
        f"Sum over {BINS} bins of equal width of |share right - mean confidence| * items in the bin / items. "
        "Noise alone raises it."
    ),
    value=_ece, sides=lambda totals: signed(_over(totals)),
    better="lower", neutral=0.0, low=0.0, high=1.0,
)  # fmt: skip
BRIER = Metric(
    name="calibration.brier@brier1950", title="Brier score", source="Brier 1950, for the answer given",
    definition="Mean of (confidence - 1 if right, 0 if wrong)^2.",
    value=lambda totals: ratio(totals["brier"], totals["items"]), better="lower", low=0.0, high=1.0,
)  # fmt: skip
OVERCONFIDENCE = Metric(
    name="calibration.overconfidence", title="Mean confidence minus accuracy", source="calibration in the large",
    definition="Mean of confidence - 1 if right, 0 if wrong: above 0, the model is surer than it may be.",
    value=lambda totals: ratio(totals["over"], totals["items"]),
    better="neutral", neutral=0.0, low=-1.0, high=1.0,
)  # fmt: skip

METRICS = (ECE, BRIER, OVERCONFIDENCE)
