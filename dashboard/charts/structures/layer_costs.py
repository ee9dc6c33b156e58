"""Latency of a layer's structures against their parameters, and the Pareto front."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, repeat

import pandas as pd
import plotly.graph_objects as go

from kswatch.dashboard.charts.figure_cache import cached_figure
from kswatch.dashboard.charts.palette import IMPLEMENTATION_MARKS, NO_MARK, QUIET, SPARE_MARKS
from kswatch.dashboard.charts.style import blank, error_bars, log_axis
from kswatch.dashboard.charts.traces import TRACE_NAME
from kswatch.kernels.families.catalogue import FAMILIES
from kswatch.kernels.families.transforms import TRANSFORMS

SHARED_MARKS = {"dense": "dense", "ks": "fused"}
"""Families that have the mark of an implementation; the others get the marks that are left."""


def _styles() -> Iterator[tuple[str, str, str]]:
    others = (mark for name, mark in IMPLEMENTATION_MARKS.items() if name not in SHARED_MARKS.values())
    spare = chain(others, SPARE_MARKS, repeat(NO_MARK))
    for family in (*FAMILIES, *TRANSFORMS):
        shared = SHARED_MARKS.get(family.name)
        mark = IMPLEMENTATION_MARKS[shared] if shared else next(spare)
        yield family.name, mark.light, mark.symbol


FAMILY_STYLES: tuple[tuple[str, str, str], ...] = tuple(_styles())
"""Name, colour and symbol of each family and each transform."""


@cached_figure
def latency_by_parameters(frame: pd.DataFrame) -> go.Figure:
    """One point per structure and algorithm, with its interval, and a line through the Pareto front.

    Args:
        frame: `family`, `structure`, `algorithm`, `parameters`, `latency_ms`, `latency_low_ms`,
            `latency_high_ms`; its index identifies the points.
    """
    figure = blank("parameters", "latency (ms)", height=420)
    front = pareto_front(frame)
    figure.add_trace(
        go.Scatter(
            x=front["parameters"],
            y=front["latency_ms"],
            name="Pareto front",
            mode="lines",
            line={"color": QUIET, "width": 1.5, "shape": "hv"},
            hoverinfo="skip",
        )
    )
    for family, colour, symbol in FAMILY_STYLES:
        own = frame[frame["family"] == family]
        if own.empty:
            continue
        figure.add_trace(
            go.Scatter(
                x=own["parameters"],
                y=own["latency_ms"],
                ids=own.index.astype(str),
                name=family,
                mode="markers",
                marker={"color": colour, "symbol": symbol, "size": 9},
                error_y=error_bars(
                    own["latency_ms"], own["latency_low_ms"], own["latency_high_ms"], color=colour, width=0
                ),
                customdata=own[["structure", "algorithm"]],
                hovertemplate="%{customdata[0]}, %{customdata[1]}<br>%{x:,} parameters, %{y:.4g} ms"
                + TRACE_NAME,
            )
        )
    figure.update_xaxes(**log_axis(frame["parameters"]))
    figure.update_yaxes(**log_axis(frame["latency_ms"]))
    return figure


def pareto_front(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that no other row undercuts in both `parameters` and `latency_ms`, by parameters."""
    ordered = frame.sort_values(["parameters", "latency_ms"])
    best_before = ordered["latency_ms"].cummin().shift(fill_value=float("inf"))
    return ordered[ordered["latency_ms"] < best_before]
