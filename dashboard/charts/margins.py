"""Margins wide enough for the labels and the legend of a chart, before Plotly measures them.

Where a label does not fit, Plotly notices only after drawing, and draws the whole chart again; and every
chart is drawn at least twice on a page, before and after the browser knows its width.
"""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Number

import plotly.graph_objects as go

CHARACTER = 8
"""Pixels per character of a label, rounded up."""

NUMBER_CHARACTERS, FEWEST_CHARACTERS = 4, 3
LABEL_GAP, TITLE, LEGEND = 27, 19, 42
UNDER_NUMBERS, UNDER_NAMES, UNDER_DATES = 65, 72, 80
"""Pixels under the plot for ticks and title; dates have their year on a second line."""


def set_margins(figure: go.Figure) -> None:
    """Widen the margins to fit the figure's labels; never narrow them."""
    margin, axis = figure.layout.margin, figure.layout.yaxis
    longest = max(map(len, _left_labels(figure)), default=NUMBER_CHARACTERS)
    left = LABEL_GAP + CHARACTER * max(longest, FEWEST_CHARACTERS) + TITLE * bool(axis.title.text)
    margin.l = max(margin.l or 0, left)
    margin.b = max(margin.b or 0, _bottom(figure))
    listed = [trace for trace in figure.data if trace.showlegend is not False]
    has_legend = figure.layout.showlegend or any(trace.showlegend for trace in listed)
    if has_legend or (figure.layout.showlegend is None and len(listed) > 1):
        margin.t = max(margin.t or 0, LEGEND)


def _left_labels(figure: go.Figure) -> Iterator[str]:
    yield from figure.layout.yaxis.ticktext or ()
    for trace in figure.data:
        if trace.type == "box":
            yield trace.name or ""
        elif trace.y is not None:
            yield from (label for label in trace.y if isinstance(label, str))


def _bottom(figure: go.Figure) -> int:
    places = [trace.x[0] for trace in figure.data if trace.x is not None and len(trace.x)]
    if not places or isinstance(places[0], Number):
        return UNDER_NUMBERS
    return UNDER_NAMES if isinstance(places[0], str) else UNDER_DATES
