"""Rows made with a known truth, for simulations."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core.measures import agreement
from core.measures.metric import Metric
from core.measures.rows import Row
from core.measures.sums import Sums


def answers(
    right: Sequence[bool] | NDArray[np.bool_], *, per_cluster: int = 1, group: Sequence[str] = ()
) -> list[Row]:
    return [
        Row(
            f"i{k:05}",
            f"c{k // per_cluster:05}",
            True,
            agreement.counts(correct=bool(one)),
            {"group": group[k]} if group else {},
        )
        for k, one in enumerate(right)
    ]


def clusters_of_shares(
    rng: np.random.Generator, clusters: int, size: int, rate: float, correlation: float
) -> NDArray[np.int64]:
    """Hits in each cluster, beta-binomial: items of one cluster correlate by `correlation`."""
    if not correlation:
        return rng.binomial(size, np.full(clusters, rate))
    scale = (1 - correlation) / correlation
    return rng.binomial(size, rng.beta(rate * scale, (1 - rate) * scale, clusters))


def sums(metric: Metric, size: float, **columns: NDArray[np.float64] | NDArray[np.int64]) -> Sums:
    """What `gathered` makes of rows, from the clusters' sums."""
    table = np.stack([np.asarray(column, float) for column in columns.values()], axis=1)
    n = int(size * len(table))
    return Sums(tuple(columns), table, np.full(len(table), float(size)), None, n, n)
