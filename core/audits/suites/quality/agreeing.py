"""Agreement of answers to one question put in several ways: of rows that share a cluster, from what each says."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

from core.measures.metric import Metric, share
from core.measures.rows import Row

# The count under which a row keeps what was answered, as a number that stands for the words.
SAID = "said"


def number(words: str) -> float:
    """48 bits of a digest: exact as a float; two answers share one by chance once in 280 million million pairs."""
    return float(int.from_bytes(hashlib.sha256(words.encode()).digest()[:6]))


def _columns(rows: Sequence[Row]) -> Mapping[str, float]:
    told = Counter(row.counts[SAID] for row in rows)
    k = sum(told.values())
    if k < 2:
        return {}
    return {
        "questions": 1.0,
        "agreeing": sum(n * (n - 1) for n in told.values()) / (k * (k - 1)),
        "modal": max(told.values()) / k,
    }


PAIRWISE = Metric(
    name="consistency.paraphrase_pairwise", title="Chance that two phrasings get one answer",
    definition="Mean over questions of sum n_c (n_c - 1) / (k (k - 1)), n_c of k phrasings with answer c.",
    source="unbiased (Simpson 1949), over paraphrases", columns=_columns,
    value=share("agreeing", "questions"), better="higher", neutral=1.0, low=0.0, high=1.0,
)  # fmt: skip
MODAL = Metric(
    name="consistency.paraphrase_modal", title="Share of phrasings with the commonest answer",
    definition="Mean over questions of the share of phrasings that get the commonest answer; at least 1/k.",
    source="Wang et al. 2023, over paraphrases in place of draws", columns=_columns,
    value=share("modal", "questions"), better="higher", neutral=1.0, low=0.0, high=1.0,
)  # fmt: skip
METRICS = (PAIRWISE, MODAL)
