"""Many tests at once: Holm where a false alarm blocks, Benjamini and Hochberg where one explores."""

from collections.abc import Sequence

import numpy as np


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p-values in the order given (Holm 1979): reject those below alpha, and the chance of any false
    rejection is at most alpha, however the tests depend on each other."""
    values = np.asarray(p, float)
    order, m = values.argsort(), len(values)
    steps = np.maximum.accumulate((m - np.arange(m)) * values[order])
    return _placed(steps, order)


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """Adjusted p-values in the order given (1995): of those below q at most a share q are false, on average."""
    values = np.asarray(p, float)
    order, m = values.argsort()[::-1], len(values)
    steps = np.minimum.accumulate(values[order] * m / np.arange(m, 0, -1))
    return _placed(steps, order)


def _placed(steps: np.ndarray, order: np.ndarray) -> list[float]:
    adjusted = np.empty(len(steps))
    adjusted[order] = np.minimum(steps, 1.0)
    return [float(one) for one in adjusted]
