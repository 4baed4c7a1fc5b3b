"""Curves as SVG for a page that stands alone: no scripts, colours from the page's own style sheet."""

from collections.abc import Sequence
from html import escape

from core.drawing.scale import Scale, scale, short, ticks
from infra.cli.plot import Curve, Point

WIDTH, HEIGHT = 720, 260
LEFT, RIGHT, TOP, BOTTOM = 62, 132, 14, 34
# More points than this are not seen apart, and make a page of megabytes.
MOST = 1500
# Two lines of text and a little air.
APART = 32
# For readers that have no style sheet; one overrules them.
COLOURS = {"one": "#1f6feb", "two": "#c2570c"}


def figure(title: str, curves: Sequence[Curve], mark: tuple[Point, str] | None = None) -> str:
    """One chart with its title; "" when it has no point. A curve's `style` is the CSS class of its line.

    `mark`: a point worth finding, and what to call it.
    """
    shown = [curve for curve in curves if curve.drawn]
    if not shown:
        return ""
    points = [point for curve in shown for point in curve.drawn]
    xs, ys = scale([x for x, _ in points], log=False), scale([y for _, y in points])
    body = [*_grid(xs, ys), *(part for curve in shown for part in _line(curve, xs, ys))]
    body += _names(shown, ys)
    body += [] if mark is None else [_mark(*mark, xs, ys)]
    note = " <small>(logarithmic)</small>" if ys.log else ""
    head = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-size="12"'
    return (
        f"<figure><figcaption>{escape(title)}{note}</figcaption>"
        f'<svg {head} role="img" aria-label="{escape(title, quote=True)}">{"".join(body)}</svg></figure>'
    )


def _mark(point: Point, said: str, xs: Scale, ys: Scale) -> str:
    at = f'cx="{_x(xs, point[0]):.1f}" cy="{_y(ys, point[1]):.1f}" r="6"'
    ring = f'fill="none" stroke="{COLOURS["two"]}" stroke-width="2"'
    return f'<circle class="mark" {ring} {at}><title>{escape(said)}</title></circle>'


def _x(xs: Scale, value: float) -> float:
    return LEFT + xs.at(value) * (WIDTH - LEFT - RIGHT)


def _y(ys: Scale, value: float) -> float:
    return TOP + (1 - ys.at(value)) * (HEIGHT - TOP - BOTTOM)


def _grid(xs: Scale, ys: Scale) -> list[str]:
    out = []
    for value in ticks(ys):
        y = _y(ys, value)
        out.append(
            f'<line class="grid" stroke="#d5d9e0" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="y" text-anchor="end" x="{LEFT - 8}" y="{y + 4:.1f}">{short(value)}</text>'
        )
    out += [
        f'<text class="x" text-anchor="middle" x="{_x(xs, step):.1f}" y="{HEIGHT - BOTTOM + 18}">'
        f"{short(step)}</text>"
        for step in ticks(xs, 7)
        if step == int(step)
    ]
    middle = (LEFT + WIDTH - RIGHT) / 2
    out.append(
        f'<text class="x" text-anchor="middle" x="{middle:.0f}" y="{HEIGHT - 2}">step</text>'
    )
    return out


def _line(curve: Curve, xs: Scale, ys: Scale) -> list[str]:
    kept = thinned(curve.drawn)
    path = " ".join(f"{_x(xs, x):.1f},{_y(ys, y):.1f}" for x, y in kept)
    colour = COLOURS[curve.style]
    out = [
        f'<polyline class="{curve.style}" fill="none" stroke="{colour}" stroke-width="1.8" points="{path}"/>'
    ]
    if curve.marked or len(kept) == 1:
        out += [
            f'<circle class="{curve.style}" fill="{colour}" cx="{_x(xs, x):.1f}" cy="{_y(ys, y):.1f}" r="3.5">'
            f"<title>step {x:g}: {short(y)}</title></circle>"
            for x, y in kept
        ]
    return out


def thinned(points: Sequence[Point]) -> list[Point]:
    """At most MOST of them: of each stretch its lowest and its highest, so that no spike is lost."""
    if len(points) <= MOST:
        return list(points)
    size = -(-len(points) // (MOST // 2))
    out: list[Point] = []
    for start in range(0, len(points), size):
        stretch = points[start : start + size]
        ends = {min(stretch, key=lambda p: p[1]), max(stretch, key=lambda p: p[1])}
        out += sorted(ends)
    return out


def _names(curves: Sequence[Curve], ys: Scale) -> list[str]:
    """Each curve's name and last value at its end; names that would lie on each other move apart."""
    ends = sorted(((_y(ys, c.drawn[-1][1]), c) for c in curves), key=lambda end: end[0])
    bottom = HEIGHT - BOTTOM - 14 - APART * (len(ends) - 1)
    out, at = [], float("-inf")
    for number, (y, curve) in enumerate(ends):
        at = min(max(y, at + APART, TOP + 8), bottom + APART * number)
        x = WIDTH - RIGHT + 10
        out.append(
            f'<text class="name {curve.style}" fill="{COLOURS[curve.style]}" x="{x}" y="{at:.1f}">'
            f'{escape(curve.name)}<tspan x="{x}" dy="14">{short(curve.drawn[-1][1])}</tspan></text>'
        )
    return out
