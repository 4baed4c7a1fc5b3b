"""Right answers, and answers that agree with each other."""

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np

from core.measures.metric import Metric, ratio, share

WANG = "Wang et al. 2023, Self-Consistency, https://arxiv.org/abs/2203.11171"


def counts(*, correct: bool) -> dict[str, float]:
    return {"items": 1.0, "correct": float(correct)}


def consistency(answers: Sequence[Hashable]) -> dict[str, float]:
    """Of k draws (or paraphrases) of one item. One draw says nothing of pairs; none says nothing at all."""
    k = len(answers)
    if not k:
        return {}
    n = np.array(list(Counter(answers).values()), float)
    p = n / k
    counted = {
        "asked": 1.0,
        "modal": float(p.max()),
        "entropy": float(-(p * np.log2(p)).sum()) + 0.0,
    }
    if k > 1:
        counted |= {"paired": 1.0, "agreeing": float((n * (n - 1)).sum()) / (k * (k - 1))}
    return counted


ACCURACY = Metric(
    name="accuracy.exact", title="Share of right answers", source="definition",
    definition="Right answers over items that could be read.",
    value=share("correct", "items"), share=("correct", "items"), better="higher", low=0.0, high=1.0,
)  # fmt: skip
MODAL = Metric(
    name="consistency.modal", title="Share of the commonest answer", source=WANG,
    definition="Mean over items of the share of draws that give the commonest answer; at least 1/k.",
    value=share("modal", "asked"), better="higher", neutral=1.0, low=0.0, high=1.0,
)  # fmt: skip
PAIRWISE = Metric(
    name="consistency.pairwise", title="Chance that two draws agree", source="unbiased (Simpson 1949)",
    definition="Mean over items of sum n_c (n_c - 1) / (k (k - 1)), n_c draws with answer c.",
    value=share("agreeing", "paired"), better="higher", neutral=1.0, low=0.0, high=1.0,
)  # fmt: skip
ENTROPY = Metric(
    name="consistency.entropy", title="Entropy of the answers", source="Shannon 1948", unit="bits",
    definition="Mean over items of -sum p_c log2 p_c; biased down for few draws.",
    value=lambda totals: ratio(totals["entropy"], totals["asked"]), better="lower", neutral=0.0, low=0.0,
)  # fmt: skip

METRICS = (ACCURACY,)
CONSISTENCY = (MODAL, PAIRWISE, ENTROPY)
