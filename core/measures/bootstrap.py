"""Whole clusters drawn with replacement: every draw is a row of weights, and all of them one matrix product."""

from collections.abc import Callable

import numpy as np

from core.measures.metric import Array, Totals
from core.measures.sums import Sums

DRAWS = 2000
# Weights in memory at a time: 4 million of 8 bytes.
_BLOCK = 1 << 22


def weights(clusters: int, *, draws: int = DRAWS, seed: int = 0) -> Array:
    """Draws x clusters: how often each cluster is taken when as many are drawn with replacement."""
    rng = np.random.default_rng(seed)
    picked = rng.integers(0, clusters, (draws, clusters)) + np.arange(draws)[:, None] * clusters
    return (
        np.bincount(picked.ravel(), minlength=draws * clusters)
        .reshape(draws, clusters)
        .astype(float)
    )


def drawn(
    figure: Callable[[Totals], Array], sums: Sums, *, seed: int = 0, draws: int = DRAWS
) -> Array:
    """The figure of each draw, along the last axis; NaN in which it is undefined."""
    block = max(1, min(draws, _BLOCK // max(1, sums.clusters)))
    return np.concatenate(
        [
            figure(
                sums.totals(weights(sums.clusters, draws=min(block, draws - at), seed=seed + at))
            )
            for at in range(0, draws, block)
        ],
        axis=-1,
    )
