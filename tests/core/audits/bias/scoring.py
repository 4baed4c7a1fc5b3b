"""What the tests of bias suites ask of every suite: items of a file, and figures from answers."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from core.audits.asking import Answer, Item
from core.audits.suite import Suite
from core.measures.rows import Row
from core.measures.sums import gathered

TOLERANCE = 1e-9


def items_of(suite: Suite, files: Mapping[str, Path] | None = None, **options: Any) -> list[Item]:
    return list(suite.items(files or {}, suite.options(**options)))


def figures(suite: Suite, rows: list[Row]) -> dict[str, float | None]:
    found = {metric.name: gathered(metric, rows).value(metric) for metric in suite.metrics}
    return {name: None if math.isnan(value) else value for name, value in found.items()}


def answered(suite: Suite, items: list[Item], answer: Callable[[Item], Answer]) -> list[Row]:
    return [suite.score(item, answer(item)) for item in items]


def assert_controls_exact(suite: Suite, items: list[Item]) -> None:
    """Each known responder scores what it must, in each metric of the suite and in its valid rate."""
    for control in suite.controls(items):
        rows = answered(suite, items, control.answer)
        assert set(control.expected) == {metric.name for metric in suite.metrics}, control.name
        for name, value in figures(suite, rows).items():
            expected = control.expected[name]
            where = f"{suite.name} {control.name} {name}: {value}, expected {expected}"
            if expected is None or value is None:
                assert value is expected, where
            else:
                assert abs(value - expected) < TOLERANCE, where
        valid = sum(row.valid for row in rows) / len(rows)
        assert abs(valid - control.valid_rate) < TOLERANCE, control.name
