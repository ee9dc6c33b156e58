"""Small lines of a value over the nights, as images that are readable on light and dark pages."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence
from statistics import median

from kswatch.dashboard.charts.palette import BAD, GOOD, QUIET
from kswatch.dashboard.formatting.labels import ratio

WIDTH, HEIGHT, EDGE = 180, 36, 3
FEWEST_POINTS = 3

_STYLE = (
    f"<style>polyline{{fill:none;stroke:{GOOD};stroke-width:1.5}}circle{{fill:{GOOD}}}"
    f".quiet{{stroke:{QUIET};stroke-dasharray:2 3}}"
    f".level{{stroke:{QUIET};stroke-width:2}}.after{{stroke:{BAD};stroke-width:2}}</style>"
)


def sparkline(values: Sequence[float], show: Callable[[float], str] = ratio, step: int | None = None) -> str:
    """The values as an image, the oldest first; empty for fewer than `FEWEST_POINTS`.

    Args:
        values: of successive nights; a dashed line is drawn at 1 where they lie on both sides of it.
        show: the text of a value, for the title.
        step: index of the first value after a change: both medians are drawn as lines, and the night as a
            dashed one.
    """
    if len(values) < FEWEST_POINTS:
        return ""
    svg = _drawing(values, step)
    title = (
        f"{len(values)} nights, first {show(values[0])}, last {show(values[-1])}, "
        f"range {show(min(values))} to {show(max(values))}"
    )
    packed = b64encode(svg.encode()).decode()
    size = f'width="{WIDTH}" height="{HEIGHT}"'
    return f'<img {size} src="data:image/svg+xml;base64,{packed}" alt="{title}" title="{title}">'


def _drawing(values: Sequence[float], step: int | None) -> str:
    low, high = min(values), max(values)
    spread = (high - low) or 1.0
    width, height = WIDTH - 2 * EDGE, HEIGHT - 2 * EDGE

    def x(place: float) -> float:
        return EDGE + width * place / (len(values) - 1)

    def y(value: float) -> float:
        return EDGE + height * (high - value) / spread

    line = " ".join(f"{x(place):.1f},{y(value):.1f}" for place, value in enumerate(values))
    parts = [
        f'<polyline points="{line}"/>',
        f'<circle cx="{x(len(values) - 1):.1f}" cy="{y(values[-1]):.1f}" r="2.5"/>',
    ]
    if step is not None and 0 < step < len(values):
        before, after = median(values[:step]), median(values[step:])
        night = x(step - 0.5)
        parts += [
            _line("level", 0, night, y(before), y(before)),
            _line("after", night, WIDTH, y(after), y(after)),
            _line("quiet", night, night, 0, HEIGHT),
        ]
    elif low <= 1 <= high:
        parts.insert(0, _line("quiet", 0, WIDTH, y(1), y(1)))
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}">'
    return f"{opening}{_STYLE}{''.join(parts)}</svg>"


def _line(kind: str, left: float, right: float, first: float, last: float) -> str:
    return f'<line class="{kind}" x1="{left:.1f}" x2="{right:.1f}" y1="{first:.1f}" y2="{last:.1f}"/>'
