"""Traces that several charts share: lines over the nights, and one point per cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from kswatch.dashboard.charts.palette import IMPLEMENTATION_COLOURS, IMPLEMENTATION_SYMBOLS
from kswatch.dashboard.charts.style import plain

NIGHT = "%{x|%Y-%m-%d %H:%M} UTC, run %{customdata[0]}<br>"
"""The beginning of a tooltip."""


def night_line(
    nights: pd.DataFrame,
    y: pd.Series,
    name: object,
    line: dict[str, Any],
    tooltip: str,
    columns: Sequence[str] = (),
    **options: Any,  # noqa: ANN401  (of Plotly)
) -> go.Scatter:
    """A line with a marker per night.

    Args:
        nights: `started_at`, `run_id` and the columns of the tooltip.
        y: one value per night.
        name: of the line; may be stored text.
        line: its style.
        tooltip: after the night and the run; `columns` are `customdata` from 1 on.
        columns: of the tooltip.
        options: of the trace; they override the defaults.
    """
    defaults = {"mode": "lines+markers", "marker": {"size": 6}}
    return go.Scatter(
        x=nights["started_at"],
        y=y,
        ids=nights["run_id"].astype(str),
        name=plain(name),
        line=line,
        customdata=nights[["run_id", *columns]],
        hovertemplate=NIGHT + tooltip,
        **(defaults | options),
    )


def add_points(
    figure: go.Figure, frame: pd.DataFrame, axes: tuple[str, str], columns: Sequence[str], tooltip: str
) -> None:
    """Add one trace per implementation, in its colour and symbol.

    Args:
        figure: to add to.
        frame: `implementation`, `problem`, the columns of the axes and of the tooltip; its index
            identifies the points.
        axes: the columns of x and y.
        columns: of the tooltip, as `customdata` from 1 on; 0 is the problem.
        tooltip: before the name of the implementation.
    """
    for name, colour in IMPLEMENTATION_COLOURS.items():
        group = frame[frame["implementation"] == name]
        if group.empty:
            continue
        symbol = IMPLEMENTATION_SYMBOLS[name]
        values = (group[column] for column in columns)
        figure.add_trace(
            go.Scatter(
                x=group[axes[0]],
                y=group[axes[1]],
                ids=group.index.astype(str),
                name=name,
                mode="markers",
                marker={"color": colour, "symbol": symbol, "size": 8, "opacity": 0.75},
                customdata=list(zip(group["problem"].map(plain), *values, strict=True)),
                hovertemplate=f"{tooltip}<extra>%{{fullData.name}}</extra>",
            )
        )
