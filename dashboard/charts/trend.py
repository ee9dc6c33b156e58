"""Medians over the nights, with their band, and the marks that explain a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import pandas as pd
import plotly.graph_objects as go

from kswatch.dashboard.charts.figure_cache import drawn_once
from kswatch.dashboard.charts.palette import (
    ACCENT,
    BAD,
    GROUP_COLOURS,
    QUIET,
    UNSURE,
    group_lines,
    translucent,
)
from kswatch.dashboard.charts.style import NIGHT_AXIS, blank, break_even, night_axis, plain

MOST_LINES = 12
"""More than this many vertical lines would hide the trend; the rest keep their marker and tooltip."""


@dataclass(frozen=True)
class Mark:
    """Something that happened on a night and may explain a step."""

    at: datetime
    kind: Literal["environment", "revision", "alert", "note"]
    label: str


MARK_STYLE: dict[str, tuple[str, str, float]] = {
    "revision": (QUIET, "triangle-up", 0.02),
    "environment": (UNSURE, "diamond", 0.07),
    "alert": (BAD, "star", 0.12),
    "note": (GROUP_COLOURS[0], "square", 0.17),
}
"""Colour, symbol and height over the foot of the chart, so that marks of one night stay apart."""


@drawn_once
def median_trend(frame: pd.DataFrame, y_title: str, marks: Sequence[Mark] = ()) -> go.Figure:
    """The median ratio by night with the band of the middle half of the problems.

    Args:
        frame: one row a night: `started_at`, `median_speedup`, `speedup_p25`, `speedup_p75`,
            `problems`, `fused_wins`, `run_id`.
        y_title: what the ratio is, with its unit.
        marks: drawn along the foot of the chart; environment changes also as vertical lines.
    """
    figure = blank(NIGHT_AXIS, y_title)
    nights = frame.sort_values("started_at")
    add_band(figure, nights, "speedup_p25", "speedup_p75", ACCENT, "middle half of the problems")
    figure.add_trace(
        go.Scatter(
            x=nights["started_at"],
            y=nights["median_speedup"],
            ids=nights["run_id"].astype(str),
            name="median",
            mode="lines+markers",
            line={"color": ACCENT, "width": 2.5},
            marker={"size": 6},
            customdata=nights[["run_id", "fused_wins", "problems", "speedup_p25", "speedup_p75"]],
            hovertemplate=(
                "%{x|%Y-%m-%d %H:%M} UTC, run %{customdata[0]}<br>median %{y:.3f}× "
                "(middle half %{customdata[3]:.2f}–%{customdata[4]:.2f}×)<br>"
                "fused wins %{customdata[1]} of %{customdata[2]}<extra></extra>"
            ),
        )
    )
    break_even(figure, "y")
    add_marks(figure, marks)
    night_axis(figure, nights["started_at"])
    return figure


def add_band(
    figure: go.Figure, frame: pd.DataFrame, low: str, high: str, colour: str, name: str, legend: bool = True
) -> None:
    """Fill between two columns over `started_at`; nights without both ends are left out."""
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
            showlegend=legend,
            fill="tonexty",
            fillcolor=translucent(colour, 0.18),
        )
    )


def add_marks(figure: go.Figure, marks: Sequence[Mark]) -> None:
    """Markers along the foot of the chart, one trace a kind; lines for environments, if they are few."""
    for kind, (colour, symbol, height) in MARK_STYLE.items():
        these = [mark for mark in marks if mark.kind == kind]
        if not these:
            continue
        figure.add_trace(
            go.Scatter(
                x=[mark.at for mark in these],
                y=[height] * len(these),
                yaxis="y2",
                name=kind,
                legendrank=2000,  # after the trend itself
                mode="markers",
                marker={"color": colour, "symbol": symbol, "size": 9},
                customdata=[plain(mark.label) for mark in these],
                hovertemplate="%{x|%Y-%m-%d} UTC<br>%{customdata}<extra></extra>",
            )
        )
        if kind == "environment" and len(these) <= MOST_LINES:
            for mark in these:
                figure.add_vline(x=mark.at, line={"color": colour, "width": 1, "dash": "dot"})
    if marks:
        figure.update_layout(
            yaxis2={"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True, "side": "right"}
        )


@drawn_once
def spread_by_night(frame: pd.DataFrame, value: str, y_title: str) -> go.Figure:
    """Lowest, median and highest reading of each night.

    Args:
        frame: `started_at` and the column `value`.
        value: the column drawn, as `temperature_c`.
        y_title: what it is, with its unit.
    """
    figure = blank(NIGHT_AXIS, y_title, height=240)
    nights = frame.groupby("started_at")[value].agg(["min", "median", "max"]).reset_index()
    add_band(figure, nights, "min", "max", GROUP_COLOURS[0], "lowest to highest")
    figure.add_trace(
        go.Scatter(
            x=nights["started_at"],
            y=nights["median"],
            name="median",
            mode="lines+markers",
            line={"color": GROUP_COLOURS[0], "width": 2},
            hovertemplate="%{x|%Y-%m-%d} UTC: %{y:.4g}<extra></extra>",
        )
    )
    night_axis(figure, nights["started_at"])
    return figure


@drawn_once
def held_back(frame: pd.DataFrame) -> go.Figure:
    """Share of each night's cells whose clocks were held back, one line a reason.

    Args:
        frame: `started_at`, `run_id`, `reason`, `held` and `cells` (counts).
    """
    figure = blank(NIGHT_AXIS, "cells held back (%)", height=240)
    for line, (name, nights) in zip(group_lines(), frame.groupby("reason", sort=True), strict=False):
        figure.add_trace(
            go.Scatter(
                x=nights["started_at"],
                y=nights["held"] / nights["cells"] * 100,
                ids=nights["run_id"].astype(str),
                name=plain(name),
                mode="lines+markers",
                line=line,
                marker={"size": 5},
                customdata=nights[["run_id", "held", "cells"]],
                hovertemplate=(
                    "%{x|%Y-%m-%d %H:%M} UTC, run %{customdata[0]}<br>%{customdata[1]} of %{customdata[2]} "
                    "cells<extra>%{fullData.name}</extra>"
                ),
            )
        )
    figure.update_yaxes(rangemode="tozero")
    night_axis(figure, frame["started_at"])
    return figure


@drawn_once
def rate_trend(frame: pd.DataFrame, y_title: str) -> go.Figure:
    """Each canary's rate by night in per cent of its own median: a level line is a quiet machine.

    Args:
        frame: `started_at`, `run_id`, `canary` (its name and precision), `rate`.
        y_title: with its unit.
    """
    figure = blank(NIGHT_AXIS, y_title, height=240)
    for line, (name, group) in zip(group_lines(), frame.groupby("canary", sort=True), strict=False):
        nights = group.groupby("started_at", as_index=False).agg({"rate": "median", "run_id": "max"})
        figure.add_trace(
            go.Scatter(
                x=nights["started_at"],
                y=nights["rate"] / nights["rate"].median() * 100,
                ids=nights["run_id"].astype(str),
                name=plain(name),
                mode="lines+markers",
                line=line,
                marker={"size": 5},
                hovertemplate="%{x|%Y-%m-%d} UTC: %{y:.1f} % of its median<extra>%{fullData.name}</extra>",
            )
        )
    figure.add_hline(y=100, line={"color": QUIET, "width": 1, "dash": "dash"})
    night_axis(figure, frame["started_at"])
    return figure
