"""One problem over the nights: its ratio, all implementations, and what the heuristics said."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from kswatch.dashboard.charts.figure_cache import drawn_once
from kswatch.dashboard.charts.palette import (
    ACCENT,
    IMPLEMENTATION_COLOURS,
    IMPLEMENTATION_SYMBOLS,
    implementation_colour,
)
from kswatch.dashboard.charts.pattern_shape import OUTCOMES
from kswatch.dashboard.charts.style import NIGHT_AXIS, blank, break_even, log_axis, night_axis, plain
from kswatch.dashboard.charts.trend import add_band

WINNER_ROW = "fastest was"


@drawn_once
def ratio_by_night(frame: pd.DataFrame, y_title: str) -> go.Figure:
    """The problem's ratio with its 95 % interval.

    Args:
        frame: `started_at`, `run_id`, `speedup`, `speedup_low`, `speedup_high`, `best_baseline`.
        y_title: what the ratio is, with its unit.
    """
    figure = blank(NIGHT_AXIS, y_title, height=260)
    nights = frame.sort_values("run_id")
    add_band(figure, nights, "speedup_low", "speedup_high", ACCENT, "95 % interval")
    figure.add_trace(
        go.Scatter(
            x=nights["started_at"],
            y=nights["speedup"],
            ids=nights["run_id"].astype(str),
            name="measured",
            mode="lines+markers",
            line={"color": ACCENT, "width": 2},
            marker={"size": 6},
            customdata=nights[["run_id", "best_baseline", "speedup_low", "speedup_high"]],
            hovertemplate=(
                "%{x|%Y-%m-%d %H:%M} UTC, run %{customdata[0]}<br>%{y:.3f}× over %{customdata[1]} "
                "(95 %: %{customdata[2]:.3f}–%{customdata[3]:.3f})<extra></extra>"
            ),
        )
    )
    break_even(figure, "y")
    night_axis(figure, nights["started_at"])
    return figure


@drawn_once
def implementations_by_night(frame: pd.DataFrame, value: str, y_title: str) -> go.Figure:
    """Every implementation of one problem over the nights, with its interval.

    Args:
        frame: `started_at`, `run_id`, `implementation`, `value`, `value_low`, `value_high`; the
            last two may be missing values.
        value: the column drawn, as `latency_ms`.
        y_title: what it is, with its unit.
    """
    figure = blank(NIGHT_AXIS, y_title)
    known = frame.dropna(subset=[value])
    for name in IMPLEMENTATION_COLOURS:
        nights = known[known["implementation"] == name].sort_values("run_id")
        if not nights.empty:
            figure.add_trace(_line(name, nights, value))
    figure.update_yaxes(**log_axis(known[value]))
    night_axis(figure, known["started_at"])
    return figure


def _line(name: str, nights: pd.DataFrame, value: str) -> go.Scatter:
    colour = IMPLEMENTATION_COLOURS[name]
    return go.Scatter(
        x=nights["started_at"],
        y=nights[value],
        ids=nights["run_id"].astype(str),
        name=name,
        mode="lines+markers",
        line={"color": colour, "width": 3 if name == "fused" else 1.5},
        marker={"symbol": IMPLEMENTATION_SYMBOLS[name], "size": 7},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": (nights["value_high"] - nights[value]).clip(lower=0),
            "arrayminus": (nights[value] - nights["value_low"]).clip(lower=0),
            "color": colour,
            "thickness": 1,
            "width": 3,
        },
        customdata=nights[["run_id", "value_low", "value_high"]],
        hovertemplate=(
            "%{x|%Y-%m-%d} UTC, run %{customdata[0]}<br>%{y:.4g} "
            "(95 %: %{customdata[1]:.4g}–%{customdata[2]:.4g})<extra>%{fullData.name}</extra>"
        ),
    )


@drawn_once
def predictions_by_night(frame: pd.DataFrame) -> go.Figure:
    """What each heuristic said by night, right or wrong, over a row with the implementation that won.

    Args:
        frame: `run_id`, `started_at`, `heuristic` (with its version), `outcome` (a name of
            `shape.OUTCOMES`), `said`, `happened` (names of winners).
    """
    figure = blank(NIGHT_AXIS, "")
    figure.update_layout(height=140 + 26 * frame["heuristic"].nunique())
    for name, colour, symbol in OUTCOMES:
        group = frame[frame["outcome"] == name]
        if group.empty:
            continue
        figure.add_trace(
            go.Scatter(
                x=group["started_at"],
                y=group["heuristic"].map(plain),
                ids=group["run_id"].astype(str) + " " + group["heuristic"],
                name=name,
                mode="markers",
                marker={"color": colour, "symbol": symbol, "size": 9},
                customdata=group[["run_id", "said", "happened"]],
                hovertemplate=(
                    "%{x|%Y-%m-%d %H:%M} UTC, run %{customdata[0]}<br>said %{customdata[1]}, "
                    "fastest was %{customdata[2]}<extra>%{y}</extra>"
                ),
            )
        )
    figure.add_trace(_winners(frame.drop_duplicates("run_id")))
    order = [WINNER_ROW, *sorted(frame["heuristic"].map(plain).unique())]
    figure.update_yaxes(
        type="category", categoryorder="array", categoryarray=order[::-1], showgrid=False, autorange=True
    )
    night_axis(figure, frame["started_at"])
    return figure


def _winners(nights: pd.DataFrame) -> go.Scatter:
    return go.Scatter(
        x=nights["started_at"],
        y=[WINNER_ROW] * len(nights),
        ids=nights["run_id"].astype(str),
        name=WINNER_ROW,
        showlegend=False,
        mode="markers",
        marker={
            "color": [implementation_colour(name) for name in nights["happened"]],
            "symbol": [IMPLEMENTATION_SYMBOLS.get(name, "circle") for name in nights["happened"]],
            "size": 10,
        },
        customdata=nights[["run_id", "happened"]],
        hovertemplate=(
            "%{x|%Y-%m-%d %H:%M} UTC, run %{customdata[0]}<br>fastest was %{customdata[1]}<extra></extra>"
        ),
    )
