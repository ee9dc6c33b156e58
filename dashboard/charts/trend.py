"""Trends over the nights, with bands, and annotations of events that may explain a change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import pandas as pd
import plotly.graph_objects as go

from kswatch.dashboard.charts.figure_cache import cached_figure
from kswatch.dashboard.charts.palette import (
    ACCENT,
    BAD,
    GROUP_COLOURS,
    QUIET,
    UNSURE,
    group_lines,
    translucent,
)
from kswatch.dashboard.charts.style import DASHED, NIGHT_AXIS, blank, night_axis, plain
from kswatch.dashboard.charts.traces import TRACE_NAME, night_line

MOST_LINES = 12
"""More vertical lines would hide the trend; then events keep only their marker and tooltip."""


@dataclass(frozen=True)
class Annotation:
    """An event of a night that may explain a change."""

    at: datetime
    kind: Literal["environment", "revision", "alert", "note", "baselines"]
    label: str


ANNOTATION_STYLE: dict[str, tuple[str, str, float]] = {
    "revision": (QUIET, "triangle-up", 0.02),
    "environment": (UNSURE, "diamond", 0.07),
    "alert": (BAD, "star", 0.12),
    "note": (GROUP_COLOURS[0], "square", 0.17),
    "baselines": (GROUP_COLOURS[3], "cross", 0.22),
}
"""Colour, symbol and height above the axis, so that annotations of one night do not overlap."""


@cached_figure
def median_trend(frame: pd.DataFrame, y_title: str, annotations: Sequence[Annotation] = ()) -> go.Figure:
    """The median ratio by night, with the interquartile range (IQR) over the problems as a band.

    Args:
        frame: one row per night: `started_at`, `median_speedup`, `speedup_p25`, `speedup_p75`,
            `problems`, `fused_wins`, `run_id`.
        y_title: the name of the ratio, with its unit.
        annotations: drawn along the axis; changes of environment or baselines also as vertical lines.
    """
    figure = blank(NIGHT_AXIS, y_title)
    nights = frame.sort_values("started_at")
    add_band(figure, nights, "speedup_p25", "speedup_p75", ACCENT, "IQR of the problems")
    figure.add_trace(
        night_line(
            nights,
            nights["median_speedup"],
            "median",
            {"color": ACCENT, "width": 2.5},
            "median %{y:.3f}× (IQR %{customdata[3]:.2f}–%{customdata[4]:.2f}×)<br>"
            "fused wins %{customdata[1]} of %{customdata[2]}<extra></extra>",
            ("fused_wins", "problems", "speedup_p25", "speedup_p75"),
        )
    )
    figure.add_hline(y=1, line=DASHED)
    add_annotations(figure, annotations)
    night_axis(figure, nights["started_at"])
    return figure


def add_band(figure: go.Figure, frame: pd.DataFrame, low: str, high: str, colour: str, name: str) -> None:
    """Fill between two columns over `started_at`; nights without both bounds are left out."""
    known = frame.dropna(subset=[low, high])
    if known.empty:
        return
    edge = {"x": known["started_at"], "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
    figure.add_trace(go.Scatter(**edge, y=known[low], showlegend=False))
    figure.add_trace(
        go.Scatter(
            **edge,
            y=known[high],
            name=name,
            showlegend=True,
            fill="tonexty",
            fillcolor=translucent(colour, 0.18),
        )
    )


def add_annotations(figure: go.Figure, annotations: Sequence[Annotation]) -> None:
    """Add markers along the axis, one trace per kind, and lines where environments or baselines changed."""
    for kind, (colour, symbol, height) in ANNOTATION_STYLE.items():
        events = [event for event in annotations if event.kind == kind]
        if not events:
            continue
        figure.add_trace(
            go.Scatter(
                x=[event.at for event in events],
                y=[height] * len(events),
                yaxis="y2",
                name=kind,
                legendrank=2000,  # after the trend itself
                mode="markers",
                marker={"color": colour, "symbol": symbol, "size": 9},
                customdata=[plain(event.label) for event in events],
                hovertemplate="%{x|%Y-%m-%d} UTC<br>%{customdata}<extra></extra>",
            )
        )
        if kind in ("environment", "baselines") and len(events) <= MOST_LINES:
            for event in events:
                figure.add_vline(x=event.at, line={"color": colour, "width": 1, "dash": "dot"})
    if annotations:
        figure.update_layout(
            yaxis2={"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True, "side": "right"}
        )


@cached_figure
def spread_by_night(
    frame: pd.DataFrame, value: str, y_title: str, y_range: tuple[float, float] | None = None
) -> go.Figure:
    """Minimum, median and maximum reading of each night: the spread within its run.

    Args:
        frame: `started_at`, `run_id` and the column `value`.
        value: the column, as `temperature_c`.
        y_title: its name, with its unit.
        y_range: of the axis, where several charts share one.
    """
    figure = blank(NIGHT_AXIS, y_title, height=240)
    readings = frame.groupby(["started_at", "run_id"])[value]
    nights = readings.agg(["min", "median", "max"]).reset_index()
    add_band(figure, nights, "min", "max", GROUP_COLOURS[0], "min to max")
    figure.add_trace(
        night_line(
            nights,
            nights["median"],
            "median",
            {"color": GROUP_COLOURS[0], "width": 2},
            "%{y:.4g} (%{customdata[1]:.4g} to %{customdata[2]:.4g} within the run)<extra></extra>",
            ("min", "max"),
        )
    )
    if y_range is not None:
        figure.update_yaxes(range=y_range)
    night_axis(figure, nights["started_at"])
    return figure


@cached_figure
def throttling(frame: pd.DataFrame) -> go.Figure:
    """The share of throttled cells by night, one line per throttle reason.

    Args:
        frame: `started_at`, `run_id`, `reason`, `throttled` and `cells` (counts).
    """
    figure = blank(NIGHT_AXIS, "throttled cells (%)", height=240)
    for line, (name, nights) in zip(group_lines(), frame.groupby("reason", sort=True), strict=False):
        figure.add_trace(
            night_line(
                nights,
                nights["throttled"] / nights["cells"] * 100,
                name,
                line,
                "%{customdata[1]} of %{customdata[2]} cells" + TRACE_NAME,
                ("throttled", "cells"),
            )
        )
    figure.update_yaxes(rangemode="tozero")
    night_axis(figure, frame["started_at"])
    return figure
