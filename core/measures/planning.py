"""Before a run: what so many items can show, and whether they can decide a limit at all."""

import math

from scipy import special

from core.measures import effects
from core.measures.intervals import POWER
from core.measures.judging import Limit
from core.measures.laws import Exact, Flat
from core.measures.metric import Metric

# The share assumed where none is given: one in ten for a fault, a half where that is neutral or good.
_RATE = 0.1
# The share of matched pairs that differ: two models that are alike, on facts/rai.md's figures.
DISCORDANT = 0.1


def detectable(
    metric: Metric,
    n: int,
    clusters: int,
    *,
    limit: Limit | None = None,
    design_effect: float | None = None,
    rate: float | None = None,
    spread: float | None = None,
    confidence: float = 0.95,
    power: float = POWER,
) -> float | None:
    """The smallest difference that `n` items in `clusters` show with `power`; None: cannot be told.

    With `limit` the distance from it at which a check passes or fails, which is judged on one side alone; without, a
    difference either way. `rate`: the figure that is expected, else the limit itself. `spread`: standard deviation of
    one item's part; without it the largest that a figure of this range can have at `rate` (Bhatia and Davis 2000; for
    a share the binomial one). `design_effect`: measured before, or the one of assumed correlation
    (core/measures/effects.py).
    """
    if rate is None and limit is not None:
        rate = _end(metric, limit)
    deviation = _deviation(metric, rate) if spread is None else spread
    if deviation is None or n < 1 or clusters < 2:
        return None
    effect = effects.assumed(n, clusters) if design_effect is None else design_effect
    sides = 2 if limit is None else 1
    return _factor(confidence, power, clusters, sides) * deviation * math.sqrt(effect / n)


def paired_detectable(
    n: int,
    clusters: int,
    *,
    discordant: float = DISCORDANT,
    design_effect: float | None = None,
    confidence: float = 0.95,
    power: float = POWER,
) -> float | None:
    """The same for the difference of two shares on the same items, of which a share `discordant` differs."""
    if n < 1 or clusters < 2:
        return None
    effect = effects.assumed(n, clusters) if design_effect is None else design_effect
    return _factor(confidence, power, clusters) * math.sqrt(discordant * effect / n)


def can_decide(
    metric: Metric, limit: Limit, n: int, clusters: int, *, confidence: float = 0.95
) -> bool:
    """Whether a model without any fault would pass: its bound at this size is within the limit."""
    if n < 1 or clusters < 1:
        return False
    best = _best(metric, limit)
    if best is None or metric.low is None or metric.high is None:
        # Without ends only the spread decides, which a run will show.
        return clusters > 1
    trials = max(1.0, n / effects.assumed(n, clusters))
    law = (
        Exact(best * trials, trials)
        if metric.share
        else Flat(best, trials, metric.low, metric.high)
    )
    alpha = 1 - confidence
    ends = (law.lower(alpha), law.upper(alpha))
    if limit.max is not None:
        return limit.holds(ends[1])
    if limit.min is not None:
        return limit.holds(ends[0])
    return all(limit.holds(end) for end in ends)


def _best(metric: Metric, limit: Limit) -> float | None:
    if limit.max is not None:
        return metric.low
    if limit.min is not None:
        return metric.high
    return limit.center


def _end(metric: Metric, limit: Limit) -> float | None:
    """Where a check is decided; None at an end of the range, where nothing can vary."""
    away = limit.abs_max or 0.0
    ends = [limit.max, limit.min, limit.center + away, limit.center - away]
    end = next(one for one in ends if one is not None)
    if metric.low is None or metric.high is None or not metric.low < end < metric.high:
        return None
    return end


def _deviation(metric: Metric, rate: float | None) -> float | None:
    if metric.low is None or metric.high is None:
        return None
    room = metric.high - metric.low
    if rate is None:
        away = {"lower": _RATE, "higher": 1 - _RATE, "neutral": 0.5}[metric.better]
        rate = metric.low + away * room
    return math.sqrt(max(0.0, (metric.high - rate) * (rate - metric.low)))


def _factor(confidence: float, power: float, clusters: int, sides: int = 2) -> float:
    alpha = (1 - confidence) / sides
    return float(-special.stdtrit(clusters - 1, alpha) - special.stdtrit(clusters - 1, 1 - power))
