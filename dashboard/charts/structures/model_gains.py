"""A model's variants over its dense one, and by night how its gain splits into structure and kernel."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from kswatch.dashboard.charts.figure_cache import cached_figure
from kswatch.dashboard.charts.palette import ACCENT, GROUP_COLOURS, QUIET, implementation_colour
from kswatch.dashboard.charts.style import DASHED, NIGHT_AXIS, blank, night_axis, plain

GAINS: tuple[tuple[str, str, str, str], ...] = (
    ("total_gain", "total", ACCENT, "solid"),
    ("structure_gain", "structure", GROUP_COLOURS[0], "dash"),
    ("kernel_gain", "kernel", GROUP_COLOURS[2], "dot"),
)
ROW_HEIGHT = 26


@cached_figure
def variants_over_dense(frame: pd.DataFrame) -> go.Figure:
    """One bar per variant: its latency as a share of the dense one's.

    Args:
        frame: `variant`, `computed_by`, `over_dense`, `latency_ms`, the first on top.
    """
    figure = blank("latency over dense", "", height=90 + ROW_HEIGHT * max(len(frame), 2))
    figure.add_trace(
        go.Bar(
            x=frame["over_dense"],
            y=frame["variant"].map(plain),
            orientation="h",
            marker={"color": [_colour(name) for name in frame["computed_by"]]},
            customdata=frame[["latency_ms"]],
            hovertemplate="%{y}<br>%{x:.3f} of dense, %{customdata[0]:.4g} ms<extra></extra>",
        )
    )
    figure.add_vline(x=1, line=DASHED)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(rangemode="tozero")
    return figure


def _colour(computed_by: str) -> str:
    return {"fair": implementation_colour("dense"), "published": QUIET, "auto": GROUP_COLOURS[0]}.get(
        computed_by, implementation_colour(computed_by)
    )


@cached_figure
def gains_by_night(frame: pd.DataFrame) -> go.Figure:
    """Total, structure and kernel gain by night; no line leads across a change of what they refer to.

    Args:
        frame: `run_id`, `started_at`, `piece` (counts up at each such change) and a column for each gain.
    """
    figure = blank(NIGHT_AXIS, "gain (×)")
    for column, name, colour, dash in GAINS:
        for piece, own in frame.groupby("piece"):
            figure.add_trace(
                go.Scatter(
                    x=own["started_at"],
                    y=own[column],
                    ids=own["run_id"].astype(str),
                    name=name,
                    legendgroup=name,
                    showlegend=bool(piece == frame["piece"].iloc[0]),
                    mode="lines+markers",
                    line={"color": colour, "dash": dash, "width": 2},
                    hovertemplate=f"{name} %{{y:.3f}}×<br>%{{x|%Y-%m-%d}} UTC<extra></extra>",
                )
            )
    figure.add_hline(y=1, line=DASHED)
    night_axis(figure, frame["started_at"])
    return figure
