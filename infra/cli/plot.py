"""Curves in a terminal: dots of braille, two across and four down in each character."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich.text import Text

from core.drawing.scale import Scale, scale

Point = tuple[float, float]
_BLANK = 0x2800
# The bit of each dot in a character, by its column and row.
_BITS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_MARGIN = 9


@dataclass(frozen=True)
class Curve:
    """`points`: (x, y) by rising x; those that are not finite are left out. `marked`: a dot thick at each point."""

    name: str
    points: Sequence[Point]
    style: str
    marked: bool = False

    @property
    def drawn(self) -> list[Point]:
        return [p for p in self.points if math.isfinite(p[0]) and math.isfinite(p[1])]


def chart(curves: Sequence[Curve], width: int, height: int) -> Text:
    """The curves with their axes and names, `width` characters wide and `height` lines high, the last two for
    the x axis and the names. Later curves lie on top. Empty as long as there is no point."""
    points = [p for curve in curves for p in curve.drawn]
    if not points:
        return Text()
    across, down = max(width - _MARGIN - 1, 8), max(height - 2, 2)
    xs, ys = scale([x for x, _ in points], log=False), scale([y for _, y in points])
    dots = [[0] * across for _ in range(down)]
    styles = [[""] * across for _ in range(down)]
    for curve in curves:
        for column, row in _dots(curve, xs, ys, across * 2, down * 4):
            dots[row // 4][column // 2] |= _BITS[column % 2][row % 4]
            styles[row // 4][column // 2] = curve.style
    out = Text()
    for number in range(down):
        out.append(_label(ys, number, down), style="dim")
        for bits, style in zip(dots[number], styles[number], strict=True):
            out.append(chr(_BLANK + bits), style=style)
        out.append("\n")
    out.append_text(_foot(xs, ys, across))
    out.append_text(_names(curves))
    return out


def _dots(curve: Curve, xs: Scale, ys: Scale, width: int, height: int) -> set[tuple[int, int]]:
    """The dots of a curve: its points and the straight lines between them."""
    placed = [
        (round(xs.at(x) * (width - 1)), round((1 - ys.at(y)) * (height - 1)))
        for x, y in curve.drawn
    ]
    found = set(placed)
    for (x, y), (to_x, to_y) in pairwise(placed):
        steps = max(abs(to_x - x), abs(to_y - y), 1)
        found |= {
            (round(x + (to_x - x) * n / steps), round(y + (to_y - y) * n / steps))
            for n in range(steps + 1)
        }
    if curve.marked:
        found |= {
            (x + dx, y + dy)
            for x, y in placed
            for dx in (0, 1)
            for dy in (0, 1)
            if x + dx < width and y + dy < height
        }
    return found


def _label(ys: Scale, row: int, down: int) -> str:
    """The value of this line at the left, for the first, the middle and the last."""
    if row not in (0, down // 2, down - 1):
        return " " * (_MARGIN - 2) + " ┤"
    at = 1 - (row + 0.5) / down
    at = 1.0 if row == 0 else 0.0 if row == down - 1 else at
    return f"{_short(ys.value(at)):>{_MARGIN - 2}} ┤"


def _foot(xs: Scale, ys: Scale, across: int) -> Text:
    left, right = _short(xs.low), f"step {_short(xs.high)}"
    middle = "log scale" if ys.log else ""
    gap = max(across - len(left) - len(right), len(middle) + 2)
    return Text(f"{' ' * _MARGIN}{left}{middle.center(gap)}{right}\n", style="dim")


def _names(curves: Sequence[Curve]) -> Text:
    out = Text(" " * _MARGIN)
    for curve in curves:
        if found := curve.drawn:
            out.append("━━ ", style=curve.style)
            out.append(f"{curve.name} {_short(found[-1][1])}   ")
    out.append("\n")
    return out


def _short(value: float) -> str:
    """At most seven characters."""
    if value == int(value) and abs(value) < 10_000_000:
        return str(int(value))
    return f"{value:.4g}" if 0.001 <= abs(value) < 1e6 else f"{value:.1e}"
