"""A metric: a name with its variant, a definition with its source, and a function of sums."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from core.measures.rows import Row

Array = NDArray[np.float64]
# Sums of the rows' counts by name, each an array of any one shape: one number, or one for each bootstrap draw.
Totals = Mapping[str, Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """`name`: suite.metric@variant, such as bbq.s_amb@parrish2022.

    `value(totals)`: the figure from sums, NaN where it is undefined (never 0 in its stead). `columns(rows)`: of one
    cluster's valid rows, what is summed; None: the rows' own counts. `share`: (hits, trials) when the figure is a
    proportion hits / trials of independent items, for which exact bounds exist. `low`, `high`: the ends of
    its range. `neutral`: the figure of a model without the fault, where there is such a one. `better`: which way is
    good, "neutral": near `neutral`.
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


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval; None where it is undefined.

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
