"""The roofline: the rate of every cell under the measured limits of memory and arithmetic."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from kswatch.dashboard.charts.figure_cache import cached_figure
from kswatch.dashboard.charts.palette import QUIET
from kswatch.dashboard.charts.style import blank, log_axis
from kswatch.dashboard.charts.traces import TRACE_NAME, add_points

CEILING_POINTS = 40


@cached_figure
def roofline(frame: pd.DataFrame, bytes_per_s: float | None, flops_per_s: float | None) -> go.Figure:
    """The rate of each cell by its arithmetic intensity; the grey roof is measured by the run's canaries.

    Args:
        frame: `implementation`, `problem`, `intensity` (flops per byte), `gflops`, `gflops_low`,
            `gflops_high`; its index identifies the points.
        bytes_per_s: of the copy canary; None where it was not measured.
        flops_per_s: of the GEMM canary of this precision or of registers alone; None where unknown.
    """
    figure = blank("flops per compulsory byte", "rate (TFLOP/s)", height=420)
    roof = _roof(frame, bytes_per_s, flops_per_s)
    reached = frame["gflops"] / ceiling_gflops(frame["intensity"], bytes_per_s, flops_per_s)
    shares = [f"{part:.0%} of the roof" if part == part else "no roof was measured" for part in reached]
    tooltip = (
        "%{customdata[0]}<br>%{y:,.4g} TFLOP/s (95 %: %{customdata[1]:,.4g}–%{customdata[2]:,.4g})"
        "<br>%{customdata[3]}, %{x:.3g} flops per byte" + TRACE_NAME
    )
    rates = {f"t{name[1:]}": frame[name] / 1e3 for name in ("gflops", "gflops_low", "gflops_high")}
    columns = ("problem", "tflops_low", "tflops_high", "share")
    add_points(figure, frame.assign(share=shares, **rates), ("intensity", "tflops"), columns, tooltip)
    if roof is not None:
        figure.add_trace(roof)
    figure.update_xaxes(**log_axis(frame["intensity"]))
    figure.update_yaxes(**log_axis([*rates["tflops"], *(roof.y if roof is not None else ())]))
    return figure


def ceiling_gflops(intensity: pd.Series, bytes_per_s: float | None, flops_per_s: float | None) -> pd.Series:
    """The roof at each arithmetic intensity (flops per byte), in GFLOP/s; NaN where unknown."""
    return np.fmin(intensity * (bytes_per_s or np.nan), flops_per_s or np.nan) / 1e9


def _roof(frame: pd.DataFrame, bytes_per_s: float | None, flops_per_s: float | None) -> go.Scatter | None:
    known = frame["intensity"].dropna()
    if known.empty or not (bytes_per_s or flops_per_s):
        return None
    x = pd.Series(np.geomspace(known.min() / 1.5, known.max() * 1.5, CEILING_POINTS))
    return go.Scatter(
        x=x,
        y=ceiling_gflops(x, bytes_per_s, flops_per_s) / 1e3,
        name="roof",
        mode="lines",
        line={"color": QUIET, "width": 2},
        hovertemplate="roof at %{x:.3g} flops per byte: %{y:,.4g} TFLOP/s<extra></extra>",
    )
