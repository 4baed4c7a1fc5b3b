"""How well a model predicts text: bits per byte, and perplexity per token.

Per token only models with one tokenizer compare; per byte any do.
"""

import math

import numpy as np

from core.measures.metric import Array, Metric, Totals, ratio

STRIDE = "Hugging Face transformers, Perplexity of fixed-length models (sliding window)"


def counts(*, logprob: float, tokens: int, bytes_: int) -> dict[str, float]:
    """Of one text: the sum of the log probabilities (nats) of its scored tokens, how many there are, and the UTF-8
    bytes that they stand for."""
    return {"nats": -logprob, "tokens": float(tokens), "bytes": float(bytes_)}


def _perplexity(totals: Totals) -> Array:
    return np.exp(ratio(totals["nats"], totals["tokens"]))


BITS_PER_BYTE = Metric(
    name="likelihood.bits_per_byte", title="Bits per byte", unit="bits",
    definition="Sum of -log2 P(token) over the sum of the UTF-8 bytes that the scored tokens stand for.",
    source="Gao et al. 2020, The Pile, section 3.1, https://arxiv.org/abs/2101.00027",
    value=lambda totals: ratio(totals["nats"], totals["bytes"]) / math.log(2), better="lower", low=0.0,
)  # fmt: skip
PERPLEXITY = Metric(
    name="likelihood.perplexity@stride", title="Perplexity per token", source=STRIDE,
    definition="exp(mean of -log P(token)), each token scored once, in windows that move by a stride.",
    value=_perplexity, better="lower", low=1.0,
)  # fmt: skip

METRICS = (BITS_PER_BYTE, PERPLEXITY)
