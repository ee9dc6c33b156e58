"""The ratio by the shape of the pattern: h, d and b·c."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from kswatch.dashboard.charts.figure_cache import cached_figure
from kswatch.dashboard.charts.palette import BAD, GOOD, GROUP_COLOURS, QUIET, UNSURE
from kswatch.dashboard.charts.style import DASHED, blank, log_axis
from kswatch.dashboard.charts.traces import TRACE_NAME, add_points

FAMILIES: tuple[tuple[str, str, str], ...] = (
    ("d=1", GROUP_COLOURS[0], "circle"),
    ("a=1", GROUP_COLOURS[1], "diamond"),
    ("both>1", GROUP_COLOURS[2], "square"),
)

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
    template = "%{customdata[0]}<br>%{y:.2f}× %{customdata[1]}" + TRACE_NAME
    columns = ("problem", "interval")
    bounds = zip(known["speedup_low"], known["speedup_high"], strict=True)
    intervals = [f"(95 %: {low:.2f}–{high:.2f})" if low == low else "" for low, high in bounds]
    known = known.assign(interval=intervals)
    add_points(figure, known, (by, "speedup"), columns, template, by="family", styles=FAMILIES)
    figure.update_xaxes(**log_axis(known[by]))
    figure.update_yaxes(**log_axis(known["speedup"], "×"))
    figure.add_hline(y=1, line=DASHED)
    return figure


@cached_figure
def error_map(frame: pd.DataFrame) -> go.Figure:
    """The outcomes of a heuristic by b·c and d, one colour and symbol per outcome.

    Args:
        frame: `problem`, `bc`, `d`, `outcome` (a name of `OUTCOMES`), `speedup`; its index
            identifies the points.
    """
    figure = blank(SHAPE_TITLES["bc"], "d")
    add_points(
        figure,
        frame,
        ("bc", "d"),
        ("problem", "speedup"),
        "%{customdata[0]}<br>%{customdata[1]:.2f}×" + TRACE_NAME,
        by="outcome",
        styles=OUTCOMES,
        marker={"size": 9},
        counted=True,
    )
    figure.update_xaxes(**log_axis(frame["bc"]))
    figure.update_yaxes(**log_axis(frame["d"]))
    return figure
