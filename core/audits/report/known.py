"""What is known of a figure that an audit kept: title, definition, which way is good, how it comes of counts.

The audit's own words stand before those of today's suites: an audit outlives them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.audits.suite import Suite
from core.measures.metric import Array, Metric, Totals

Suites = Mapping[str, Suite]


@dataclass(frozen=True, slots=True)
class Known:
    """`suites`, `metrics`: by name."""

    suites: Suites
    metrics: Mapping[str, Metric]

    def about(self, name: str) -> dict[str, Any]:
        """What a reader needs to know of a figure; there may be no more than its name."""
        found = self.metrics.get(name)
        return {
            "title": found.title if found else name,
            "definition": found.definition if found else None,
            "source": found.source if found else None,
            "better": found.better if found else None,
            "unit": found.unit if found else "",
            "neutral": found.neutral if found else None,
            "range": [found.low, found.high] if found else [None, None],
        }

    def about_suite(self, name: str) -> dict[str, Any]:
        found = self.suites.get(name)
        gone = "This version of Penstock no longer has this suite, so its own limits are not shown."
        return {
            "title": found.title if found else name,
            "about": found.about if found else None,
            "source": found.source if found else None,
            "licence": found.licence if found else None,
            "limits": list(found.limits) if found else [gone],
        }


def known(suites: Suites, findings: Mapping[str, Any]) -> Known:
    """`findings["metrics"]`, by name: {title, definition, source, better, unit, neutral, low, high, share}."""
    asked = [suites[one["suite"]] for one in findings.get("suites", []) if one["suite"] in suites]
    of_today = {metric.name: metric for suite in asked for metric in suite.metrics}
    told = {name: _told(name, said) for name, said in findings.get("metrics", {}).items()}
    return Known(suites, told | of_today)


def _told(name: str, said: Mapping[str, Any]) -> Metric:
    """A metric of a suite that was fitted to its files: of a share the figure can be made again."""
    share = said.get("share")

    def value(totals: Totals) -> Array:
        if not share:
            return np.full(np.shape(next(iter(totals.values()), 0.0)), np.nan)
        with np.errstate(all="ignore"):
            return np.asarray(totals[share[0]] / totals[share[1]], dtype=float)

    return Metric(
        name=name, title=said.get("title") or name, definition=said.get("definition") or "",
        source=said.get("source") or "", value=value, better=said.get("better") or "higher",
        low=said.get("low"), high=said.get("high"), neutral=said.get("neutral"),
        unit=said.get("unit") or "",
    )  # fmt: skip
