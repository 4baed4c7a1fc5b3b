"""A fallible detector, as far as it was measured: what turns the rate that it saw into the rate that there is."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Labelled:
    """How a detector did on a file with known labels: `right` of `n`, among positives or among negatives."""

    right: int
    n: int

    @property
    def rate(self) -> float:
        return self.right / self.n if self.n else math.nan


@dataclass(frozen=True, slots=True)
class Detector:
    """It saw the count `hits` among the count `trials`."""

    hits: str
    trials: str
    sensitivity: Labelled
    specificity: Labelled

    @property
    def worth(self) -> float:
        """Youden's J: 1 for a faultless detector, 0 for a coin; NaN where it was not measured."""
        return self.sensitivity.rate + self.specificity.rate - 1
