"""How well heuristics predict: side by side, over the nights, and as a confusion matrix."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from dashboard.charts.palette import ACCENT, BAD, GOOD, QUIET, group_lines, translucent
from dashboard.charts.style import NIGHT_AXIS, blank, plain

FIGURES: tuple[tuple[str, str, str, str], ...] = (
    ("majority", "majority rate", QUIET, "line-ns-open"),
    ("accuracy", "accuracy", GOOD, "circle"),
    ("balanced_accuracy", "balanced accuracy", ACCENT, "diamond"),
)

NAMES = ["fused", "a baseline"]


def side_by_side(frame: pd.DataFrame) -> go.Figure:
    """Accuracy and balanced accuracy of every heuristic, the majority rate beside them.

    Args:
        frame: one row a heuristic: `heuristic` (with its version), `accuracy`,
            `balanced_accuracy`, `majority` (0 to 1), `problems`.
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
                customdata=ordered["problems"],
                hovertemplate=f"%{{y}}: {name} %{{x:.1f}} % of %{{customdata}} problems<extra></extra>",
            )
        )
    figure.update_layout(height=120 + 34 * max(len(ordered), 2))
    figure.update_xaxes(range=[0, 103])
    return figure


def by_night(frame: pd.DataFrame) -> go.Figure:
    """Accuracy, balanced accuracy and majority rate of one heuristic over the nights.

    Args:
        frame: `started_at`, `run_id`, `accuracy`, `balanced_accuracy`, `majority`, `problems`.
    """
    figure = blank(NIGHT_AXIS, "share of problems (%)", height=300)
    nights = frame.sort_values("run_id")
    for column, name, colour, _ in FIGURES:
        figure.add_trace(
            go.Scatter(
                x=nights["started_at"],
                y=nights[column] * 100,
                name=name,
                mode="lines+markers",
                line={"color": colour, "width": 2, "dash": "dash" if column == "majority" else "solid"},
                marker={"size": 6},
                customdata=nights[["run_id", "problems"]],
                hovertemplate=(
                    "%{x|%Y-%m-%d} UTC, run %{customdata[0]}<br>%{y:.1f} % of %{customdata[1]} problems"
                    "<extra>%{fullData.name}</extra>"
                ),
            )
        )
    figure.update_yaxes(range=[0, 103])
    return figure


def regret_by_night(frame: pd.DataFrame) -> go.Figure:
    """Mean regret of every heuristic over the nights: the time lost by following it.

    Args:
        frame: `started_at`, `run_id`, `heuristic` (with its version), `regret` (0.1 = 10 %).
    """
    figure = blank(NIGHT_AXIS, "mean regret (%)", height=300)
    for line, (name, group) in zip(group_lines(), frame.groupby("heuristic", sort=True), strict=False):
        nights = group.sort_values("run_id")
        figure.add_trace(
            go.Scatter(
                x=nights["started_at"],
                y=nights["regret"] * 100,
                name=plain(name),
                mode="lines+markers",
                line=line,
                marker={"size": 5},
                hovertemplate="%{x|%Y-%m-%d} UTC: %{y:.2f} %<extra>%{fullData.name}</extra>",
            )
        )
    figure.update_yaxes(rangemode="tozero")
    return figure


def confusion(tp: int, fp: int, fn: int, tn: int) -> go.Figure:
    """What was said against what was fastest, counts and shares; positive means fused."""
    figure = blank("fastest", "said", height=340)
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
    # annotations, not cell texts: these take the page's own text colour, light or dark
    for said, row in zip(NAMES, counts, strict=True):
        for fastest, count in zip(NAMES, row, strict=True):
            text = f"<b>{count}</b><br>{count / problems:.0%}"
            figure.add_annotation(x=fastest, y=said, text=text, showarrow=False, font={"size": 15})
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(showgrid=False)
    return figure
