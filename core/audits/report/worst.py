"""Which items count most against a model: those without which a figure would look best.

A metric is a function of sums (core.measures.metric), so an item's influence is exact: the figure as it is, less the
figure of all other items. Against is what pushes it over its limit: up for a `max`, down for a `min`, away from the
centre for an `abs_max`, and where there is no limit of its own whatever the metric calls worse.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from core.measures.metric import Array, Metric
from core.measures.rows import Row

SHOWN = 10


class _Sums(dict[str, Array]):
    """Counts that no row has are zero."""

    def __missing__(self, name: str) -> Array:
        return np.zeros(())


def worst(
    metric: Metric, rows: Sequence[Row], limit: Mapping[str, Any], shown: int = SHOWN
) -> list[tuple[Row, float]]:
    """At most so many valid rows with the share that each has in the figure, the most against the limit first.

    Rows that push the other way, or not at all, are left out; equal ones stay in their order. Where all items are alike
    none pushes, and if they are alike in what is wrong, all are the worst.
    """
    valid = [row for row in rows if row.valid and metric.takes(row)]
    if not valid:
        return []
    whole, moved = influence(metric, valid)
    against = direction(metric, limit, whole) * moved
    if not moved.any() and _at_fault(metric, limit, whole):
        return [(row, 0.0) for row in valid[:shown]]
    order = [
        n for n in np.argsort(-np.nan_to_num(against, nan=-np.inf), kind="stable") if against[n] > 0
    ]
    return [(valid[n], float(moved[n])) for n in order[:shown]]


def _at_fault(metric: Metric, limit: Mapping[str, Any], value: float) -> bool:
    """Whether a figure is anything but as good as it can be; where that is not known, it is not said to be at fault."""
    if "abs_max" in limit or metric.better == "neutral":
        return bool(value != limit.get("center", metric.neutral or 0.0))
    best = metric.low if direction(metric, limit, value) > 0 else metric.high
    return best is not None and value != best


def influence(metric: Metric, rows: Sequence[Row]) -> tuple[float, Array]:
    """The figure of these rows, and by how much each moves it; NaN where the figure is not defined without it."""
    if metric.columns is None:
        parts = [row.counts for row in rows]
        names, table = _table(parts)
        total = table.sum(axis=0)
        without = total - table
    else:
        names, total, without = _by_cluster(metric, rows)
    with np.errstate(all="ignore"):
        whole = float(metric.value(_sums(names, total)))
        rest = np.broadcast_to(metric.value(_sums(names, without.T)), (len(rows),))
        return whole, np.asarray(whole - rest, dtype=float)


def _by_cluster(metric: Metric, rows: Sequence[Row]) -> tuple[list[str], Array, Array]:
    """The same where what is summed is made of whole clusters: each is made again without each of its rows."""
    assert metric.columns is not None
    clusters: dict[str, list[int]] = defaultdict(list)
    for n, row in enumerate(rows):
        clusters[row.cluster].append(n)
    wholes = {name: metric.columns([rows[n] for n in of]) for name, of in clusters.items()}
    lessened: list[Mapping[str, float]] = [{} for _ in rows]
    for of in clusters.values():
        for n in of:
            others = [rows[m] for m in of if m != n]
            lessened[n] = metric.columns(others) if others else {}
    names, table = _table([*wholes.values(), *lessened])
    total = table[: len(wholes)].sum(axis=0)
    own = {name: table[number] for number, name in enumerate(wholes)}
    without = np.array(
        [total - own[row.cluster] + table[len(wholes) + n] for n, row in enumerate(rows)]
    )
    return names, total, without


def _table(parts: Sequence[Mapping[str, float]]) -> tuple[list[str], Array]:
    """One line for each part, one column for each name that any of them has."""
    names = sorted({name for part in parts for name in part})
    return names, np.array([[part.get(name, 0.0) for name in names] for part in parts], dtype=float)


def _sums(names: Sequence[str], columns: Array) -> _Sums:
    return _Sums(zip(names, columns, strict=True))


def direction(metric: Metric, limit: Mapping[str, Any], value: float) -> int:
    """1 where higher is worse here, else -1."""
    if "max" in limit:
        return 1
    if "min" in limit:
        return -1
    if "abs_max" not in limit and metric.better != "neutral":
        return 1 if metric.better == "lower" else -1
    centre = limit.get("center", 0.0) if "abs_max" in limit else metric.neutral or 0.0
    return 1 if value >= centre else -1
