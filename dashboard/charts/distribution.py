"""The distribution of a ratio over the problems of one run: sorted with intervals, and as ECDF."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from kswatch.dashboard.charts.figure_cache import cached_figure
from kswatch.dashboard.charts.palette import ACCENT, IMPLEMENTATION_STYLES, group_lines
from kswatch.dashboard.charts.style import DASHED, blank, error_bars, log_axis, plain
from kswatch.dashboard.charts.traces import TRACE_NAME


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
def sorted_ratios(frame: pd.DataFrame, y_title: str) -> go.Figure:
    """The ratio of each problem with its 95 % interval, the smallest first, coloured by its best baseline.

    Args:
        frame: columns `speedup`, `speedup_low`, `speedup_high`, `best_baseline`, `problem`; its index
            identifies the points.
        y_title: the name of the ratio, with its unit.
    """
    figure = blank("problems, sorted", y_title)
    known = frame.dropna(subset=["speedup"]).sort_values("speedup")
    known = known.assign(rank=np.arange(1, len(known) + 1), problem=known["problem"].map(plain))
    for name, colour, symbol in IMPLEMENTATION_STYLES:
        group = known[known["best_baseline"] == name]
        if group.empty:
            continue
        bounds = (group[column] for column in ("speedup", "speedup_low", "speedup_high"))
        figure.add_trace(
            go.Scatter(
                x=group["rank"],
                y=group["speedup"],
                ids=group.index.astype(str),
                name=f"over {name} ({len(group)})",
                mode="markers",
                marker={"color": colour, "symbol": symbol, "size": 8},
                error_y=error_bars(*bounds, color=colour, thickness=1, width=0),
                customdata=group[["problem", "speedup_low", "speedup_high"]],
                hovertemplate="%{customdata[0]}<br>%{y:.2f}× "
                "(95 %: %{customdata[1]:.2f}–%{customdata[2]:.2f})" + TRACE_NAME,
            )
        )
    figure.update_xaxes(tickformat="d", range=[0, len(known) + 1])
    figure.update_yaxes(**log_axis([*known["speedup_low"], *known["speedup_high"], *known["speedup"]], "×"))
    figure.add_hline(y=1, line=DASHED)
    return figure
