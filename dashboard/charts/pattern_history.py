"""One problem over the nights: its ratio, all implementations, and the predictions of heuristics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pandas as pd
import plotly.graph_objects as go

from kswatch.dashboard.charts.figure_cache import cached_figure
from kswatch.dashboard.charts.palette import (
    ACCENT,
    BAD,
    IMPLEMENTATION_SYMBOLS,
    NO_MARK,
    QUIET,
    UNSURE,
    implementation_colour,
    styles_of,
    translucent,
)
from kswatch.dashboard.charts.pattern_shape import OUTCOMES
from kswatch.dashboard.charts.style import (
    DASHED,
    NIGHT_AXIS,
    blank,
    error_bars,
    log_axis,
    night_axis,
    plain,
)
from kswatch.dashboard.charts.traces import NIGHT, TRACE_NAME, add_points, night_line
from kswatch.dashboard.charts.trend import Annotation, add_annotations, add_band

WINNER_ROW = "fastest"
_LEVEL_OPACITY = 0.35


@cached_figure
def ratio_by_night(
    frame: pd.DataFrame,
    y_title: str,
    levels: pd.DataFrame | None = None,
    marks: Sequence[Annotation] = (),
) -> go.Figure:
    """The ratio of the problem by night, with its 95 % interval.

    Args:
        frame: `started_at`, `run_id`, `speedup`, `speedup_low`, `speedup_high`, `best_baseline`.
        y_title: the name of the ratio, with its unit.
        levels: as in `implementations_by_night`.
        marks: drawn along the axis.
    """
    figure = blank(NIGHT_AXIS, y_title, height=260)
    nights = frame.sort_values("run_id")
    add_band(figure, nights, "speedup_low", "speedup_high", ACCENT, "95 % interval")
    figure.add_trace(
        night_line(
            nights,
            nights["speedup"],
            "measured",
            {"color": ACCENT, "width": 2},
            "%{y:.3f}× over %{customdata[1]} "
            "(95 %: %{customdata[2]:.3f}–%{customdata[3]:.3f})<extra></extra>",
            ("best_baseline", "speedup_low", "speedup_high"),
        )
    )
    figure.add_hline(y=1, line=DASHED)
    _add_levels(figure, levels, {"fused": ACCENT})
    add_annotations(figure, marks)
    night_axis(figure, nights["started_at"])
    return figure


@cached_figure
def implementations_by_night(
    frame: pd.DataFrame,
    value: str,
    y_title: str,
    levels: pd.DataFrame | None = None,
    marks: Sequence[Annotation] = (),
) -> go.Figure:
    """Every implementation of one problem by night, with 95 % intervals.

    Args:
        frame: `started_at`, `run_id`, `implementation`, `value`, `value_low`, `value_high`; the
            last two may be missing values.
        value: the column, as `latency_ms`.
        y_title: its name, with its unit.
        levels: one row for each level: `implementation`, `median`, `median_low`, `median_high`, `first_at`,
            `last_at`, and of the change that it began with `run_id`, `change` (a share; missing for a first
            level) and `commits`; None draws none.
        marks: drawn along the axis.
    """
    figure = blank(NIGHT_AXIS, y_title)
    known = frame.dropna(subset=[value])
    colours = {name: colour for name, colour, _ in styles_of(known["implementation"])}
    for name in colours:
        nights = known[known["implementation"] == name].sort_values("run_id")
        if not nights.empty:
            figure.add_trace(_line(name, nights, value))
    _add_levels(figure, levels, colours)
    add_annotations(figure, marks)
    figure.update_yaxes(**log_axis(known[value]))
    night_axis(figure, known["started_at"])
    return figure


def _add_levels(figure: go.Figure, levels: pd.DataFrame | None, colours: Mapping[str, str]) -> None:
    """Add a line for each level of these implementations, and a marker where one changed."""
    if levels is None:
        return
    levels = levels[levels["implementation"].isin(list(colours))]
    for name, own in levels.groupby("implementation", sort=False):
        ends = own[["first_at", "last_at"]].assign(gap=None).to_numpy().ravel()
        figure.add_trace(
            go.Scatter(
                x=ends,
                y=[part for median in own["median"] for part in (median, median, None)],
                name=f"{name} level",
                showlegend=False,
                mode="lines",
                line={"color": colours[name], "width": 5},
                opacity=_LEVEL_OPACITY,
                hoverinfo="skip",
            )
        )
    changed = levels.dropna(subset=["change"])
    if changed.empty:
        return
    figure.add_trace(
        go.Scatter(
            x=changed["first_at"],
            y=changed["median"],
            ids=changed["run_id"].astype(str) + " " + changed["implementation"],
            name="change of level",
            mode="markers",
            marker={"color": BAD, "symbol": "line-ns-open", "size": 18, "line": {"width": 3}},
            customdata=changed[
                ["run_id", "implementation", "change", "median_low", "median_high", "commits"]
            ],
            hovertemplate=NIGHT + "%{customdata[1]}: level %{y:.4g} "
            "(95 %: %{customdata[3]:.4g}–%{customdata[4]:.4g}), %{customdata[2]:+.1%} from the one before<br>"
            "commits %{customdata[5]}<extra></extra>",
        )
    )


@dataclass(frozen=True)
class Step:
    """The change of one series: its level before, and its value after with the bounds of the change."""

    before: float
    after: float
    after_low: float
    after_high: float
    good_at: datetime
    """The last good night."""
    bad_at: datetime
    """The first bad night."""


@cached_figure
def step_by_night(
    frame: pd.DataFrame, y_title: str, step: Step, suspects: Sequence[Annotation] = ()
) -> go.Figure:
    """One series by night with 95 % intervals, its level before, and its value after with its interval.

    Args:
        frame: `started_at`, `run_id`, `value`, `value_low`, `value_high`; the last two may be missing values.
        y_title: the metric, with its unit.
        step: shaded between its last good and its first bad night.
        suspects: what changed then, drawn along the axis.
    """
    figure = blank(NIGHT_AXIS, y_title, height=300)
    nights = frame.dropna(subset=["value"]).sort_values("run_id")
    first, last = nights["started_at"].min(), nights["started_at"].max()
    after = pd.DataFrame({"started_at": [step.bad_at, last], "low": step.after_low, "high": step.after_high})
    figure.add_vrect(
        x0=step.good_at, x1=step.bad_at, fillcolor=translucent(UNSURE, 0.2), line_width=0, layer="below"
    )
    add_band(figure, after, "low", "high", BAD, "95 % interval of the change")
    for name, colour, start, end, value in (
        ("level before", QUIET, first, step.good_at, step.before),
        ("after", BAD, step.bad_at, last, step.after),
    ):
        figure.add_trace(
            go.Scatter(
                x=[start, end],
                y=[value, value],
                name=f"{name} {value:.4g}",
                mode="lines",
                line={"color": colour, "width": 4},
                hoverinfo="skip",
            )
        )
    figure.add_trace(
        night_line(
            nights,
            nights["value"],
            "measured",
            {"color": ACCENT, "width": 1.5},
            "%{y:.4g} (95 %: %{customdata[1]:.4g}–%{customdata[2]:.4g})<extra></extra>",
            ("value_low", "value_high"),
            error_y=error_bars(
                nights["value"], nights["value_low"], nights["value_high"], color=ACCENT, thickness=1, width=3
            ),
        )
    )
    add_annotations(figure, suspects)
    night_axis(figure, nights["started_at"])
    return figure


def _line(name: str, nights: pd.DataFrame, value: str) -> go.Scatter:
    colour = implementation_colour(name)
    bounds = (nights[value], nights["value_low"], nights["value_high"])
    return night_line(
        nights,
        nights[value],
        name,
        {"color": colour, "width": 3 if name == "fused" else 1.5},
        "%{y:.4g} (95 %: %{customdata[1]:.4g}–%{customdata[2]:.4g})" + TRACE_NAME,
        ("value_low", "value_high"),
        marker={"symbol": IMPLEMENTATION_SYMBOLS.get(name, NO_MARK.symbol), "size": 7},
        error_y=error_bars(*bounds, color=colour, thickness=1, width=3),
    )


@cached_figure
def predictions_by_night(frame: pd.DataFrame) -> go.Figure:
    """The prediction of each heuristic by night, correct or not, below a row with the fastest implementation.

    Args:
        frame: `run_id`, `started_at`, `heuristic` (with its version), `outcome` (a name of
            `pattern_shape.OUTCOMES`), `predicted`, `fastest` (names of winners).
    """
    figure = blank(NIGHT_AXIS, "")
    figure.update_layout(height=140 + 26 * frame["heuristic"].nunique())
    frame = frame.assign(heuristic=frame["heuristic"].map(plain))
    add_points(
        figure,
        frame.set_index(frame["run_id"].astype(str) + " " + frame["heuristic"]),
        ("started_at", "heuristic"),
        ("run_id", "predicted", "fastest"),
        NIGHT + "predicted %{customdata[1]}, fastest: %{customdata[2]}<extra>%{y}</extra>",
        by="outcome",
        styles=OUTCOMES,
        marker={"size": 9},
    )
    figure.add_trace(_winners(frame.drop_duplicates("run_id")))
    order = [WINNER_ROW, *sorted(frame["heuristic"].unique())]
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
            "color": [implementation_colour(name) for name in nights["fastest"]],
            "symbol": [IMPLEMENTATION_SYMBOLS.get(name, "circle") for name in nights["fastest"]],
            "size": 10,
        },
        customdata=nights[["run_id", "fastest"]],
        hovertemplate=NIGHT + "fastest: %{customdata[1]}<extra></extra>",
    )
