"""Intervals as inline SVG: places are shares of the width, so that letters and marks keep their size on any screen.

Colours come from the page's style sheet by class; there is no style attribute, which its security policy forbids.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from core.audits.report.axes import scale_of
from core.drawing.scale import Scale, short, ticks

# Shares of the width that are left free at both ends, for half a mark or half a number.
EDGE = 3.0
ROW, TALL, AXIS = 26, 62, 20
_SHAPES = {
    "PASS": '<circle cx="12" cy="12" r="11"/><path class="on" d="M6.5 12.5l3.8 3.8 7.2-8"/>',
    "FAIL": '<path d="M7.4 1h9.2L23 7.4v9.2L16.6 23H7.4L1 16.6V7.4z"/>'
    '<path class="on" d="M7.5 7.5l9 9m0-9l-9 9"/>',
    "INCONCLUSIVE": '<path d="M12 .8 23.2 12 12 23.2.8 12z"/>'
    '<path class="on" d="M9 9.6a3 3 0 1 1 4.6 2.5c-1 .7-1.6 1.2-1.6 2.4m0 2.2v.9"/>',
    "INVALID": '<rect x="1.5" y="1.5" width="21" height="21" rx="2"/><path class="on" d="M6 18 18 6"/>',
}


def badge(verdict: str, size: int = 18) -> Markup:
    """A shape of its own for each verdict: colour alone tells nothing to who does not see it."""
    return Markup(
        '<svg class="badge {0}" width="{1}" height="{1}" viewBox="0 0 24 24" aria-hidden="true">{2}</svg>'
    ).format(verdict, size, Markup(_SHAPES[verdict]))  # noqa: S704 - a constant of this module


class _Axis:
    def __init__(self, ends: Mapping[str, float]) -> None:
        self.scale: Scale = scale_of(ends)

    def at(self, value: float) -> str:
        """Where a value stands, in percent of the width; what lies beyond the axis stands at its end."""
        share = min(max(self.scale.at(value), 0.0), 1.0)
        return f"{EDGE + share * (100 - 2 * EDGE):.2f}%"

    def between(self, low: float, high: float) -> tuple[str, str]:
        """x and width."""
        left, right = (float(self.at(v)[:-1]) for v in (low, high))
        return f"{left:.2f}%", f"{max(right - left, 0.0):.2f}%"


def check(one: Mapping[str, Any]) -> Markup:
    """A check: its interval, the bound that is judged, its limits, and hatched what lies beyond them."""
    if one["axis"] is None or not (one.get("estimate") or one.get("comparison")):
        return Markup("")
    axis = _Axis(one["axis"])
    compared = one.get("comparison")
    of = {**compared, "value": compared["delta"]} if compared else one.get("estimate")
    neutral = 0.0 if compared else one["neutral"]
    parts = [*_beyond(axis, one, TALL - AXIS)]
    parts += _neutral(axis, neutral, TALL - AXIS)
    parts += [_limit(axis, value, TALL - AXIS) for value in one["limit_marks"]]
    parts += _interval(axis, of, (TALL - AXIS) / 2 + 4)
    if one.get("bound") is not None and not compared:
        parts.append(_bound(axis, one["bound"], (TALL - AXIS) / 2 + 4))
    parts += _numbers(axis, TALL - 6, one["limit_marks"])
    return _svg(TALL, _told(one["title"], of, one["limit_marks"]), parts)


def row(
    plot: Mapping[str, Any], estimate: Mapping[str, Any] | None, name: str, of: str = "group"
) -> Markup:
    """One line of a forest plot. `of`: group, or whole for the figure over all of them."""
    if plot["axis"] is None:
        return Markup("")
    axis = _Axis(plot["axis"])
    parts = _neutral(axis, plot["neutral"], ROW)
    parts += [_limit(axis, value, ROW) for value in plot["limits"]]
    parts += _interval(axis, estimate, ROW / 2, of)
    return _svg(ROW, _told(name, estimate, plot["limits"]), parts)


def numbers(plot: Mapping[str, Any]) -> Markup:
    """The axis below a forest plot."""
    if plot["axis"] is None:
        return Markup("")
    axis = _Axis(plot["axis"])
    return _svg(AXIS, "", _numbers(axis, 14, plot["limits"]))


def disparity(one: Mapping[str, Any]) -> Markup:
    """The gap between groups on the band that it has in 95 of 100 shuffles of the groups: within it, it is chance."""
    if one["axis"] is None or one["gap"] is None:
        return Markup("")
    axis = _Axis(one["axis"])
    parts: list[Markup] = []
    if one["null_95"] is not None:
        x, width = axis.between(0.0, one["null_95"])
        parts.append(_rect("null", x, width, 4, 18))
    parts += [_mark(axis, one["gap"], 13, "group"), *_numbers(axis, 38, [])]
    said = f"{one['title']}: gap {short(one['gap'])}"
    if one["null_95"] is not None:
        said += f", by chance up to {short(one['null_95'])}"
    return _svg(44, said, parts)


def bar(value: float, most: float, name: str) -> Markup:
    """A bar from the middle: to the right for what raises, to the left for what lowers."""
    half = 48 * min(abs(value) / most, 1.0) if most else 0.0
    x, width = (50.0, half) if value >= 0 else (50 - half, half)
    parts = [
        _rect("up" if value >= 0 else "down", f"{x:.2f}%", f"{width:.2f}%", 6, 12),
        Markup('<line class="zero" x1="50%" x2="50%" y1="2" y2="22"/>'),
    ]
    return _svg(24, f"{name}: {short(value)}", parts)


def _svg(height: int, said: str, parts: Sequence[Markup]) -> Markup:
    """`said`: the picture in words, for who hears the page; "" where the words stand beside it."""
    label = (
        Markup('role="img" aria-label="{}"').format(said) if said else Markup('aria-hidden="true"')
    )
    return Markup('<svg class="plot" width="100%" height="{}" {}>{}</svg>').format(
        height, label, Markup("").join(parts)
    )


def _told(name: str, of: Mapping[str, Any] | None, limits: Sequence[float]) -> str:
    if of is None or of["value"] is None:
        return f"{name}: undefined"
    said = f"{name}: {short(of['value'])}"
    if of["low"] is not None and of["high"] is not None:
        said += f", interval from {short(of['low'])} to {short(of['high'])}"
    return said + (f", limit {' and '.join(map(short, limits))}" if limits else "")


def _beyond(axis: _Axis, one: Mapping[str, Any], height: int) -> list[Markup]:
    """The sides of the limits on which a figure must not lie."""
    ends, limits = axis.scale, one["limit_marks"]
    if not limits:
        return []
    given = one["limit"]
    if "noninferior" in given:
        above = limits[0] > 0
    sides = []
    if "max" in given or "abs_max" in given or ("noninferior" in given and above):
        sides.append((limits[-1], ends.high))
    if "min" in given or "abs_max" in given or ("noninferior" in given and not above):
        sides.append((ends.low, limits[0]))
    return [_rect("beyond", *axis.between(low, high), 2, height - 2) for low, high in sides]


def _rect(of: str, x: str, width: str, y: float, height: float) -> Markup:
    return Markup('<rect class="{}" x="{}" width="{}" y="{:g}" height="{:g}"/>').format(
        of, x, width, y, height
    )


def _line(of: str, x: str, y1: float, y2: float) -> Markup:
    return Markup('<line class="{0}" x1="{1}" x2="{1}" y1="{2:g}" y2="{3:g}"/>').format(
        of, x, y1, y2
    )


def _limit(axis: _Axis, value: float, height: float) -> Markup:
    return _line("limit", axis.at(value), 0, height)


def _neutral(axis: _Axis, value: float | None, height: float) -> list[Markup]:
    inside = value is not None and axis.scale.low <= value <= axis.scale.high
    return [_line("neutral", axis.at(value), 0, height)] if inside and value is not None else []


def _interval(
    axis: _Axis, of: Mapping[str, Any] | None, y: float, kind: str = "group"
) -> list[Markup]:
    if of is None or of["value"] is None:
        return [Markup('<text class="none" x="50%" y="{:g}">undefined</text>').format(y + 4)]
    out = []
    if of["low"] is not None and of["high"] is not None:
        left, right = axis.at(of["low"]), axis.at(of["high"])
        out.append(
            Markup('<line class="reach" x1="{}" x2="{}" y1="{:g}" y2="{:g}"/>').format(
                left, right, y, y
            )
        )
        out += [_line("reach", end, y - 5, y + 5) for end in (left, right)]
    return [*out, _mark(axis, of["value"], y, kind)]


def _mark(axis: _Axis, value: float, y: float, kind: str) -> Markup:
    if kind == "whole":
        return Markup(
            '<svg x="{}" y="{:g}" overflow="visible"><path class="whole" d="M0-7 7 0 0 7-7 0z"/></svg>'
        ).format(axis.at(value), y)
    return Markup('<circle class="at" cx="{}" cy="{:g}" r="5"/>').format(axis.at(value), y)


def _bound(axis: _Axis, value: float, y: float) -> Markup:
    return Markup(
        '<svg x="{}" y="{:g}" overflow="visible"><path class="bound" d="M-5-15h10l-5 8z"/></svg>'
    ).format(axis.at(value), y)


def _numbers(axis: _Axis, y: float, limits: Sequence[float]) -> list[Markup]:
    """Round values, and the limits instead of what stands too near to them."""
    span = axis.scale.high - axis.scale.low
    kept = [t for t in ticks(axis.scale) if all(abs(t - m) > span * 0.12 for m in limits)]
    out = [
        Markup('<text class="x" x="{}" y="{:g}">{}</text>').format(axis.at(t), y, short(_round(t)))
        for t in kept
    ]
    return out + [
        Markup('<text class="x limit" x="{}" y="{:g}">{}</text>').format(axis.at(m), y, short(m))
        for m in limits
    ]


def _round(value: float) -> float:
    """Without the dust of 3 * 0.1."""
    return float(f"{value:.10g}")
