"""Two runs: the ratio of each cell against its value before."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from kswatch.dashboard.charts.figure_cache import cached_figure
from kswatch.dashboard.charts.palette import BAD, GOOD, QUIET
from kswatch.dashboard.charts.style import DASHED, blank, change_axis, log_axis
from kswatch.dashboard.charts.traces import add_points

NO_DIFFERENCE = "no significant difference"

OUTCOMES: tuple[tuple[str, str, str], ...] = (
    (NO_DIFFERENCE, QUIET, "circle-open"),
    ("better", GOOD, "triangle-down"),
    ("worse", BAD, "triangle-up"),
)
"""In the order of drawing: significant changes on top."""


@cached_figure
def change_by_size(frame: pd.DataFrame, x_title: str) -> go.Figure:
    """The ratio of each cell, after over before, against its value before; below the line is better.

    Both axes are logarithmic: twice and half are equally far from the line.

    Args:
        frame: `problem`, `implementation`, `mode`, `before`, `change`, `change_low`, `change_high`
            (0.1 = 10 %), `outcome` (a name of `OUTCOMES`); its index identifies the points.
        x_title: the metric, with its unit.
    """
    figure = blank(f"{x_title}, before", "after / before", height=360)
    names = frame["problem"] + " " + frame["implementation"] + " " + frame["mode"]
    percents = frame[["change", "change_low", "change_high"]] * 100
    add_points(
        figure,
        frame.assign(**percents, problem=names, ratio=1 + frame["change"]),
        ("before", "ratio"),
        ("problem", "change", "change_low", "change_high"),
        "%{customdata[0]}<br>%{x:.4g} before, %{customdata[1]:+.1f} % "
        "(95 %: %{customdata[2]:+.1f} to %{customdata[3]:+.1f} %)<extra></extra>",
        by="outcome",
        styles=OUTCOMES,
        marker={"size": 8, "opacity": 0.8},
        counted=True,
    )
    figure.add_hline(y=1, line=DASHED)
    figure.update_xaxes(**log_axis(frame["before"]))
    figure.update_yaxes(**change_axis(frame["change"]))
    return figure
