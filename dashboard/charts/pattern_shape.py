"""The ratio by the shape of the pattern: h, d and b·c."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from kswatch.dashboard.charts.figure_cache import cached_figure
from kswatch.dashboard.charts.palette import BAD, GOOD, GROUP_COLOURS, QUIET, UNSURE
from kswatch.dashboard.charts.style import blank, break_even, log_axis, plain

FAMILIES: tuple[tuple[str, str], ...] = (("d=1", "circle"), ("a=1", "diamond"), ("both>1", "square"))

SHAPE_TITLES: dict[str, str] = {
    "h": "h = (b+c)/(b·c), activations moved per multiplication",
    "d": "d",
    "dh": "d·h",
    "bc": "b·c, size of one block",
}

OUTCOMES: tuple[tuple[str, str, str], ...] = (
    ("correct: fused", GOOD, "circle"),
    ("correct: baseline", QUIET, "circle-open"),
    ("false fused (FP)", BAD, "x"),
    ("missed fused (FN)", UNSURE, "cross"),
)
"""Names with colour and symbol: true positive, true negative, false positive, false negative."""


@cached_figure
def ratio_by_shape(frame: pd.DataFrame, by: str, y_title: str) -> go.Figure:
    """The ratio against one number of the pattern's shape, one colour and symbol per family.

    Args:
        frame: `problem`, `family`, `speedup`, `speedup_low`, `speedup_high` and the column `by`; its
            index identifies the points.
        by: a key of `SHAPE_TITLES`.
        y_title: the name of the ratio, with its unit.
    """
    figure = blank(SHAPE_TITLES[by], y_title)
    known = frame.dropna(subset=["speedup"])
    for colour, (family, symbol) in zip(GROUP_COLOURS, FAMILIES, strict=False):
        group = known[known["family"] == family]
        if group.empty:
            continue
        figure.add_trace(
            go.Scatter(
                x=group[by],
                y=group["speedup"],
                ids=group.index.astype(str),
                name=family,
                mode="markers",
                marker={"color": colour, "symbol": symbol, "size": 8, "opacity": 0.75},
                customdata=list(zip(group["problem"].map(plain), _interval(group), strict=True)),
                hovertemplate="%{customdata[0]}<br>%{y:.2f}× %{customdata[1]}<extra>%{fullData.name}</extra>",
            )
        )
    figure.update_xaxes(**log_axis(known[by]))
    figure.update_yaxes(**log_axis(known["speedup"], "×"))
    break_even(figure, "y")
    return figure


def _interval(group: pd.DataFrame) -> list[str]:
    pairs = zip(group["speedup_low"], group["speedup_high"], strict=True)
    return [f"(95 %: {low:.2f}–{high:.2f})" if low == low else "" for low, high in pairs]


@cached_figure
def error_map(frame: pd.DataFrame) -> go.Figure:
    """The outcomes of a heuristic by b·c and d, one colour and symbol per outcome.

    Args:
        frame: `problem`, `bc`, `d`, `outcome` (a name of `OUTCOMES`), `speedup`; its index
            identifies the points.
    """
    figure = blank(SHAPE_TITLES["bc"], "d")
    for name, colour, symbol in OUTCOMES:
        group = frame[frame["outcome"] == name]
        if group.empty:
            continue
        figure.add_trace(
            go.Scatter(
                x=group["bc"],
                y=group["d"],
                ids=group.index.astype(str),
                name=f"{name} ({len(group)})",
                mode="markers",
                marker={"color": colour, "symbol": symbol, "size": 9},
                customdata=list(zip(group["problem"].map(plain), group["speedup"], strict=True)),
                hovertemplate="%{customdata[0]}<br>%{customdata[1]:.2f}×<extra>%{fullData.name}</extra>",
            )
        )
    figure.update_xaxes(**log_axis(frame["bc"]))
    figure.update_yaxes(**log_axis(frame["d"]))
    return figure
