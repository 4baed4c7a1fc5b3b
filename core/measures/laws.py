"""What is known of a figure, as one-sided bounds and their p-values: four laws, each of which agrees with itself.

Of every law `upper(a)` is the end of a one-sided interval of confidence 1 - a, and `p_below(x)` the p-value of "the
true figure is x or more": p_below(x) < a exactly where upper(a) < x. `lower` and `p_above` mirror them.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from scipy import special

from core.measures.metric import Array

# Draws beyond a limit under which their share says little: the tail of a t distribution is taken there.
_TAIL = 5


def stretch(clusters: int) -> float:
    """What a bootstrap's spread is too short by: it divides by clusters, not by clusters - 1."""
    return math.sqrt((clusters - 1) / clusters)


def significance(beyond: int, draws: int, clusters: int) -> float:
    """The p-value of a limit beyond which so many draws lie, moved to t for few clusters (Hesterberg 2015)."""
    if beyond >= draws:
        return 1.0
    z = special.ndtri((beyond + 1) / (draws + 1))
    return float(special.stdtr(clusters - 1, stretch(clusters) * z))


def allowed(alpha: float, draws: int, clusters: int) -> int:
    """How many draws lie beyond the bound at alpha: the most that are significant."""
    share = special.ndtr(special.stdtrit(clusters - 1, alpha) / stretch(clusters))
    return max(0, int(share * (draws + 1)) - 1)


def _share(x: float) -> float:
    """Where a share may lie: a limit beyond 0 or 1 is as far off as these."""
    return min(1.0, max(0.0, x))


class Law(Protocol):
    @property
    def method(self) -> str: ...
    def upper(self, alpha: float) -> float: ...
    def lower(self, alpha: float) -> float: ...
    def p_below(self, x: float) -> float: ...
    def p_above(self, x: float) -> float: ...


@dataclass(frozen=True)
class Exact:
    """Clopper and Pearson (1934) for `hits` of `trials`, which need not be whole: a clustered sample counts as the
    smaller independent one that is as exact (Korn and Graubard 1998)."""

    hits: float
    trials: float
    method: str = "Clopper-Pearson"

    def upper(self, alpha: float) -> float:
        rest = self.trials - self.hits
        return 1.0 if rest <= 0 else float(special.betaincinv(self.hits + 1, rest, 1 - alpha))

    def lower(self, alpha: float) -> float:
        if self.hits <= 0:
            return 0.0
        return float(special.betaincinv(self.hits, self.trials - self.hits + 1, alpha))

    def p_below(self, x: float) -> float:
        rest = self.trials - self.hits
        return (
            float(x <= 1) if rest <= 0 else float(special.betaincc(self.hits + 1, rest, _share(x)))
        )

    def p_above(self, x: float) -> float:
        if self.hits <= 0:
            return float(x >= 0)
        return float(special.betainc(self.hits, self.trials - self.hits + 1, _share(x)))


@dataclass(frozen=True)
class Student:
    """A t distribution around the figure."""

    value: float
    error: float
    freedom: float
    low: float = -math.inf
    high: float = math.inf
    method: str = "t on clusters (jackknife)"

    def upper(self, alpha: float) -> float:
        return min(self.high, self.value + self._width(alpha))

    def lower(self, alpha: float) -> float:
        return max(self.low, self.value - self._width(alpha))

    def p_below(self, x: float) -> float:
        if x > self.high:
            return 0.0
        return float(special.stdtr(self.freedom, (self.value - x) / self.error))

    def p_above(self, x: float) -> float:
        if x < self.low:
            return 0.0
        return float(special.stdtr(self.freedom, (x - self.value) / self.error))

    def _width(self, alpha: float) -> float:
        return float(special.stdtrit(self.freedom, 1 - alpha)) * self.error


@dataclass(frozen=True)
class Drawn:
    """Bootstrap draws over clusters, their percentiles moved outwards for few clusters (Hesterberg 2015, "expanded
    percentile")."""

    value: float
    draws: Array
    clusters: int
    method: str = "cluster bootstrap"

    def upper(self, alpha: float) -> float:
        return float(self._sorted[-1 - allowed(alpha, len(self.draws), self.clusters)])

    def lower(self, alpha: float) -> float:
        return float(self._sorted[allowed(alpha, len(self.draws), self.clusters)])

    def p_below(self, x: float) -> float:
        return self._p(
            len(self.draws) - int(np.searchsorted(self._sorted, x, "left")), self.value - x
        )

    def p_above(self, x: float) -> float:
        return self._p(int(np.searchsorted(self._sorted, x, "right")), x - self.value)

    @cached_property
    def _sorted(self) -> Array:
        return np.sort(self.draws)

    @cached_property
    def error(self) -> float:
        return float(self.draws.std(ddof=1))

    def _p(self, beyond: int, distance: float) -> float:
        """`beyond`: draws on the far side of a limit; `distance`: how far the figure is over it, in its unit."""
        if beyond < _TAIL and self.error > 0:
            t = stretch(self.clusters) * distance / self.error
            return float(special.stdtr(self.clusters - 1, t))
        return significance(beyond, len(self.draws), self.clusters)


@dataclass(frozen=True)
class Flat:
    """Nothing varied: `trials` independent items all said the same, so that at most a share q = 1 - a^(1/trials) of all
    items says otherwise, and these at most what the range allows. The rule of three for any bounded figure."""

    value: float
    trials: float
    low: float = -math.inf
    high: float = math.inf
    method: str = "no variation seen: rule of three"

    def upper(self, alpha: float) -> float:
        return self._end(self.high, alpha)

    def lower(self, alpha: float) -> float:
        return self._end(self.low, alpha)

    def p_below(self, x: float) -> float:
        return self._p(x - self.value, self.high - self.value)

    def p_above(self, x: float) -> float:
        return self._p(self.value - x, self.value - self.low)

    def _end(self, end: float, alpha: float) -> float:
        if end == self.value:
            return self.value
        return self.value + float(1 - alpha ** (1 / self.trials)) * (end - self.value)

    def _p(self, distance: float, room: float) -> float:
        if distance <= 0:
            return 1.0
        if distance > room:
            return 0.0
        return 1.0 if math.isinf(room) else float((1 - distance / room) ** self.trials)
