"""Design effects: how many independent items a clustered sample is worth."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from core.measures.metric import Array

# Correlation of items of one template where the data cannot tell: BBQ with the authors' predictions has design effects
# of 4 to 29 at some 150 items a template, which is 0.02 to 0.19 (docs/measures.md).
ASSUMED = 0.1
# How many items that differ from the rest the assumption above weighs as: with one or two hits in thousands
# the correlation cannot be estimated, with a hundred the data speak alone.
WEIGHT = 5


@dataclass(frozen=True, slots=True)
class Worth:
    """`effect`: clustered variance over the naive one; `trials`: independent items that are as exact."""

    effect: float
    trials: float


def size(parts: Array) -> float:
    """Items in the cluster of an average item."""
    total = float(parts.sum())
    return float((parts**2).sum()) / total if total else 1.0


def of_correlation(correlation: float, per_cluster: float) -> float:
    return max(1.0, 1 + (per_cluster - 1) * correlation)


def assumed(n: float, clusters: float) -> float:
    """The design effect to plan with: `n` items spread evenly over `clusters`."""
    return of_correlation(ASSUMED, n / clusters) if clusters else 1.0


def unseen(parts: Array) -> Worth:
    """Where nothing varied, so that the data say nothing of how their clusters cohere."""
    effect = of_correlation(ASSUMED, size(parts))
    return Worth(effect, _fewer(float(parts.sum()) / effect, float(parts.sum()), parts))


def of_share(hits: Array, trials: Array) -> Worth:
    """Of hits / trials, both by cluster."""
    n, k = float(trials.sum()), float(hits.sum())
    return of_mean(hits, trials, variance=k / n * (1 - k / n), rare=min(k, n - k))


def of_mean(sums: Array, trials: Array, *, variance: float, rare: float) -> Worth:
    """Of sums / trials, both by cluster. `variance`: of one item; `rare`: how many items differ from most.

    The variance between clusters (linearised ratio, each cluster left out in turn) over the naive one, as a correlation
    drawn to ASSUMED where `rare` is small; never below 1 (Korn and Graubard 1998: no sample is worth more than itself).
    """
    n, live = float(trials.sum()), int((trials > 0).sum())
    mean, per_cluster = float(sums.sum()) / n, size(trials)
    if per_cluster <= 1:
        return Worth(1.0, n)
    seen = 0.0
    if variance > 0 and live > 1:
        # The mean follows a large cluster: how far it lies from the mean of the others is what tells.
        apart = (sums - mean * trials) / (1 - trials / n)
        between = (live - 1) / live * float((apart**2).sum()) / n**2
        seen = float(np.clip((between / (variance / n) - 1) / (per_cluster - 1), 0, 1))
    known = rare if live > 1 else 0.0
    effect = of_correlation((known * seen + WEIGHT * ASSUMED) / (known + WEIGHT), per_cluster)
    return Worth(effect, _fewer(n / effect, n, trials))


def _fewer(trials: float, n: float, parts: Array) -> float:
    """With few clusters the effect is itself uncertain: t on clusters in t on items' place (Korn and Graubard).

    Clusters count by their sizes (Kish): of one with most of the items and forty with a few, little more than one."""
    live = n / size(parts)
    if size(parts) <= 1 or n <= 1:
        return trials
    if live < 1.1:
        return 1.0
    t_items, t_clusters = special.stdtrit(n - 1, 0.975), special.stdtrit(live - 1, 0.975)
    return max(1.0, float(trials * (t_items / t_clusters) ** 2))


def carriers(influence: Array) -> float:
    """How many clusters the variance rests on: 1 where one alone differs, their number where all do alike."""
    square = (influence - influence.mean()) ** 2
    fourth = float((square**2).sum())
    return float(square.sum()) ** 2 / fourth if fourth > 0 and math.isfinite(fourth) else 0.0
