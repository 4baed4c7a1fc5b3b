"""Rows summed by cluster: what every figure, bootstrap draw and permutation is a matrix product of."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.measures.metric import Array, Metric, Totals
from core.measures.rows import Row


class _Named(dict[str, Array]):
    """Sums by name; what nothing was counted under is 0."""

    def __init__(self, names: Sequence[str], sums: Array) -> None:
        super().__init__((name, sums[..., k]) for k, name in enumerate(names))
        self._shape = sums.shape[:-1]

    def __missing__(self, name: str) -> Array:
        return np.zeros(self._shape)


def part(totals: Totals, prefix: str) -> Totals:
    """The sums whose names begin with `prefix`, under the rest of their names."""
    names = [name for name in totals if name.startswith(prefix)]
    shape = next((totals[name].shape for name in totals), ())
    chosen = np.stack([totals[name] for name in names], axis=-1) if names else np.zeros((*shape, 0))
    return _Named([name[len(prefix) :] for name in names], chosen)


@dataclass(frozen=True, slots=True)
class Sums:
    """`table`: clusters x names, the sums of each cluster's valid rows. `sizes`: valid rows in each cluster.

    `rows`: valid rows x names, None where a metric sums something else than its rows' counts. `n`: rows that the
    metric is of, of which `valid` could be read.
    """

    names: tuple[str, ...]
    table: Array
    sizes: Array
    rows: Array | None
    n: int
    valid: int

    @property
    def clusters(self) -> int:
        return len(self.table)

    def totals(self, weights: Array | None = None) -> Totals:
        """Sums over all clusters; with `weights` (draws x clusters) one for each draw."""
        return _Named(
            self.names, self.table.sum(axis=0) if weights is None else weights @ self.table
        )

    def without(self, parts: Array) -> Totals:
        """Sums over all but each of `parts` (clusters or rows x names)."""
        return _Named(self.names, self.table.sum(axis=0) - parts)

    def totals_by_cluster(self, name: str) -> Array:
        return _Named(self.names, self.table)[name]

    def value(self, metric: Metric) -> float:
        return float(metric.value(self.totals()))


def gathered(metric: Metric, rows: Sequence[Row]) -> Sums:
    taken = [row for row in rows if metric.takes(row)]
    valid = [row for row in taken if row.valid]
    clusters: dict[str, list[Row]] = defaultdict(list)
    for row in valid:
        clusters[row.cluster].append(row)
    sizes = np.array([len(one) for one in clusters.values()], float)
    if metric.columns is not None:
        parts = [metric.columns(one) for one in clusters.values()]
        names = tuple(sorted({name for part in parts for name in part}))
        table = np.array([[part.get(name, 0.0) for name in names] for part in parts], float)
        return Sums(
            names, table.reshape(len(parts), len(names)), sizes, None, len(taken), len(valid)
        )
    names = tuple(sorted({name for row in valid for name in row.counts}))
    counts = np.array([[row.counts.get(name, 0.0) for name in names] for row in valid], float)
    counts = counts.reshape(len(valid), len(names))
    place = {cluster: k for k, cluster in enumerate(clusters)}
    table = np.zeros((len(clusters), len(names)))
    np.add.at(table, [place[row.cluster] for row in valid], counts)
    return Sums(names, table, sizes, counts, len(taken), len(valid))
