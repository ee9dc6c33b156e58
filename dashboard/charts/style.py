"""The style of all figures: titled axes, logarithmic ticks, reference lines, plain text."""

from __future__ import annotations

import html
from collections.abc import Iterable
from datetime import datetime, timedelta
from math import ceil, floor, isfinite, log10

import pandas as pd
import plotly.graph_objects as go

from kswatch.dashboard.charts.figure_cache import SharedFigure
from kswatch.dashboard.charts.palette import QUIET, TEXT

HEIGHT = 340
MAX_TICKS = 7
DASHED = {"color": QUIET, "width": 1, "dash": "dash"}
"""Of a line where nothing differs, as where fused and the best baseline are equal."""

NIGHT_AXIS = "night (UTC)"
NIGHT_FORMAT = "%Y-%m-%d %H:%M UTC"
"""Of nights on a category axis; `figure_timezone.in_zone` parses it."""


def blank(x_title: str, y_title: str, height: int = HEIGHT) -> go.Figure:
    """A figure without traces; the colours of its background and grid come from the theme of the page."""
    axis = {"automargin": True, "zeroline": False, "tickfont": {"color": TEXT}, "separatethousands": True}
    figure = SharedFigure()
    figure.update_layout(
        height=height,
        font={"color": TEXT},
        margin={"l": 8, "r": 12, "t": 28, "b": 8},
        hovermode="closest",
        hoverlabel={"align": "left"},
        legend={
            "orientation": "h",
            "traceorder": "normal",  # a filled band would reverse the order
            "yanchor": "bottom",
            "y": 1.0,
            "xanchor": "left",
            "x": 0,
            "font": {"color": TEXT},
        },
        xaxis={"title": {"text": x_title, "font": {"color": TEXT}}, **axis},
        yaxis={"title": {"text": y_title, "font": {"color": TEXT}}, **axis},
    )
    return figure


def night_axis(figure: go.Figure, nights: Iterable[datetime]) -> None:
    """Set the range of an axis with a single night to two days; Plotly would choose milliseconds."""
    times = set(nights)
    if len(times) == 1:
        day = timedelta(days=1)
        figure.update_xaxes(range=[min(times) - day, max(times) + day], dtick=86_400_000, tickformat="%b %d")


def tick_texts(nights: list[str]) -> list[str]:
    """Month and day of each night on a category axis, with the time of day where a day repeats."""
    days = [night[5:10] for night in nights]
    return days if len(set(days)) == len(days) else [night[5:16] for night in nights]


def plain(text: object) -> str:
    """Stored text escaped for a label or tooltip: Plotly renders `<b>` and `<a>` as markup."""
    return html.escape(str(text), quote=False)


def log_ticks(values: Iterable[float]) -> list[float]:
    """At most `MAX_TICKS` round positions (1, 2, 5 times powers of ten) over positive values."""
    positive = [value for value in values if value and isfinite(value) and value > 0]
    if not positive:
        return [1.0]
    low, high = min(positive), max(positive)
    decades = range(floor(log10(low)) - 1, ceil(log10(high)) + 1)
    for steps in ((1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8), (1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        ticks = [step * 10.0**decade for decade in decades for step in steps]
        inside = [tick for tick in ticks if low / 1.3 <= tick <= high * 1.3]
        if len(inside) <= MAX_TICKS:
            return inside
    return inside[:: ceil(len(inside) / MAX_TICKS)]


def log_axis(values: Iterable[float], unit: str = "") -> dict[str, object]:
    """The settings of a logarithmic axis with round ticks."""
    ticks = log_ticks(values)
    labels = [f"{tick:,.10g}{unit}" for tick in ticks]
    return {"type": "log", "tickmode": "array", "tickvals": ticks, "ticktext": labels}


def change_axis(changes: Iterable[float]) -> dict[str, object]:
    """The settings of a logarithmic axis of ratios near 1, labelled with their changes in per cent.

    Args:
        changes: relative changes, 0.1 = 10 %, of which the axis holds all.
    """
    largest = max((abs(change) for change in changes if isfinite(change)), default=0.0)
    step = next((one for one in (0.01, 0.02, 0.05, 0.1, 0.2) if largest <= 4 * one), None)
    if step is None:
        return log_axis([1 / (1 + largest), 1 + largest], "×")
    ticks = [1 + step * place for place in range(-4, 5)]
    return {
        "type": "log",
        "tickmode": "array",
        "tickvals": ticks,
        "ticktext": [f"{100 * (tick - 1):+.0f} %" if tick != 1 else "0" for tick in ticks],
    }


def error_bars(value: pd.Series, low: pd.Series, high: pd.Series, **style: object) -> dict[str, object]:
    """The error bars from a value to its bounds; none where a bound is unknown."""
    above, below = ((high - value).clip(lower=0), (value - low).clip(lower=0))
    return {"type": "data", "symmetric": False, "array": above, "arrayminus": below, **style}
