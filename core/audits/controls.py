"""Responders whose scores are known: a suite that gives them another figure measures something else."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from core.audits.chosen import Asked
from core.audits.suite import Control
from core.measures.metric import Metric
from core.measures.rows import Row
from core.measures.sums import gathered

# Sums of floats in another order differ in their last digits.
_CLOSE = 1e-9


@dataclass(frozen=True, slots=True)
class Held:
    """How a control came out; `misses`: what it should have been and was, in words."""

    name: str
    misses: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.misses


def held(asked: Asked, alive: Callable[[], None]) -> list[Held]:
    """Score every control's answers to these very items. Takes seconds for many: called in a thread."""
    return [_held(asked, control, alive) for control in asked.suite.controls(asked.items)]


def _held(asked: Asked, control: Control, alive: Callable[[], None]) -> Held:
    rows = []
    for number, item in enumerate(asked.items):
        rows.append(asked.suite.score(item, control.answer(item)))
        if number % 500 == 0:
            alive()
    metrics = {metric.name: metric for metric in asked.suite.metrics}
    misses = [
        f"{name} is {_said(found)}, must be {_said(wanted)}"
        for name, wanted in control.expected.items()
        for found in [figure(metrics[name], rows)]
        if not _same(found, wanted)
    ]
    rate = sum(row.valid for row in rows) / len(rows) if rows else 0.0
    if not _same(rate, control.valid_rate):
        misses.append(f"the valid rate is {_said(rate)}, must be {_said(control.valid_rate)}")
    return Held(control.name, tuple(misses))


def figure(metric: Metric, rows: list[Row]) -> float | None:
    """The figure alone, without an interval; None where it is undefined."""
    sums = gathered(metric, rows)
    if not sums.clusters:
        return None
    value = float(np.asarray(sums.value(metric)))
    return value if math.isfinite(value) else None


def _same(found: float | None, wanted: float | None) -> bool:
    if found is None or wanted is None:
        return found is wanted
    return math.isclose(found, wanted, rel_tol=_CLOSE, abs_tol=_CLOSE)


def _said(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.9g}"
