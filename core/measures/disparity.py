"""Groups beside each other: the gap, what gap chance alone makes, and which group stands out."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.measures import families, intervals
from core.measures.metric import Array, Estimate, Metric
from core.measures.rows import Row
from core.measures.sums import Sums, gathered

PERMUTATIONS = 2000
# Labels in memory at a time.
_BLOCK = 1 << 22


@dataclass(frozen=True, slots=True)
class Standing:
    """`p_rest`: of "this group is like all others together", adjusted over the groups (Holm)."""

    estimate: Estimate
    p_rest: float


@dataclass(frozen=True, slots=True)
class Disparity:
    """`gap`: largest minus smallest figure of a group. It is above 0 without any disparity, so `null_95` stands
    beside it: 95 of 100 gaps are smaller when the groups' names mean nothing; `p_any`: how often chance makes such a
    gap."""

    dimension: str
    gap: float | None
    null_95: float | None
    p_any: float
    each: Mapping[str, Standing]


@dataclass(frozen=True, slots=True)
class _Cells:
    """Sums of the rows of one cluster and one group. `labels`: the group's number; `strata`: names are exchanged
    within these alone."""

    sums: Sums
    labels: NDArray[np.int64]
    strata: NDArray[np.int64]
    groups: tuple[str, ...]


def disparity(
    metric: Metric,
    rows: Sequence[Row],
    dimension: str,
    *,
    confidence: float = 0.95,
    seed: int = 0,
    permutations: int = PERMUTATIONS,
) -> Disparity:
    """By permutation of the groups' names: within clusters that hold several groups, between clusters that hold one."""
    split: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if dimension in row.groups and metric.takes(row):
            split[row.groups[dimension]].append(row)
    estimates = {
        group: intervals.estimate(metric, split[group], confidence=confidence, seed=seed)
        for group in sorted(split)
    }
    cells = _cells(metric, split, dimension)
    observed_gap, observed_rest = _figures(metric, cells, cells.labels[None, :])
    drawn_gap, drawn_rest = _by_chance(metric, cells, permutations, seed)
    gaps = drawn_gap[np.isfinite(drawn_gap)]
    gap = float(observed_gap[0])
    chance = families.holm(
        [_chance(observed_rest[0, g], drawn_rest[:, g]) for g in range(len(cells.groups))]
    )
    p_rest = dict(zip(cells.groups, chance, strict=True))
    return Disparity(
        dimension,
        gap if math.isfinite(gap) else None,
        float(np.quantile(gaps, 0.95)) if len(gaps) else None,
        _chance(gap, drawn_gap),
        {group: Standing(one, p_rest.get(group, 1.0)) for group, one in estimates.items()},
    )


def _cells(metric: Metric, split: Mapping[str, Sequence[Row]], dimension: str) -> _Cells:
    whole = [
        Row(row.item, f"{group}\x00{row.cluster}", True, row.counts, row.groups)
        for group, rows in sorted(split.items())
        for row in rows
        if row.valid
    ]
    cells = list(
        dict.fromkeys((row.groups[dimension], row.cluster.partition("\x00")[2]) for row in whole)
    )
    groups = tuple(sorted({group for group, _ in cells}))
    number = {group: k for k, group in enumerate(groups)}
    shared: dict[str, int] = defaultdict(int)
    for _, cluster in cells:
        shared[cluster] += 1
    several = {cluster: k for k, cluster in enumerate((c for c, n in shared.items() if n > 1), 1)}
    return _Cells(
        gathered(metric, whole),
        np.array([number[group] for group, _ in cells], int),
        np.array([several.get(cluster, 0) for _, cluster in cells], int),
        groups,
    )


def _by_chance(metric: Metric, cells: _Cells, permutations: int, seed: int) -> tuple[Array, Array]:
    block = max(1, min(permutations, _BLOCK // max(1, len(cells.labels))))
    rng = np.random.default_rng(seed)
    parts = [
        _figures(metric, cells, _permuted(cells, min(block, permutations - at), rng))
        for at in range(0, permutations, block)
    ]
    return np.concatenate([gaps for gaps, _ in parts]), np.concatenate([rest for _, rest in parts])


def _permuted(cells: _Cells, permutations: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Permutations x cells: the groups' numbers, mixed within each stratum."""
    order = np.argsort(cells.strata, kind="stable")
    keys = cells.strata[None, :] + rng.random((permutations, len(cells.strata)))
    mixed = np.empty(keys.shape, int)
    mixed[:, order] = cells.labels[np.argsort(keys, axis=1)]
    return mixed


def _figures(metric: Metric, cells: _Cells, labels: NDArray[np.int64]) -> tuple[Array, Array]:
    """For each labelling the gap, and (labellings x groups) each group's figure minus that of all others."""
    figures, rests = [], []
    for group in range(len(cells.groups)):
        chosen = (labels == group).astype(float)
        figures.append(np.atleast_1d(metric.value(cells.sums.totals(chosen))))
        rests.append(np.atleast_1d(metric.value(cells.sums.totals(1 - chosen))))
    if not figures:
        return np.full(len(labels), np.nan), np.empty((len(labels), 0))
    each = np.stack(figures, axis=1)
    live = np.isfinite(each)
    top, bottom = np.where(live, each, -np.inf).max(1), np.where(live, each, np.inf).min(1)
    return np.where(live.sum(1) > 1, top - bottom, np.nan), each - np.stack(rests, axis=1)


def _chance(observed: float, drawn: Array) -> float:
    """How often chance is as far from 0, the observation counted among the draws so that it is never 0."""
    if not math.isfinite(observed):
        return 1.0
    drawn = drawn[np.isfinite(drawn)]
    # What differs by rounding alone is the same.
    return float((np.abs(drawn) >= abs(observed) - 1e-12).sum() + 1) / (len(drawn) + 1)
