"""A figure held against a limit: its confidence bound, and how strongly it speaks for either side."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import InvalidInput
from core.measures.intervals import known, told
from core.measures.laws import Law
from core.measures.metric import Estimate, Metric
from core.measures.rows import Row
from core.measures.sums import gathered


@dataclass(frozen=True, slots=True)
class Limit:
    """Exactly one: the figure is at most `max`, at least `min`, or at most `abs_max` away from 0 (or from `center`)."""

    max: float | None = None
    min: float | None = None
    abs_max: float | None = None
    center: float = 0.0

    def __post_init__(self) -> None:
        ends = [end for end in (self.max, self.min, self.abs_max) if end is not None]
        if len(ends) != 1 or not math.isfinite(ends[0]):
            raise InvalidInput("limit: give exactly one of max, min and abs_max, a number")
        if self.abs_max is not None and self.abs_max < 0:
            raise InvalidInput("limit.abs_max: a distance is 0 or more")

    def holds(self, value: float) -> bool:
        if self.max is not None:
            return value <= self.max
        if self.min is not None:
            return value >= self.min
        return abs(value - self.center) <= (self.abs_max or 0.0)


@dataclass(frozen=True, slots=True)
class Judged:
    """`bound`: the end of the one-sided interval that the limit is held against; for abs_max the end that is further
    from the center; None: undefined or without end. `p_within`: of the hypothesis that the figure is beyond the limit
    (small: it passes); `p_beyond`: of the hypothesis that it is within (small: it fails). Both are 1 where nothing is
    known."""

    estimate: Estimate
    bound: float | None
    p_within: float
    p_beyond: float


def judged(
    metric: Metric, rows: Sequence[Row], limit: Limit, *, confidence: float = 0.95, seed: int = 0
) -> Judged:
    """The bound is within the limit exactly where p_within <= 1 - confidence (for abs_max: two one-sided tests)."""
    sums = gathered(metric, rows)
    what = known(metric, sums, seed=seed)
    figure = told(metric, sums, what, confidence)
    if what.law is None:
        return Judged(figure, None, 1.0, 1.0)
    bound = _bound(what.law, limit, 1 - confidence)
    return Judged(figure, bound if math.isfinite(bound) else None, *tested(what.law, limit))


def _bound(law: Law, limit: Limit, alpha: float) -> float:
    if limit.max is not None:
        return law.upper(alpha)
    if limit.min is not None:
        return law.lower(alpha)
    return max(law.lower(alpha), law.upper(alpha), key=lambda end: abs(end - limit.center))


def tested(law: Law, limit: Limit) -> tuple[float, float]:
    """(p_within, p_beyond)."""
    if limit.max is not None:
        return law.p_below(limit.max), law.p_above(limit.max)
    if limit.min is not None:
        return law.p_above(limit.min), law.p_below(limit.min)
    top, bottom = limit.center + (limit.abs_max or 0.0), limit.center - (limit.abs_max or 0.0)
    within = max(law.p_below(top), law.p_above(bottom))
    return within, min(1.0, 2 * min(law.p_above(top), law.p_below(bottom)))
