"""Matched pairs of yes and no: Tango's score interval for the difference of two shares, McNemar's exact test."""

import math
from dataclasses import dataclass

from scipy import optimize, special

_EDGE = 1 - 1e-9


@dataclass(frozen=True)
class Tango:
    """The difference of two shares on the same items (Tango 1998). `more`: items that only the first hits, `fewer`:
    that only the second hits, of `trials`; they need not be whole (an effective sample). Score bounds: they have width
    where no pair differs."""

    more: float
    fewer: float
    trials: float
    method: str = "paired score (Tango)"

    @property
    def value(self) -> float:
        return (self.more - self.fewer) / self.trials

    def upper(self, alpha: float) -> float:
        if self.p_below(_EDGE) >= alpha:
            return 1.0
        return float(optimize.brentq(lambda x: self.p_below(x) - alpha, self.value, _EDGE))

    def lower(self, alpha: float) -> float:
        if self.p_above(-_EDGE) >= alpha:
            return -1.0
        return float(optimize.brentq(lambda x: self.p_above(x) - alpha, -_EDGE, self.value))

    def p_below(self, x: float) -> float:
        return 0.0 if x > 1 else float(special.ndtr(self._z(x)))

    def p_above(self, x: float) -> float:
        return 0.0 if x < -1 else float(special.ndtr(-self._z(x)))

    def _z(self, x: float) -> float:
        x = min(_EDGE, max(-_EDGE, x))
        n, room = self.trials, x * (1 - x)
        # The likeliest share of the second kind of pair when the difference is x: the root of a quadratic.
        b = -self.more - self.fewer + (2 * n - self.more + self.fewer) * x
        root = math.sqrt(max(0.0, b * b + 8 * n * self.fewer * room))
        share = max((root - b) / (4 * n), -x, 0.0)
        variance = n * (2 * share + room)
        distance = self.more - self.fewer - n * x
        if variance <= 0:
            return 0.0 if distance == 0 else math.copysign(math.inf, distance)
        return distance / math.sqrt(variance)


def mcnemar(more: float, fewer: float) -> float:
    """Two-sided exact p of "a pair that differs does so either way with the same chance"."""
    differing = more + fewer
    if differing == 0:
        return 1.0
    return min(1.0, 2 * float(special.bdtr(min(more, fewer), int(differing), 0.5)))
