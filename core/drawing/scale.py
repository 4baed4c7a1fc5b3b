"""An axis: where a value lies on it, its round values, and how a number is written."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

# From so many times the smallest value on, a linear axis shows the first steps and nothing else.
LOG_FROM = 20.0
TICKS = 5


@dataclass(frozen=True)
class Scale:
    """Where a value lies between the ends of an axis, 0 to 1; by its logarithm where values differ widely."""

    low: float
    high: float
    log: bool = False

    def at(self, value: float) -> float:
        low, high, value = (
            (math.log(self.low), math.log(self.high), math.log(value))
            if self.log
            else (self.low, self.high, value)
        )
        return (value - low) / (high - low)

    def value(self, at: float) -> float:
        """The value that lies there."""
        if self.log:
            return math.exp(math.log(self.low) + at * (math.log(self.high) - math.log(self.low)))
        return self.low + at * (self.high - self.low)


def scale(values: Sequence[float], *, log: bool | None = None) -> Scale:
    """An axis that holds all of these. `log`: None decides by how widely they differ."""
    low, high = min(values), max(values)
    if log is None:
        log = low > 0 and high / low > LOG_FROM
    if low == high:
        # One value, or a curve that does not move: it lies in the middle.
        half = abs(low) / 2 or 1.0
        low, high, log = low - half, high + half, False
    return Scale(low, high, log)


def ticks(axis: Scale, count: int = TICKS) -> list[float]:
    """About so many round values of an axis, within its ends."""
    if axis.log:
        powers = range(math.floor(math.log10(axis.low)), math.ceil(math.log10(axis.high)) + 1)
        for digits in ((1,), (1, 3), (1, 2, 5)):
            found = [
                d * 10.0**p for p in powers for d in digits if axis.low <= d * 10.0**p <= axis.high
            ]
            if len(found) >= count - 1:
                return found
        return found
    raw = (axis.high - axis.low) / (count - 1)
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= raw * 0.6)
    first = math.ceil(axis.low / step - 1e-9)
    return [n * step for n in range(first, math.floor(axis.high / step + 1e-9) + 1)]


def short(value: float) -> str:
    """A number in few characters: 12,345, 0.01234, 1.23e+08."""
    if value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}"
    return f"{value:.4g}" if 1e-4 <= abs(value) < 1e6 else f"{value:.2e}"
