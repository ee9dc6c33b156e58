"""Traces that several charts share: lines over the nights, points of groups, boxes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from kswatch.dashboard.charts.palette import styles_of
from kswatch.dashboard.charts.style import plain

NIGHT = "%{x|%Y-%m-%d %H:%M} UTC, run %{customdata[0]}<br>"
"""The beginning of a tooltip."""

TRACE_NAME = "<extra>%{fullData.name}</extra>"
"""The end of a tooltip."""

POINT_MARKER = {"size": 8, "opacity": 0.75}
ROW_HEIGHT = 40
"""Pixels per implementation in charts with a row for each."""


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
    figure: go.Figure,
    frame: pd.DataFrame,
    axes: tuple[str, str],
    columns: Sequence[str],
    tooltip: str,
    *,
    by: str = "implementation",
    styles: Iterable[tuple[str, str, str]] | None = None,
    marker: Mapping[str, float] = POINT_MARKER,
    counted: bool = False,
) -> None:
    """Add one trace per value of a column, in its colour and symbol.

    Args:
        figure: to add to.
        frame: the columns of the axes, of the tooltip and `by`; its index identifies the points.
        axes: the columns of x and y.
        columns: of the tooltip, as `customdata`; a `problem` is escaped.
        tooltip: the template.
        by: the column whose values become traces.
        styles: values with their colours and symbols, by default those of implementations; a value without
            points gets no trace.
        marker: size and opacity.
        counted: whether the names of traces hold the number of their points.
    """
    if "problem" in columns:
        frame = frame.assign(problem=frame["problem"].map(plain))
    for name, colour, symbol in styles_of(frame[by]) if styles is None else styles:
        group = frame[frame[by] == name]
        if group.empty:
            continue
        figure.add_trace(
            go.Scatter(
                x=group[axes[0]],
                y=group[axes[1]],
                ids=group.index.astype(str),
                name=f"{name} ({len(group)})" if counted else name,
                mode="markers",
                marker={"color": colour, "symbol": symbol, **marker},
                customdata=group[list(columns)],
                hovertemplate=tooltip,
            )
        )


def add_boxes(figure: go.Figure, frame: pd.DataFrame, value: str, marker_size: int, **options: Any) -> None:  # noqa: ANN401  (of Plotly)
    """Add a box per implementation, the first on top, and set the height of the figure.

    Args:
        figure: to add to.
        frame: `implementation` and the column `value`.
        value: the column along x.
        marker_size: of single points, in pixels.
        options: of the traces.
    """
    measured = frame["implementation"]
    present = [(name, colour) for name, colour, _ in styles_of(measured) if (measured == name).any()]
    for name, colour in reversed(present):
        box = go.Box(x=frame.loc[frame["implementation"] == name, value], name=name, **options)
        figure.add_trace(
            box.update(marker={"color": colour, "size": marker_size}, line={"color": colour, "width": 1.5})
        )
    figure.update_layout(height=90 + ROW_HEIGHT * max(len(present), 2), showlegend=False)
