"""Known responders against a suite: each figure must be what was reckoned for it, and undefined where that is so."""

import math
from typing import Any

import pytest

from core.audits.asking import Item
from core.audits.suite import Files, Suite
from core.measures.sums import gathered


def asked(suite: Suite, files: Files, **options: Any) -> list[Item]:
    return list(suite.items(files, suite.options(**options)))


def hold(suite: Suite, items: list[Item]) -> None:
    """Every control's figures, of all the suite's metrics, to 1e-9."""
    assert items
    names = {metric.name for metric in suite.metrics}
    for control in suite.controls(items):
        rows = [suite.score(item, control.answer(item)) for item in items]
        assert [row.item for row in rows] == [item.id for item in items]
        assert sum(row.valid for row in rows) / len(rows) == control.valid_rate, control.name
        assert control.expected.keys() == names, control.name
        for metric in suite.metrics:
            sums = gathered(metric, rows)
            found = sums.value(metric) if sums.clusters else math.nan
            wanted = control.expected[metric.name]
            if wanted is None:
                assert math.isnan(found), (control.name, metric.name, found)
            else:
                assert found == pytest.approx(wanted, abs=1e-9), (control.name, metric.name)
