"""A metric: a name with its variant, a definition with its source, and a function of sums."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from core.measures.detector import Detector
from core.measures.rows import Row

Array = NDArray[np.float64]
# Sums of the rows' counts by name, each an array of any one shape: one number, or one for each bootstrap draw.
# A name that no row counted is 0.
Totals = Mapping[str, Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """`name`: suite.metric@variant, such as bbq.s_amb@parrish2022.

    `value(totals)`: the figure from sums, NaN where it is undefined (never 0 in its stead). `columns(rows)`: of one
    cluster's valid rows, what is summed; None: the rows' own counts. `share`: (hits, trials) when the figure is a
    proportion hits / trials of independent items, for which exact bounds exist. `low`, `high`: the ends of
    its range. `neutral`: the figure of a model without the fault, where there is such a one. `better`: which way is
    good, "neutral": near `neutral`. `where`: a dimension and its value: the figure is of these rows alone; rows
    without that dimension are taken.

    A largest difference or a distance is raised by noise alone, and no bootstrap of it takes that off. `sides(totals)`:
    the plain figures, stacked along a first axis, of which it is the largest (for better="higher" the smallest): its
    bounds are theirs together. `folded`: there are none such; the figure is shown without an interval. `detector`: what
    saw the hits, when the figure corrects for its mistakes (core.measures.corrected).
    """

    name: str
    title: str
    definition: str
    source: str
    value: Callable[[Totals], Array]
    better: Literal["lower", "higher", "neutral"]
    columns: Callable[[Sequence[Row]], Mapping[str, float]] | None = None
    share: tuple[str, str] | None = None
    low: float | None = None
    high: float | None = None
    neutral: float | None = None
    unit: str = ""
    where: tuple[str, str] | None = None
    sides: Callable[[Totals], Array] | None = None
    folded: bool = False
    detector: Detector | None = None

    def takes(self, row: Row) -> bool:
        return self.where is None or row.groups.get(self.where[0], self.where[1]) == self.where[1]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval; None where it is undefined, or has no end.

    `n`: items, of which `valid` could be read, in `clusters`; `method`: how the interval was made; `design_effect`:
    clustered variance over the naive one; `detectable`: the smallest difference that this many would show with a
    power of 0.8.
    """

    value: float | None
    low: float | None
    high: float | None
    confidence: float
    n: int
    valid: int
    clusters: int
    method: str
    design_effect: float | None = None
    detectable: float | None = None

    @property
    def valid_rate(self) -> float | None:
        return self.valid / self.n if self.n else None


def ratio(part: Array, whole: Array) -> Array:
    """part / whole, NaN where there is no whole."""
    part, whole = np.broadcast_arrays(np.asarray(part, float), np.asarray(whole, float))
    out: Array = np.full(whole.shape, np.nan)
    np.divide(part, whole, out=out, where=whole != 0)
    return out


def share(hits: str, trials: str) -> Callable[[Totals], Array]:
    return lambda totals: ratio(totals[hits], totals[trials])


def by_group(totals: Totals, name: str) -> dict[str, Array]:
    """Of the counts called name[group]: the sums by group, in the order of the groups' names."""
    start = f"{name}["
    found = sorted(key for key in totals if key.startswith(start) and key.endswith("]"))
    return {key[len(start) : -1]: totals[key] for key in found}


def differences(values: Sequence[Array]) -> Array:
    """Of each ordered pair the first minus the second, stacked along a first axis."""
    if len(values) < 2:
        return np.full((1, *np.shape(values[0] if values else 0.0)), np.nan)
    return np.stack([one - other for one, other in permutations(values, 2)])


def largest(sides: Array) -> Array:
    """Along the first axis, of those that are defined; NaN where none is."""
    live = np.isfinite(sides)
    return np.where(live.any(axis=0), np.where(live, sides, -np.inf).max(axis=0), np.nan)


def signed(parts: Array) -> Array:
    """Of parts stacked along a first axis, the sums under every choice of signs: the largest is the sum of absolute
    values. At most 10 parts: 1,024 choices."""
    signs = np.array(list(product((-1.0, 1.0), repeat=len(parts))))
    return np.tensordot(signs, parts, axes=1)
