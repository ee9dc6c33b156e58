"""Two runs side by side: how far each cell moved, against how long it takes."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from kswatch.dashboard.charts.figure_cache import drawn_once
from kswatch.dashboard.charts.palette import BAD, GOOD, QUIET
from kswatch.dashboard.charts.style import blank, log_axis, plain

OUTCOMES: tuple[tuple[str, str, str], ...] = (
    ("cannot be told apart", QUIET, "circle-open"),
    ("better", GOOD, "triangle-down"),
    ("worse", BAD, "triangle-up"),
)
"""The order of drawing: what matters lies on top."""


@drawn_once
def change_by_size(frame: pd.DataFrame, x_title: str) -> go.Figure:
    """One point a cell: its figure before, and its change in per cent; under the line is better.

    Args:
        frame: `problem`, `implementation`, `mode`, `before`, `change`, `change_low`, `change_high`
            (0.1 = 10 %), `outcome` (a name of `OUTCOMES`); points are known by its index.
        x_title: what is compared, with its unit.
    """
    figure = blank(f"{x_title}, before", "change (%)", height=360)
    for name, colour, symbol in OUTCOMES:
        group = frame[frame["outcome"] == name]
        if group.empty:
            continue
        told = group["problem"].map(plain) + " " + group["implementation"] + " " + group["mode"]
        figure.add_trace(
            go.Scatter(
                x=group["before"],
                y=group["change"] * 100,
                ids=group.index.astype(str),
                name=f"{name} ({len(group)})",
                mode="markers",
                marker={"color": colour, "symbol": symbol, "size": 8, "opacity": 0.8},
                customdata=list(
                    zip(told, group["change_low"] * 100, group["change_high"] * 100, strict=True)
                ),
                hovertemplate=(
                    "%{customdata[0]}<br>%{x:.4g} before, %{y:+.1f} % "
                    "(95 %: %{customdata[1]:+.1f} to %{customdata[2]:+.1f} %)<extra></extra>"
                ),
            )
        )
    figure.add_hline(y=0, line={"color": QUIET, "width": 1, "dash": "dash"})
    figure.update_xaxes(**log_axis(frame["before"]))
    return figure
