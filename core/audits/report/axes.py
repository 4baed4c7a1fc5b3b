"""The ends of each plot's axis: they are part of the report, so that every reader draws the same picture."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from core.drawing.scale import Scale, scale

# Air at both ends, as a share of what is shown.
AIR = 0.08


def axis(
    estimates: Iterable[Mapping[str, Any] | None], marks: Iterable[float | None], of: list[Any]
) -> dict[str, float] | None:
    """An axis that holds these intervals and marks (limits, the neutral value), within the metric's range `of`.

    None where there is nothing to show.
    """
    ends = [e[name] for e in estimates if e for name in ("low", "value", "high")]
    values = [float(v) for v in (*ends, *marks) if v is not None and math.isfinite(v)]
    if not values:
        return None
    found = scale(values, log=False)
    air = (found.high - found.low) * AIR
    low, high = found.low - air, found.high + air
    if of[0] is not None and min(values) >= of[0]:
        low = max(low, of[0] - air / 4)
    if of[1] is not None and max(values) <= of[1]:
        high = min(high, of[1] + air / 4)
    return {"low": low, "high": high}


def scale_of(given: Mapping[str, float]) -> Scale:
    return Scale(given["low"], given["high"])


def marks(limit: Mapping[str, Any]) -> list[float]:
    """Where a limit stands on the axis of its figure; a margin stands on that of a difference."""
    found = [limit[name] for name in ("min", "max") if limit.get(name) is not None]
    if limit.get("abs_max") is not None:
        centre = limit.get("center", 0.0)
        found += [centre - limit["abs_max"], centre + limit["abs_max"]]
    return [float(value) for value in found]
