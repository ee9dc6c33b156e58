"""The speedup of every problem on every night, or its change against its level, as a heat map."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from kswatch.dashboard.charts.figure_cache import cached_figure
from kswatch.dashboard.charts.palette import DIVERGING
from kswatch.dashboard.charts.style import NIGHT_AXIS, NIGHT_FORMAT, blank, plain, tick_texts

MOST_ROWS = 120
MOST_NIGHTS = 90
LIMIT = 2.0
"""Colours saturate at 2^2 = 4 × and 1/4 ×."""
CHANGE_LIMIT = 0.2
"""Colours of changes saturate at +-20 %."""


@cached_figure
def pattern_by_night(frame: pd.DataFrame, label: str) -> go.Figure:
    """A heat map of the ratio: one row per problem, ordered by the newest ratio, one column per night.

    Args:
        frame: `problem`, `run_id`, `started_at`, `speedup`; limited to the last `MOST_NIGHTS` nights
            and to the `MOST_ROWS` problems with the largest difference from break-even.
        label: of the ratio, for tooltips.
    """
    table = _table(frame, "speedup", np.log2)
    template = f"%{{y}}<br>%{{x}}<br>{label} %{{customdata:.2f}}×<extra></extra>"
    ticks = {"tickvals": [-2, -1, 0, 1, 2], "ticktext": ["≤ ¼×", "½×", "1×", "2×", "≥ 4×"]}
    return _heat_map(frame, table, np.log2(table.to_numpy(dtype=np.float32)), LIMIT, template, ticks)


@cached_figure
def change_by_night(frame: pd.DataFrame, label: str) -> go.Figure:
    """A heat map of changes against levels: one row per problem, the most improved in the newest night first.

    Args:
        frame: `problem`, `run_id`, `started_at`, `change` (0.1 = 10 % better); limited as the ratio's.
        label: of the change, for tooltips.
    """
    table = _table(frame, "change", lambda changes: changes)
    template = f"%{{y}}<br>%{{x}}<br>{label} %{{customdata:+.1%}}<extra></extra>"
    ticks = {
        "tickvals": [-CHANGE_LIMIT, -CHANGE_LIMIT / 2, 0, CHANGE_LIMIT / 2, CHANGE_LIMIT],
        "ticktext": ["≤ −20 %", "−10 %", "level", "+10 %", "≥ +20 %"],
    }
    return _heat_map(frame, table, table.to_numpy(dtype=np.float32), CHANGE_LIMIT, template, ticks)


def _heat_map(
    frame: pd.DataFrame,
    table: pd.DataFrame,
    colours: np.ndarray,
    limit: float,
    template: str,
    ticks: dict[str, object],
) -> go.Figure:
    """The figure of a table with problems as rows and runs as columns; tooltips show its own values."""
    starts = frame.drop_duplicates("run_id").set_index("run_id")["started_at"]
    nights = [f"{starts[run]:{NIGHT_FORMAT}}, run {run}" for run in table.columns]
    rows = [plain(row) for row in table.index]
    figure = blank(NIGHT_AXIS, "", height=120 + max(7 * len(rows), min(18 * len(rows), 540)))
    figure.update_layout(margin={"t": 64, "r": 24})  # for the colour scale
    scale = {"orientation": "h", "thickness": 10, "len": 0.6, "x": 0, "xanchor": "left", "y": 1.0}
    figure.add_trace(
        go.Heatmap(
            x=nights,
            y=rows,
            z=colours,
            customdata=table.to_numpy(dtype=np.float32),
            hovertemplate=template,
            zmin=-limit,
            zmax=limit,
            colorscale=DIVERGING,
            hoverongaps=False,
            xgap=1,
            ygap=1 if len(rows) <= 60 else 0,
            colorbar=scale | {"ypad": 4, "yanchor": "bottom"} | ticks,
        )
    )
    _label_axes(figure, nights, rows)
    return figure


def _label_axes(figure: go.Figure, nights: list[str], rows: list[str]) -> None:
    shown = nights[:: -max(1, -(-len(nights) // 6))]
    figure.update_xaxes(type="category", tickvals=shown, ticktext=tick_texts(shown), showgrid=False)
    every = max(1, -(-len(rows) // 40))
    figure.update_yaxes(type="category", tickvals=rows[::every], autorange="reversed", showgrid=False)


def _table(frame: pd.DataFrame, column: str, distance: Callable[[pd.Series], pd.Series]) -> pd.DataFrame:
    """The column by problem and run; `distance` is that from no difference, by which rows are chosen."""
    table = frame.pivot_table(index="problem", columns="run_id", values=column, aggfunc="first", dropna=False)
    table = table.reindex(columns=sorted(frame["run_id"].unique())[-MOST_NIGHTS:])
    newest = table.ffill(axis=1).iloc[:, -1]
    largest = distance(newest).abs().sort_values(ascending=False).index[:MOST_ROWS]
    return table.loc[newest.loc[largest].sort_values(ascending=False).index]
