"""The distribution of a ratio over the problems of one run: ECDF and histogram."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from kswatch.dashboard.charts.figure_cache import cached_figure
from kswatch.dashboard.charts.palette import ACCENT, group_lines
from kswatch.dashboard.charts.style import DASHED, blank, log_axis, plain

FEWEST_BINS, MOST_BINS = 6, 30


@cached_figure
def ecdf(frame: pd.DataFrame, x_title: str, by: str | None = None) -> go.Figure:
    """The empirical distribution (ECDF) of the ratio over the problems, one line per group of `by`.

    Args:
        frame: columns `speedup`, `problem` and, where given, `by`; its index identifies the points.
        x_title: the name of the ratio, with its unit.
        by: the column whose values become lines.
    """
    figure = blank(x_title, "share of problems (%)")
    known = frame.dropna(subset=["speedup"])
    groups = [("all problems", known)] if by is None else list(known.groupby(by, sort=True))
    for line, (name, group) in zip(group_lines(), groups, strict=False):
        figure.add_trace(_steps(str(name), group, line if by else {"color": ACCENT, "width": 2.5}))
    if by is None and len(known):
        figure.add_trace(_median_point(float(known["speedup"].median())))
    figure.update_layout(showlegend=by is not None)
    figure.update_xaxes(**log_axis(known["speedup"], "×"))
    figure.update_yaxes(range=[0, 101])
    figure.add_vline(x=1, line=DASHED)
    return figure


def _steps(name: str, group: pd.DataFrame, line: dict[str, object]) -> go.Scatter:
    ordered = group.sort_values("speedup")
    share = np.arange(1, len(ordered) + 1) / max(len(ordered), 1) * 100
    return go.Scatter(
        x=ordered["speedup"],
        y=share,
        ids=ordered.index.astype(str),
        name=plain(f"{name} (median {ordered['speedup'].median():.2f}×)"),
        customdata=ordered["problem"].map(plain),
        hovertemplate="%{customdata}<br>%{x:.2f}×, %{y:.0f} % of problems at or below<extra></extra>",
        mode="lines",
        line=line | {"shape": "hv"},
    )


def _median_point(median: float) -> go.Scatter:
    return go.Scatter(
        x=[median],
        y=[50],
        mode="markers+text",
        marker={"color": ACCENT, "size": 10, "symbol": "diamond"},
        text=[f"median {median:.2f}×"],
        textposition="bottom right",
        hoverinfo="skip",
        showlegend=False,
    )


@cached_figure
def histogram(frame: pd.DataFrame, x_title: str) -> go.Figure:
    """The number of problems per bin of the ratio, in logarithmic bins, with the median marked."""
    figure = blank(x_title, "problems")
    ratios = frame["speedup"].dropna()
    if ratios.empty:
        return figure
    low, high = min(ratios.min(), 0.95), max(ratios.max(), 1.05)
    bins = int(np.clip(2 * np.sqrt(len(ratios)), FEWEST_BINS, MOST_BINS))
    edges = np.geomspace(low * 0.999, high * 1.001, bins + 1)
    counts, _ = np.histogram(ratios, edges)
    labels = [f"{left:.2f}× to {right:.2f}×" for left, right in zip(edges, edges[1:], strict=False)]
    # one closed outline instead of bars: bar widths in data units do not work on a logarithmic axis
    figure.add_trace(
        go.Scatter(
            x=np.repeat(edges, 2)[1:-1],
            y=np.repeat(counts, 2),
            customdata=np.repeat(labels, 2),
            mode="lines",
            fill="tozeroy",
            line={"color": ACCENT, "width": 1.5},
            hovertemplate="%{customdata}: %{y} problems<extra></extra>",
        )
    )
    median = float(ratios.median())
    figure.add_vline(x=median, line={"color": ACCENT, "width": 2})
    figure.add_annotation(
        x=np.log10(median), y=1, yref="paper", yanchor="bottom", text=f"median {median:.2f}×", showarrow=False
    )
    figure.update_xaxes(**log_axis([low, high], "×"))
    figure.update_yaxes(rangemode="tozero", tickformat="d", dtick=1 if counts.max() < 6 else None)
    figure.add_vline(x=1, line=DASHED)
    return figure
