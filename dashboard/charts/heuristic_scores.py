"""Scores of heuristics: side by side, over the nights, by threshold, and as a confusion matrix."""

from __future__ import annotations

from math import log10

import pandas as pd
import plotly.graph_objects as go

from kswatch.dashboard.charts.figure_cache import cached_figure
from kswatch.dashboard.charts.palette import ACCENT, BAD, GOOD, QUIET, UNSURE, group_lines, translucent
from kswatch.dashboard.charts.style import NIGHT_AXIS, blank, error_bars, log_axis, night_axis, plain
from kswatch.dashboard.charts.traces import TRACE_NAME, night_line

FIGURES: tuple[tuple[str, str, str, str], ...] = (
    ("majority", "majority rate", QUIET, "line-ns-open"),
    ("accuracy", "accuracy", GOOD, "circle"),
    ("balanced_accuracy", "balanced accuracy", ACCENT, "diamond"),
)

FIGURE_TITLES: dict[str, str] = {
    "accuracy": "accuracy (%)",
    "balanced_accuracy": "balanced accuracy (%)",
    "regret": "mean regret (%)",
}
"""The columns of `figure_by_night` with their units; regret is the latency or energy lost by the rule."""

NAMES = ["fused", "baseline"]


@cached_figure
def side_by_side(frame: pd.DataFrame) -> go.Figure:
    """Accuracy, balanced accuracy and majority rate of every heuristic.

    Args:
        frame: one row a heuristic: `heuristic` (with its version), `accuracy`,
            `balanced_accuracy`, `majority` (0 to 1), `problems`; `accuracy_low` and `accuracy_high`
            where they are known.
    """
    figure = blank("share of problems (%)", "")
    ordered = frame.sort_values("accuracy")
    for column, name, colour, symbol in FIGURES:
        figure.add_trace(
            go.Scatter(
                x=ordered[column] * 100,
                y=ordered["heuristic"].map(plain),
                name=name,
                mode="markers",
                marker={
                    "color": colour,
                    "symbol": symbol,
                    "size": 18 if column == "majority" else 11,
                    "line": {"width": 2, "color": colour},
                },
                error_x=_accuracy_interval(ordered) if column == "accuracy" else None,
                customdata=ordered["problems"],
                hovertemplate=f"%{{y}}: {name} %{{x:.1f}} % of %{{customdata}} problems<extra></extra>",
            )
        )
    figure.update_layout(height=120 + 34 * max(len(ordered), 2))
    figure.update_xaxes(range=[0, 103])
    return figure


def _accuracy_interval(frame: pd.DataFrame) -> dict[str, object] | None:
    """Error bars of the accuracy by measurement noise: problems near break-even may change sides."""
    if "accuracy_low" not in frame or frame["accuracy_low"].isna().all():
        return None
    bounds = (frame[name] * 100 for name in ("accuracy", "accuracy_low", "accuracy_high"))
    return error_bars(*bounds, thickness=1.5, width=4)


@cached_figure
def figure_by_night(frame: pd.DataFrame, column: str, chosen: str) -> go.Figure:
    """One score of every heuristic over the nights, with the chosen heuristic emphasised.

    Args:
        frame: `started_at`, `run_id`, `heuristic` (with its version), `majority` and the column
            `column` (0.1 = 10 %).
        column: a key of `FIGURE_TITLES`.
        chosen: the heuristic with the thick line.
    """
    figure = blank(NIGHT_AXIS, FIGURE_TITLES[column], height=320)
    for line, (name, group) in zip(group_lines(), frame.groupby("heuristic", sort=True), strict=False):
        nights = group.sort_values("run_id")
        figure.add_trace(
            night_line(
                nights,
                nights[column] * 100,
                name,
                line | {"width": 3.5 if name == chosen else 1.5},
                "%{y:.2f} %" + TRACE_NAME,
                opacity=1 if name == chosen else 0.65,
                marker={"size": 6 if name == chosen else 4},
            )
        )
    if column != "regret":
        figure.add_trace(_majority_line(frame))
    figure.update_yaxes(rangemode="tozero")
    night_axis(figure, frame["started_at"])
    return figure


def _majority_line(frame: pd.DataFrame) -> go.Scatter:
    nights = frame.drop_duplicates("run_id").sort_values("run_id")
    return go.Scatter(
        x=nights["started_at"],
        y=nights["majority"] * 100,
        name="majority rate",
        mode="lines",
        line={"color": QUIET, "width": 2, "dash": "dash"},
        hovertemplate="%{x|%Y-%m-%d %H:%M} UTC<br>%{y:.2f} %<extra>majority rate</extra>",
    )


@cached_figure
def threshold_sweep(frame: pd.DataFrame, x_title: str, limit: float, majority: float) -> go.Figure:
    """The accuracy of a threshold rule by threshold; its actual threshold is marked.

    Args:
        frame: one row per threshold: `limit`, `accuracy`, `balanced_accuracy` (0 to 1), `problems`.
        x_title: the quantity compared with the threshold.
        limit: the actual threshold of the rule.
        majority: the accuracy of always predicting the more frequent winner, 0 to 1.
    """
    figure = blank(x_title, "share of problems (%)", height=320)
    for column, name, colour, _ in FIGURES[1:]:
        figure.add_trace(
            go.Scatter(
                x=frame["limit"],
                y=frame[column] * 100,
                name=name,
                mode="lines+markers",
                line={"color": colour, "width": 2, "shape": "vh"},
                marker={"size": 5},
                customdata=frame["problems"],
                hovertemplate=(
                    f"threshold %{{x:.4g}}: {name} %{{y:.1f}} % of %{{customdata}} problems<extra></extra>"
                ),
            )
        )
    dashed = {"color": QUIET, "width": 2, "dash": "dash"}
    figure.add_hline(majority * 100, line=dashed, annotation_text="majority rate")
    if limit > 0:
        figure.add_vline(x=limit, line={"color": UNSURE, "width": 2})
        figure.add_annotation(
            x=log10(limit),
            y=0,
            yref="paper",
            xanchor="left",
            yanchor="bottom",
            text=f" threshold in use, {limit:.4g}",
            showarrow=False,
        )
    figure.update_xaxes(**log_axis([*frame["limit"], limit]))
    figure.update_yaxes(range=[0, 103])
    return figure


@cached_figure
def confusion(tp: int, fp: int, fn: int, tn: int) -> go.Figure:
    """The confusion matrix, counts and shares: prediction against the fastest; positive means fused."""
    figure = blank("fastest", "predicted", height=340)
    counts = [[tp, fp], [fn, tn]]
    problems = max(tp + fp + fn + tn, 1)
    figure.add_trace(
        go.Heatmap(
            x=NAMES,
            y=NAMES,
            z=[[tp, -fp], [-fn, tn]],
            hoverinfo="skip",
            zmin=-problems,
            zmax=problems,
            colorscale=[
                (0, translucent(BAD, 0.7)),
                (0.5, translucent(QUIET, 0.1)),
                (1, translucent(GOOD, 0.7)),
            ],
            showscale=False,
            xgap=3,
            ygap=3,
        )
    )
    # annotations, not cell texts: they take the text colour of the page, light or dark
    for predicted, row in zip(NAMES, counts, strict=True):
        for fastest, count in zip(NAMES, row, strict=True):
            text = f"<b>{count}</b><br>{count / problems:.0%}"
            figure.add_annotation(x=fastest, y=predicted, text=text, showarrow=False, font={"size": 15})
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(showgrid=False)
    return figure
