"""A rate that a fallible detector saw, corrected for its sensitivity and specificity, with the uncertainty of both."""

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize, special

from core.measures.detector import Detector, Labelled
from core.measures.metric import Array, Estimate, Metric, Totals, ratio

__all__ = ["Detected", "Labelled", "corrected", "rogan_gladen"]

METHOD = "Rogan-Gladen (Lang-Reiczigel)"


def rogan_gladen(
    hits: float,
    n: float,
    *,
    sensitivity: Labelled,
    specificity: Labelled,
    confidence: float = 0.95,
    design_effect: float = 1.0,
) -> Estimate:
    """(p + Sp - 1) / (Se + Sp - 1) within 0 and 1 (Rogan and Gladen 1978), the interval of Lang and Reiczigel (2014).

    Undefined where the detector is no better than chance: then nothing can be said of the true rate."""
    trials = n / max(1.0, design_effect)
    items = round(n)

    def told(value: float | None, low: float | None, high: float | None, how: str) -> Estimate:
        return Estimate(value, low, high, confidence, items, items, items, how, design_effect)

    if n <= 0 or not sensitivity.n or not specificity.n:
        return told(None, None, None, "undefined")
    worth = sensitivity.rate + specificity.rate - 1
    low, high = _interval(hits / n, trials, sensitivity, specificity, confidence)
    if worth <= 0 or high is None:
        return told(None, None, None, "undefined: the detector is no better than chance")
    value = min(1.0, max(0.0, (hits / n + specificity.rate - 1) / worth))
    return told(value, min(low, value), max(high, value), METHOD)


def corrected(plain: Metric, sensitivity: Labelled, specificity: Labelled) -> Metric:
    """The share `plain` as it would be, had its detector made no mistakes; its intervals hold the uncertainty of both
    figures. Undefined where the detector is no better than chance."""
    assert plain.share is not None, "a rate of independent items is what a detector sees"
    detector = Detector(*plain.share, sensitivity, specificity)

    def value(totals: Totals) -> Array:
        seen = ratio(totals[detector.hits], totals[detector.trials])
        if not detector.worth > 0:
            return np.full(seen.shape, np.nan)
        return np.clip((seen + specificity.rate - 1) / detector.worth, 0.0, 1.0)

    return replace(
        plain,
        name=f"{plain.name}@corrected",
        title=f"{plain.title}, corrected",
        definition=f"{plain.definition} Corrected for the classifier's mistakes: it found {sensitivity.right} of "
        f"{sensitivity.n} labelled ones, and passed over {specificity.right} of {specificity.n} others.",
        source=f"{plain.source}; Rogan and Gladen 1978, Lang and Reiczigel 2014",
        value=value,
        share=None,
        detector=detector,
    )


@dataclass(frozen=True)
class Detected:
    """Of core.measures.laws.Law: what is known of a rate that a detector saw as `seen` in `trials`.

    Never more certain than a faultless detector that saw none (or all): by rule of three.
    """

    seen: float
    trials: float
    sensitivity: Labelled
    specificity: Labelled
    method: str = METHOD

    def upper(self, alpha: float) -> float:
        return max(self._end(-special.ndtri(alpha)), 1 - self._three(alpha))

    def lower(self, alpha: float) -> float:
        return min(self._end(special.ndtri(alpha)), self._three(alpha))

    def p_below(self, x: float) -> float:
        if x > 1 or x <= 0:
            return float(x <= 0)
        return max(float(special.ndtr(-self._where(x))), float((1 - x) ** self.trials))

    def p_above(self, x: float) -> float:
        if x < 0 or x >= 1:
            return float(x >= 1)
        return max(float(special.ndtr(self._where(x))), float(x**self.trials))

    def _three(self, alpha: float) -> float:
        return math.exp(math.log(alpha) / self.trials)

    def _end(self, z: float) -> float:
        return min(
            1.0, max(0.0, _bound(self.seen, self.trials, self.sensitivity, self.specificity, z))
        )

    def _where(self, x: float) -> float:
        """The z whose bound is x."""

        def over(z: float) -> float:
            return _bound(self.seen, self.trials, self.sensitivity, self.specificity, z) - x

        if over(-_FAR) >= 0:
            return -_FAR
        return _FAR if over(_FAR) <= 0 else float(optimize.brentq(over, -_FAR, _FAR))


# Bounds further out stop growing with z (few labelled lines make the interval bend); p-values go down to 3e-5.
_FAR = 4.0


def _interval(
    seen: float, trials: float, sensitivity: Labelled, specificity: Labelled, confidence: float
) -> tuple[float, float | None]:
    z = float(-special.ndtri((1 - confidence) / 2))
    low, high = (_bound(seen, trials, sensitivity, specificity, one) for one in (-z, z))
    if math.isnan(high):
        return 0.0, None
    return min(1.0, max(0.0, low)), min(1.0, max(0.0, high))


def _bound(
    seen: float, trials: float, sensitivity: Labelled, specificity: Labelled, z: float
) -> float:
    """The upper bound of Lang and Reiczigel's interval, the lower one for a negative z; NaN: no better than chance."""
    n = trials + z * z
    p = (trials * seen + z * z / 2) / n
    n_se, n_sp = sensitivity.n + 2, specificity.n + 2
    se, sp = (sensitivity.right + 1) / n_se, (specificity.right + 1) / n_sp
    worth = se + sp - 1
    if worth <= 0:
        return math.nan
    true = (p + sp - 1) / worth
    of_se, of_sp = se * (1 - se) / n_se, sp * (1 - sp) / n_sp
    middle = true + 2 * z * z * (true * of_se - (1 - true) * of_sp)
    spread = p * (1 - p) / n + true**2 * of_se + (1 - true) ** 2 * of_sp
    return middle + z * math.sqrt(spread) / worth
