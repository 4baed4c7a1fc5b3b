"""Laws made of several figures or of other laws: the largest, the smallest, the wider, the change of a distance."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import special

from core.measures.laws import Law, allowed, significance, stretch
from core.measures.metric import Array


@dataclass(frozen=True)
class Largest:
    """The largest of several figures, `draws` (draws x figures) around `values`.

    From below it holds for all of them together (the largest of the studentised draws, as in Romano and Wolf 2005);
    from above each one must be below by itself, at the same confidence (Berger 1982, intersection-union)."""

    values: Array
    draws: Array
    clusters: int
    low: float = -math.inf
    high: float = math.inf
    method: str = "largest of several: simultaneous cluster bootstrap"

    def upper(self, alpha: float) -> float:
        t = float(special.stdtrit(self.clusters - 1, 1 - alpha))
        return min(self.high, float((self.values + t * self._errors).max()))

    def lower(self, alpha: float) -> float:
        last = allowed(alpha, len(self.draws), self.clusters)
        q = float(self._farthest[-1 - last])
        return min(
            float(self.values.max()), max(self.low, float((self.values - q * self._errors).max()))
        )

    def p_below(self, x: float) -> float:
        if x > self.high:
            return 0.0
        return float(special.stdtr(self.clusters - 1, self._distances(x).max()))

    def p_above(self, x: float) -> float:
        if x < self.low:
            return 0.0
        nearer = int(np.searchsorted(self._farthest, self._distances(x).max(), "left"))
        return significance(len(self.draws) - nearer, len(self.draws), self.clusters)

    @cached_property
    def _errors(self) -> Array:
        return np.asarray(self.draws.std(axis=0, ddof=1) / stretch(self.clusters))

    @cached_property
    def _farthest(self) -> Array:
        """Of each draw, sorted: how far the figure that moved most of all is above its value, in standard errors."""
        moved = self._errors > 0
        if not moved.any():
            return np.zeros(len(self.draws))
        studentised = (self.draws - self.values)[:, moved] / self._errors[moved]
        return np.sort(studentised.max(axis=1))

    def _distances(self, x: float) -> Array:
        far = self.values - x
        distances: Array = np.where(far == 0, 0.0, np.copysign(np.inf, far))
        np.divide(far, self._errors, out=distances, where=self._errors > 0)
        return distances


@dataclass(frozen=True)
class Mirrored:
    """Of minus a figure: the smallest is minus the largest of the negatives."""

    law: Law

    @property
    def method(self) -> str:
        return self.law.method.replace("largest", "smallest")

    def upper(self, alpha: float) -> float:
        return -self.law.lower(alpha)

    def lower(self, alpha: float) -> float:
        return -self.law.upper(alpha)

    def p_below(self, x: float) -> float:
        return self.law.p_above(-x)

    def p_above(self, x: float) -> float:
        return self.law.p_below(-x)


@dataclass(frozen=True)
class Wider:
    """The wider of two laws at each end."""

    first: Law
    second: Law

    @property
    def method(self) -> str:
        return f"{self.first.method}, widened: few clusters vary"

    def upper(self, alpha: float) -> float:
        return max(self.first.upper(alpha), self.second.upper(alpha))

    def lower(self, alpha: float) -> float:
        return min(self.first.lower(alpha), self.second.lower(alpha))

    def p_below(self, x: float) -> float:
        return max(self.first.p_below(x), self.second.p_below(x))

    def p_above(self, x: float) -> float:
        return max(self.first.p_above(x), self.second.p_above(x))


@dataclass(frozen=True)
class Nearer:
    """Of |a| - |b|, from the laws of a - b and of a + b.

    |a| - |b| is the larger over s of the smaller over t of s a - t b, s and t either sign. A plain bootstrap of it is
    too sure of b: noise alone makes |b| larger. So one of two must hold where any sign of b will do, at half the
    error each (Bonferroni), and both where either sign of a may be."""

    difference: Law
    total: Law

    @property
    def method(self) -> str:
        return f"{self.difference.method}, either sign"

    def upper(self, alpha: float) -> float:
        d, e = self.difference, self.total
        half = alpha / 2
        return max(min(d.upper(half), e.upper(half)), -max(d.lower(half), e.lower(half)))

    def lower(self, alpha: float) -> float:
        d, e = self.difference, self.total
        half = alpha / 2
        return max(min(d.lower(half), e.lower(half)), -max(d.upper(half), e.upper(half)))

    def p_below(self, x: float) -> float:
        d, e = self.difference, self.total
        one, other = min(d.p_below(x), e.p_below(x)), min(d.p_above(-x), e.p_above(-x))
        return min(1.0, 2 * max(one, other))

    def p_above(self, x: float) -> float:
        d, e = self.difference, self.total
        one, other = max(d.p_above(x), e.p_above(x)), max(d.p_below(-x), e.p_below(-x))
        return min(1.0, 2 * min(one, other))
