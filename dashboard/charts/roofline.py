"""Rate of every cell under what the device's memory and arithmetic were measured to give."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from kswatch.dashboard.charts.figure_cache import drawn_once
from kswatch.dashboard.charts.palette import IMPLEMENTATION_COLOURS, IMPLEMENTATION_SYMBOLS, QUIET
from kswatch.dashboard.charts.style import blank, log_axis, plain

CEILING_POINTS = 40


@drawn_once
def roofline(frame: pd.DataFrame, bytes_per_s: float | None, flops_per_s: float | None) -> go.Figure:
    """One point a cell; the grey line is the roof that canaries of the same run measured.

    Args:
        frame: `implementation`, `problem`, `intensity` (flops per byte), `gflops`, `gflops_low`,
            `gflops_high`; points are known by its index.
        bytes_per_s: of the copy canary; None where it was not measured.
        flops_per_s: of the GEMM canary of this precision; None where it was not measured.
    """
    figure = blank("flops per compulsory byte", "rate (GFLOP/s)", height=420)
    roof = _roof(frame, bytes_per_s, flops_per_s)
    for name, colour in IMPLEMENTATION_COLOURS.items():
        group = frame[frame["implementation"] == name]
        if not group.empty:
            figure.add_trace(_points(name, colour, group, bytes_per_s, flops_per_s))
    if roof is not None:
        figure.add_trace(roof)
    figure.update_xaxes(**log_axis(frame["intensity"]))
    figure.update_yaxes(**log_axis([*frame["gflops"], *(roof.y if roof is not None else ())]))
    return figure


def _points(
    name: str, colour: str, group: pd.DataFrame, bytes_per_s: float | None, flops_per_s: float | None
) -> go.Scatter:
    ceilings = [ceiling_gflops(x, bytes_per_s, flops_per_s) for x in group["intensity"]]
    told = [
        f"{rate / roof:.0%} of the roof" if roof else "no roof was measured"
        for rate, roof in zip(group["gflops"], ceilings, strict=True)
    ]
    return go.Scatter(
        x=group["intensity"],
        y=group["gflops"],
        ids=group.index.astype(str),
        name=name,
        mode="markers",
        marker={"color": colour, "symbol": IMPLEMENTATION_SYMBOLS[name], "size": 8, "opacity": 0.75},
        customdata=list(
            zip(group["problem"].map(plain), group["gflops_low"], group["gflops_high"], told, strict=True)
        ),
        hovertemplate=(
            "%{customdata[0]}<br>%{y:,.4g} GFLOP/s (95 %: %{customdata[1]:,.4g}–%{customdata[2]:,.4g})"
            "<br>%{customdata[3]}, %{x:.3g} flops per byte<extra>%{fullData.name}</extra>"
        ),
    )


def ceiling_gflops(intensity: float, bytes_per_s: float | None, flops_per_s: float | None) -> float | None:
    """The least of what memory and arithmetic allow at so many flops per byte; None if unknown."""
    known = [rate for rate in (bytes_per_s and bytes_per_s * intensity, flops_per_s) if rate]
    return min(known) / 1e9 if known else None


def _roof(frame: pd.DataFrame, bytes_per_s: float | None, flops_per_s: float | None) -> go.Scatter | None:
    known = frame["intensity"].dropna()
    if known.empty or not (bytes_per_s or flops_per_s):
        return None
    x = np.geomspace(known.min() / 1.5, known.max() * 1.5, CEILING_POINTS)
    return go.Scatter(
        x=x,
        y=[ceiling_gflops(value, bytes_per_s, flops_per_s) for value in x],
        name="roof",
        mode="lines",
        line={"color": QUIET, "width": 2},
        hovertemplate="roof at %{x:.3g} flops per byte: %{y:,.4g} GFLOP/s<extra></extra>",
    )
