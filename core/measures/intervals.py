"""A figure and its interval, by clusters: exact for shares, a bootstrap of whole clusters otherwise."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from core.measures import effects
from core.measures.bootstrap import DRAWS, drawn
from core.measures.combined import Largest, Mirrored, Wider
from core.measures.corrected import Detected
from core.measures.detector import Detector
from core.measures.laws import Drawn, Exact, Flat, Law, Student
from core.measures.metric import Array, Estimate, Metric
from core.measures.rows import Row
from core.measures.sums import Sums, gathered

# Below this a bootstrap has too few clusters to draw from; a jackknife with t in its place.
FEW = 15
# A spread that rests on fewer clusters than these may miss what none of them showed.
CARRIED = 5
POWER = 0.8
# What a normal law leaves beyond one standard error.
_ONE_SIGMA = 0.1587


@dataclass(frozen=True, slots=True)
class Known:
    """`value`: NaN where undefined, and then `law` is None. `error`: standard error, by clusters."""

    value: float
    law: Law | None
    error: float | None = None
    design_effect: float | None = None


def estimate(
    metric: Metric, rows: Sequence[Row], *, confidence: float = 0.95, seed: int = 0
) -> Estimate:
    """The figure with its two-sided interval. Undefined is None; zero hits never give an interval of no width."""
    sums = gathered(metric, rows)
    return told(metric, sums, known(metric, sums, seed=seed), confidence)


def told(metric: Metric, sums: Sums, what: Known, confidence: float) -> Estimate:
    alpha = (1 - confidence) / 2
    law = what.law
    return Estimate(
        value=_finite(what.value),
        low=_finite(law.lower(alpha)) if law else None,
        high=_finite(law.upper(alpha)) if law else None,
        confidence=confidence,
        n=sums.n,
        valid=sums.valid,
        clusters=_clusters(metric, sums),
        method=law.method if law else "undefined",
        design_effect=what.design_effect,
        detectable=_detectable(what, confidence),
    )


def known(metric: Metric, sums: Sums, *, seed: int = 0) -> Known:
    value = sums.value(metric) if sums.clusters else math.nan
    # One count that is no number, of one group: a largest difference would be that of the others.
    if not (math.isfinite(value) and np.isfinite(sums.table).all()):
        return Known(math.nan, None)
    if metric.share is not None:
        return _share(metric, sums, value)
    if metric.detector is not None:
        return _detected(metric.detector, sums, value)
    return _figure(metric, sums, value, seed)


def influence(metric: Metric, sums: Sums) -> Array:
    """What leaving out each cluster does to the figure, times clusters - 1 (jackknife); 0 where it is undefined."""
    left = metric.value(sums.without(sums.table))
    changes = (sums.clusters - 1) * (sums.value(metric) - left)
    return np.where(np.isfinite(changes), changes, 0.0)


def _share(metric: Metric, sums: Sums, value: float) -> Known:
    hits, trials = (sums.totals_by_cluster(name) for name in metric.share or ())
    worth = effects.of_share(hits, trials)
    law = Exact(value * worth.trials, worth.trials, _named(worth.effect))
    near = (value * worth.trials + 0.5) / (worth.trials + 1)
    return Known(value, law, math.sqrt(near * (1 - near) / worth.trials), worth.effect)


def _detected(detector: Detector, sums: Sums, value: float) -> Known:
    hits, trials = (sums.totals_by_cluster(name) for name in (detector.hits, detector.trials))
    worth = effects.of_share(hits, trials)
    seen = float(hits.sum() / trials.sum())
    law = Detected(seen, worth.trials, detector.sensitivity, detector.specificity)
    error = (law.upper(_ONE_SIGMA) - law.lower(_ONE_SIGMA)) / 2
    return Known(value, law, error, worth.effect)


def _named(effect: float) -> str:
    return "Clopper-Pearson" if effect == 1 else "Clopper-Pearson on the effective sample"


def _figure(metric: Metric, sums: Sums, value: float, seed: int) -> Known:
    ends = (
        -math.inf if metric.low is None else metric.low,
        math.inf if metric.high is None else metric.high,
    )
    if metric.folded:
        return Known(value, None)
    each = influence(metric, sums)
    unseen = effects.unseen(sums.sizes)
    flat = Flat(value, unseen.trials if sums.clusters > 1 else 1.0, *ends)
    spread = float(np.ptp(each))
    if sums.clusters < 2 or spread <= 1e-12 * max(1.0, abs(value)):
        return Known(value, flat, None, unseen.effect)
    error = float(each.std(ddof=1)) / math.sqrt(sums.clusters)
    law: Law = Student(value, error, sums.clusters - 1, *ends)
    if metric.sides is not None:
        law = _largest(metric, sums, ends, seed) or law
    elif sums.clusters >= FEW:
        law = _bootstrap(metric, sums, value, seed) or law
    if effects.carriers(each) < CARRIED and math.isfinite(flat.upper(0.025) - flat.lower(0.025)):
        law = Wider(law, flat)
    return Known(value, law, error, _design_effect(metric, sums, error))


def _largest(metric: Metric, sums: Sums, ends: tuple[float, float], seed: int) -> Law | None:
    """Of the sides that are defined; a draw in which one is not moves it nowhere."""
    assert metric.sides is not None
    values = np.asarray(metric.sides(sums.totals()))
    live = np.isfinite(values)
    if not live.any():
        return None
    draws = drawn(metric.sides, sums, seed=seed)[live].T
    values = values[live]
    draws = np.where(np.isfinite(draws), draws, values)
    if metric.better == "higher":
        return Mirrored(Largest(-values, -draws, sums.clusters, -ends[1], -ends[0]))
    return Largest(values, draws, sums.clusters, *ends)


def _bootstrap(metric: Metric, sums: Sums, value: float, seed: int) -> Law | None:
    """None: too many draws in which the figure is undefined."""
    figures = drawn(metric.value, sums, seed=seed)
    figures = figures[np.isfinite(figures)]
    return Drawn(value, figures, sums.clusters) if len(figures) >= DRAWS // 2 else None


def _design_effect(metric: Metric, sums: Sums, error: float) -> float | None:
    """The variance by clusters over that of rows taken for independent, both by the jackknife."""
    if sums.rows is None or len(sums.rows) < 2:
        return None
    left = metric.value(sums.without(sums.rows))
    changes = (len(sums.rows) - 1) * (sums.value(metric) - left)
    naive = float(np.nanvar(changes, ddof=1)) / len(sums.rows)
    return error**2 / naive if naive > 0 else None


def _detectable(what: Known, confidence: float) -> float | None:
    if what.error is None:
        return None
    return -float(special.ndtri((1 - confidence) / 2) + special.ndtri(1 - POWER)) * what.error


def _clusters(metric: Metric, sums: Sums) -> int:
    if metric.share is None:
        return sums.clusters
    return int((sums.totals_by_cluster(metric.share[1]) > 0).sum())


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
