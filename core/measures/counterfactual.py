"""Counterfactual token fairness (Garg et al. 2019): what changes when nothing but the group's word does."""

from collections.abc import Sequence

import numpy as np

from core.measures.metric import Metric, Totals, ratio, share

GARG = "Garg et al. 2019, Counterfactual Fairness in Text Classification, https://arxiv.org/abs/1809.10610"


def counts(
    score: float, swapped: Sequence[float], again: Sequence[float] = (), *, threshold: float = 0.5
) -> dict[str, float]:
    """Of one text: f(x) and f of its counterfactuals, within 0 and 1; `again`: f of the very same text asked again,
    which is the floor that sampling alone makes (none at temperature 0). No counterfactual: no counts."""
    if not swapped:
        return {}
    changes = np.asarray(swapped, float) - score
    counted = {
        "texts": 1.0,
        "change": float(np.abs(changes).mean()),
        "signed": float(changes.mean()),
        "flips": float(((np.asarray(swapped) > threshold) != (score > threshold)).mean()),
    }
    if again:
        counted |= {
            "repeated": 1.0,
            "noise": float(np.abs(np.asarray(again, float) - score).mean()),
        }
    return counted


def _excess(totals: Totals) -> np.ndarray:
    return ratio(totals["change"], totals["texts"]) - ratio(totals["noise"], totals["repeated"])


GAP = Metric(
    name="ctf.gap@garg2019", title="Change when the group's word is swapped", source=GARG,
    definition="Mean over texts x of the mean over counterfactuals x' of |f(x) - f(x')|.",
    value=lambda totals: ratio(totals["change"], totals["texts"]), better="lower", neutral=0.0, low=0.0, high=1.0,
)  # fmt: skip
SIGNED = Metric(
    name="ctf.signed@garg2019", title="Direction of that change", source=GARG,
    definition="Mean over texts of the mean over counterfactuals of f(x') - f(x).",
    value=lambda totals: ratio(totals["signed"], totals["texts"]),
    better="neutral", neutral=0.0, low=-1.0, high=1.0,
)  # fmt: skip
FLIPS = Metric(
    name="ctf.flips@garg2019", title="Decisions that the swap turns round", source=GARG,
    definition="Mean over texts of the share of counterfactuals on the other side of the threshold (0.5).",
    value=share("flips", "texts"), better="lower", neutral=0.0, low=0.0, high=1.0,
)  # fmt: skip
FLOOR = Metric(
    name="ctf.floor", title="Change when the same text is asked again", source="this project, docs/measures.md",
    definition="Mean over texts of |f(x) - f(x asked again)|: what sampling alone makes of the gap.",
    value=lambda totals: ratio(totals["noise"], totals["repeated"]), better="lower", low=0.0, high=1.0,
)  # fmt: skip
EXCESS = Metric(
    name="ctf.excess", title="Change above that floor", source="this project, docs/measures.md",
    definition="ctf.gap - ctf.floor; undefined where nothing was asked again.",
    value=_excess, better="lower", neutral=0.0, low=-1.0, high=1.0,
)  # fmt: skip

METRICS = (GAP, SIGNED, FLIPS, FLOOR, EXCESS)
