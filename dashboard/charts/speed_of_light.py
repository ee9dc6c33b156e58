"""The speed of light by night: floor over latency of fused, median and worst of the problems."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from kswatch.dashboard.charts.figure_cache import cached_figure
from kswatch.dashboard.charts.palette import ACCENT, QUIET
from kswatch.dashboard.charts.style import DASHED, NIGHT_AXIS, blank, night_axis
from kswatch.dashboard.charts.traces import night_line

LINES: dict[str, dict[str, object]] = {
    "median": {"color": ACCENT, "width": 2.5},
    "worst": {"color": QUIET, "width": 1.5, "dash": "dot"},
}


@cached_figure
def speed_of_light_trend(frame: pd.DataFrame) -> go.Figure:
    """Both statistics by night in per cent of the floor; the dashed line is the speed of light.

    Args:
        frame: one row per night and statistic: `started_at`, `run_id`, `statistic`, `value`, `problems`.
    """
    figure = blank(NIGHT_AXIS, "floor / measured time (%)", height=280)
    for name, line in LINES.items():
        nights = frame[frame["statistic"] == name].sort_values("started_at")
        tooltip = f"{name} %{{y:.1f}} % of %{{customdata[1]}} problems<extra></extra>"
        figure.add_trace(night_line(nights, nights["value"] * 100, name, line, tooltip, ("problems",)))
    figure.add_hline(y=100, line=DASHED)
    figure.update_yaxes(rangemode="tozero")
    night_axis(figure, frame["started_at"])
    return figure
