"""One night of one problem: its samples, its share of the roofline, cold and hot caches."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from kswatch.dashboard.charts.figure_cache import cached_figure
from kswatch.dashboard.charts.palette import QUIET, TEXT, implementation_colour
from kswatch.dashboard.charts.style import DASHED, blank, error_bars, log_axis, plain
from kswatch.dashboard.charts.traces import ROW_HEIGHT, TRACE_NAME, add_boxes

MODES: tuple[tuple[str, str], ...] = (("cold", "circle"), ("hot", "circle-open"))


@cached_figure
def samples(frame: pd.DataFrame, relative: bool) -> go.Figure:
    """Box and strip plots of one night's raw samples, one row per implementation.

    Args:
        frame: `implementation`, `sample_ms`, `off_median` (deviation from its median, per cent).
        relative: draws the deviation from each median instead of latencies.
    """
    column, unit = ("off_median", "%") if relative else ("sample_ms", "ms")
    figure = blank("deviation from median (%)" if relative else "latency (ms)", "")
    add_boxes(
        figure,
        frame,
        column,
        3,
        boxpoints="all",
        jitter=0.5,
        pointpos=0,
        marker_opacity=0.5,
        fillcolor="rgba(0,0,0,0)",
        hovertemplate=f"%{{x:.4g}} {unit}{TRACE_NAME}",
    )
    if relative:
        figure.add_vline(x=0, line=DASHED)
    else:
        figure.update_xaxes(**log_axis(frame["sample_ms"]))
    return figure


@cached_figure
def roofline_bars(frame: pd.DataFrame) -> go.Figure:
    """The share of the roofline that each implementation reaches: the minimum latency over the measured one.

    Args:
        frame: `implementation`, `floor_ratio` (0 to 1), `latency_ms`, `floor_ms`.
    """
    figure = blank("% of roofline", "")
    known = frame.dropna(subset=["floor_ratio"]).sort_values("floor_ratio")
    figure.add_trace(
        go.Bar(
            x=known["floor_ratio"] * 100,
            y=known["implementation"].map(plain),
            orientation="h",
            marker={"color": [implementation_colour(name) for name in known["implementation"]]},
            text=[f"{ratio * 100:.0f} %" for ratio in known["floor_ratio"]],
            textposition="outside",
            textfont={"color": TEXT},
            cliponaxis=False,
            customdata=known[["latency_ms", "floor_ms"]],
            hovertemplate=(
                "%{y}: %{x:.1f} %<br>measured %{customdata[0]:.4g} ms, "
                "roofline %{customdata[1]:.4g} ms<extra></extra>"
            ),
        )
    )
    figure.update_layout(height=90 + ROW_HEIGHT * max(len(known), 2))
    figure.update_xaxes(rangemode="tozero")
    return figure


@cached_figure
def cold_and_hot(frame: pd.DataFrame) -> go.Figure:
    """Latency with cold and with hot caches, with 95 % intervals.

    Args:
        frame: `implementation`, `mode`, `latency_ms`, `latency_low_ms`, `latency_high_ms`.
    """
    figure = blank("latency (ms)", "")
    for mode, symbol in MODES:
        rows = frame[frame["mode"] == mode]
        colours = [implementation_colour(name) for name in rows["implementation"]]
        figure.add_trace(
            go.Scatter(
                x=rows["latency_ms"],
                y=rows["implementation"].map(plain),
                name=mode,
                mode="markers",
                marker={"color": colours, "symbol": symbol, "size": 11, "line": {"width": 2}},
                error_x=error_bars(
                    *(rows[name] for name in ("latency_ms", "latency_low_ms", "latency_high_ms")),
                    color=QUIET,
                    thickness=1,
                ),
                customdata=rows[["latency_low_ms", "latency_high_ms"]],
                hovertemplate=(
                    "%{y}, %{fullData.name}: %{x:.4g} ms "
                    "(95 %: %{customdata[0]:.4g}–%{customdata[1]:.4g})<extra></extra>"
                ),
            )
        )
    figure.update_layout(height=100 + ROW_HEIGHT * max(frame["implementation"].nunique(), 2))
    figure.update_xaxes(**log_axis(frame["latency_ms"]))
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    return figure
