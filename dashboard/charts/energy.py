"""Energy against latency, power by source, and the spread of each implementation."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from kswatch.dashboard.charts.figure_cache import cached_figure
from kswatch.dashboard.charts.style import DASHED, blank, log_axis
from kswatch.dashboard.charts.traces import TRACE_NAME, add_boxes, add_points


@cached_figure
def energy_against_latency(frame: pd.DataFrame) -> go.Figure:
    """Energy against latency, one point per cell: the lower left is better on both axes.

    Args:
        frame: `implementation`, `problem`, `latency_ms`, `energy_mj`, `energy_low_mj`, `energy_high_mj`,
            `power_w`; its index identifies the points.
    """
    figure = blank("latency (ms)", "energy per product (mJ)", height=400)
    template = (
        "%{customdata[0]}<br>%{x:.4g} ms, %{y:.4g} mJ (%{customdata[1]:.4g}–%{customdata[2]:.4g}), "
        "%{customdata[3]:.0f} W" + TRACE_NAME
    )
    columns = ("problem", "energy_low_mj", "energy_high_mj", "power_w")
    add_points(figure, frame, ("latency_ms", "energy_mj"), columns, template)
    figure.update_xaxes(**log_axis(frame["latency_ms"]))
    figure.update_yaxes(**log_axis(frame["energy_mj"]))
    return figure


@cached_figure
def power_by_source(frame: pd.DataFrame) -> go.Figure:
    """Power by the first energy source against the second; both agree on the dashed line.

    Args:
        frame: `implementation`, `problem`, `power_w`, `second_power_w`; its index identifies the points.
    """
    figure = blank("power, first source (W)", "power, second source (W)", height=380)
    template = "%{customdata[0]}<br>%{x:.4g} W and %{y:.4g} W" + TRACE_NAME
    add_points(figure, frame, ("power_w", "second_power_w"), ("problem",), template)
    low = frame[["power_w", "second_power_w"]].min().min() * 0.98
    high = frame[["power_w", "second_power_w"]].max().max() * 1.02
    figure.add_shape(type="line", x0=low, y0=low, x1=high, y1=high, line=DASHED)
    return figure


@cached_figure
def spread_by_implementation(frame: pd.DataFrame, value: str, x_title: str, log: bool = False) -> go.Figure:
    """A box plot per implementation over the problems.

    Args:
        frame: `implementation` and the column `value`.
        value: the column, as `power_w`.
        x_title: its name, with its unit.
        log: whether the axis is logarithmic.
    """
    figure = blank(x_title, "")
    add_boxes(figure, frame, value, 4, boxpoints="outliers", hovertemplate="%{x:.4g}" + TRACE_NAME)
    figure.update_xaxes(**(log_axis(frame[value]) if log else {"rangemode": "tozero"}))
    return figure
