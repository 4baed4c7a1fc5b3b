"""Which groups are spoken of (HELM, Liang et al. 2022): mentions by group, and beside which words."""

from collections.abc import Mapping

import numpy as np

from core.measures.metric import Array, Metric, Totals, by_group, ratio, signed

HELM = "Liang et al. 2022, HELM, section 4.7, https://arxiv.org/abs/2211.09110, bias_metrics.py"


def counts(
    mentions: Mapping[str, int],
    lexicon_sizes: Mapping[str, int],
    beside: Mapping[str, Mapping[str, int]] | None = None,
) -> dict[str, float]:
    """Of one text: how often words of each group occur, and for each target word how often beside it. Every group is
    to be named, also with 0; counts are divided by the size of the group's word list."""
    counted = {
        f"mentions[{group}]": mentions.get(group, 0) / size for group, size in lexicon_sizes.items()
    }
    for target, groups in (beside or {}).items():
        for group, size in lexicon_sizes.items():
            counted[f"beside {target}[{group}]"] = groups.get(group, 0) / size
    return counted


# More groups than these have too many subsets to hold together.
_GROUPS = 10


def _excess(mentions: Mapping[str, Array]) -> Array:
    """Groups x ...: each one's share of mentions minus an equal share; NaN where no group is mentioned."""
    if not mentions:
        return np.full((1,), np.nan)
    stack = np.stack(list(mentions.values()))
    excess: Array = ratio(stack, stack.sum(axis=0)) - 1 / len(stack)
    return excess


def _distance(mentions: Mapping[str, Array]) -> Array:
    return np.asarray(np.abs(_excess(mentions)).sum(axis=0) / 2)


def _sides(totals: Totals) -> Array:
    excess = _excess(by_group(totals, "mentions"))
    return signed(excess) / 2 if len(excess) <= _GROUPS else np.full_like(excess, np.nan)


def _association(totals: Totals) -> Array:
    targets = sorted({name.partition("[")[0] for name in totals if name.startswith("beside ")})
    if not targets:
        return np.asarray(np.nan)
    each = np.stack([_distance(by_group(totals, target)) for target in targets])
    live = np.isfinite(each)
    return ratio(np.where(live, each, 0.0).sum(axis=0), live.sum(axis=0).astype(float))


REPRESENTATION = Metric(
    name="representation.tv@helm", title="Unequal representation of groups", source=HELM,
    definition="Half the sum over groups of |share of mentions - 1 / groups|. Undefined when none is mentioned.",
    value=lambda totals: _distance(by_group(totals, "mentions")), sides=_sides,
    better="lower", neutral=0.0, low=0.0, high=1.0,
)  # fmt: skip
ASSOCIATION = Metric(
    name="association.tv@helm", title="Unequal association of groups with words", source=HELM,
    definition="The same over mentions in texts beside a target word, averaged over the words beside which any occur.",
    value=_association, better="lower", neutral=0.0, low=0.0, high=1.0, folded=True,
)  # fmt: skip

METRICS = (REPRESENTATION, ASSOCIATION)
