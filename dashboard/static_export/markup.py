"""Plain HTML and SVG: style, tables and sparklines, all text escaped."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from html import escape

from kswatch.dashboard.charts.palette import GOOD, QUIET
from kswatch.dashboard.formatting.labels import ratio

SPARK_WIDTH, SPARK_HEIGHT, SPARK_EDGE = 180, 36, 3
FEWEST_POINTS = 3
MOST_CHARACTERS = 300
"""Of one stored text; the rest is cut off."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --dim: #5b6675; --line: #d5dae1; --page: #fff;
  --blue: #1f56b3; --bad: #a4271b; --good: #1a6b3c }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --dim: #9aa5b4; --line: #39424e;
  --page: #12161c; --blue: #7ba6f0; --bad: #ff9b8f; --good: #7fd6a0 } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 1100px;
  margin: 0 auto; padding: 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.2rem; margin-top: 2rem } h3 { margin: 0 }
.dim { color: var(--dim) } .slower, .open { color: var(--bad) } .faster { color: var(--good) }
.cards { display: flex; flex-wrap: wrap; gap: 1rem }
.card { border: 1px solid var(--line); border-radius: 6px; padding: .8rem 1rem; flex: 1 1 28rem;
  min-width: 0 }
.badge { border: 1px solid currentColor; border-radius: 4px; padding: 0 .4em; font-size: .8rem }
.wide { overflow-x: auto } table { border-collapse: collapse; width: 100%; font-size: .9rem }
th, td { text-align: left; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: break-word } th { color: var(--dim); font-weight: 500 }
.number { text-align: right } td.number { white-space: nowrap } svg { display: block; height: auto }
@media (max-width: 520px) {
  .card tr { display: flex; flex-wrap: wrap; border-bottom: 1px solid var(--line); padding: .3rem 0 }
  .card th, .card td { border: 0; padding: 0; flex: 1 1 30%; text-align: left }
  .card th:first-child, .card td:first-child { flex-basis: 100% }
  .card th:nth-child(5), .card td:nth-child(5) { flex-basis: 100% }
}
polyline { fill: none; stroke: var(--blue); stroke-width: 1.5 } circle { fill: var(--blue) }
.even { stroke: var(--dim); stroke-dasharray: 2 3 }
"""


IMAGE_STYLE = (
    f"<style>polyline{{fill:none;stroke:{GOOD};stroke-width:1.5}}circle{{fill:{GOOD}}}"
    f".even{{stroke:{QUIET};stroke-dasharray:2 3}}</style>"
)


def sparkline_image(values: Sequence[float], show: Callable[[float], str] = ratio) -> str:
    """The sparkline as an image with its own style, readable on light and dark pages."""
    svg = sparkline(values, show).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    if not svg:
        return ""
    packed = b64encode(svg.replace("<title>", f"{IMAGE_STYLE}<title>", 1).encode()).decode()
    title = svg.partition("<title>")[2].partition("</title>")[0]
    return f'<img src="data:image/svg+xml;base64,{packed}" alt="{title}" title="{title}">'


def sparkline(values: Sequence[float], show: Callable[[float], str] = ratio) -> str:
    """A sparkline of the values as SVG, with a dashed line at 1 if in range; empty for few values."""
    if len(values) < FEWEST_POINTS:
        return ""
    low, high = min(values), max(values)
    spread = (high - low) or 1.0
    width, height = SPARK_WIDTH - 2 * SPARK_EDGE, SPARK_HEIGHT - 2 * SPARK_EDGE

    def y(value: float) -> float:
        return SPARK_EDGE + height * (high - value) / spread

    points = [
        (SPARK_EDGE + width * place / (len(values) - 1), y(value)) for place, value in enumerate(values)
    ]
    line = " ".join(f"{x:.1f},{height:.1f}" for x, height in points)
    even = f'<line class="even" x1="0" x2="{SPARK_WIDTH}" y1="{y(1):.1f}" y2="{y(1):.1f}"/>' * (
        low <= 1 <= high
    )
    title = (
        f"{len(values)} nights, first {show(values[0])}, last {show(values[-1])}, "
        f"range {show(low)} to {show(high)}"
    )
    last = f'<circle cx="{points[-1][0]:.1f}" cy="{points[-1][1]:.1f}" r="2.5"/>'
    return (
        f'<svg width="{SPARK_WIDTH}" height="{SPARK_HEIGHT}" role="img" aria-label="{title}">'
        f'<title>{title}</title>{even}<polyline points="{line}"/>{last}</svg>'
    )


def table(header: Sequence[str], rows: Iterable[Sequence[str]], numbers: set[int]) -> str:
    """A table of cells that are HTML already; the columns `numbers` are right-aligned."""
    kinds = [' class="number"' if place in numbers else "" for place in range(len(header))]
    head = "".join(f"<th{kind}>{text(name)}</th>" for kind, name in zip(kinds, header, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds, row, strict=True)) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        * bool(body)
    )


def text(given: object) -> str:
    """Any text escaped for HTML, on one line and cut to `MOST_CHARACTERS`."""
    line = " ".join(str(given).split())
    return escape(line if len(line) <= MOST_CHARACTERS else f"{line[:MOST_CHARACTERS]}…")
