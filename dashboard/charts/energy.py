"""Energy per product against time, and the power that results."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from kswatch.dashboard.charts.figure_cache import drawn_once
from kswatch.dashboard.charts.palette import IMPLEMENTATION_COLOURS, IMPLEMENTATION_SYMBOLS, QUIET
from kswatch.dashboard.charts.style import blank, log_axis, plain


@drawn_once
def energy_against_time(frame: pd.DataFrame) -> go.Figure:
    """One point a cell: towards the lower left is better in both.

    Args:
        frame: `implementation`, `problem`, `latency_ms`, `energy_mj`, `energy_low_mj`, `energy_high_mj`,
            `power_w`; points are known by its index.
    """
    figure = blank("time per product (ms)", "energy per product (mJ)", height=400)
    told = (
        "%{customdata[0]}<br>%{x:.4g} ms, %{y:.4g} mJ (%{customdata[1]:.4g}–%{customdata[2]:.4g}), "
        "%{customdata[3]:.0f} W<extra>%{fullData.name}</extra>"
    )
    columns = ["energy_low_mj", "energy_high_mj", "power_w"]
    _add_points(figure, frame, ("latency_ms", "energy_mj"), columns, told)
    figure.update_xaxes(**log_axis(frame["latency_ms"]))
    figure.update_yaxes(**log_axis(frame["energy_mj"]))
    return figure


@drawn_once
def power_by_source(frame: pd.DataFrame) -> go.Figure:
    """Power by the counter against power by samples; on the dashed line both say the same.

    Args:
        frame: `implementation`, `problem`, `power_w`, `second_power_w`; points are known by its index.
    """
    figure = blank("power by the first source (W)", "power by the second (W)", height=380)
    told = "%{customdata[0]}<br>%{x:.4g} W and %{y:.4g} W<extra>%{fullData.name}</extra>"
    _add_points(figure, frame, ("power_w", "second_power_w"), [], told)
    least = frame[["power_w", "second_power_w"]].min().min() * 0.98
    most = frame[["power_w", "second_power_w"]].max().max() * 1.02
    figure.add_shape(
        type="line", x0=least, y0=least, x1=most, y1=most, line={"color": QUIET, "width": 1, "dash": "dash"}
    )
    return figure


def _add_points(
    figure: go.Figure, frame: pd.DataFrame, axes: tuple[str, str], more: list[str], told: str
) -> None:
    """One trace an implementation; `customdata` is the problem and the columns `more`."""
    for name, colour in IMPLEMENTATION_COLOURS.items():
        group = frame[frame["implementation"] == name]
        if group.empty:
            continue
        figure.add_trace(
            go.Scatter(
                x=group[axes[0]],
                y=group[axes[1]],
                ids=group.index.astype(str),
                name=name,
                mode="markers",
                marker={
                    "color": colour,
                    "symbol": IMPLEMENTATION_SYMBOLS[name],
                    "size": 8,
                    "opacity": 0.75,
                },
                customdata=list(
                    zip(group["problem"].map(plain), *(group[column] for column in more), strict=True)
                ),
                hovertemplate=told,
            )
        )


@drawn_once
def spread_by_implementation(frame: pd.DataFrame, value: str, x_title: str, log: bool = False) -> go.Figure:
    """A box per implementation over the problems.

    Args:
        frame: `implementation` and the column `value`.
        value: the column drawn, as `power_w`.
        x_title: what it is, with its unit.
        log: whether the axis is logarithmic.
    """
    figure = blank(x_title, "")
    present = [name for name in IMPLEMENTATION_COLOURS if (frame["implementation"] == name).any()]
    for name in reversed(present):
        figure.add_trace(
            go.Box(
                x=frame.loc[frame["implementation"] == name, value],
                name=name,
                boxpoints="outliers",
                marker={"color": IMPLEMENTATION_COLOURS[name], "size": 4},
                line={"color": IMPLEMENTATION_COLOURS[name], "width": 1.5},
                hovertemplate="%{x:.4g}<extra>%{fullData.name}</extra>",
            )
        )
    figure.update_layout(height=90 + 40 * max(len(present), 2), showlegend=False)
    figure.update_xaxes(**(log_axis(frame[value]) if log else {"rangemode": "tozero"}))
    return figure
