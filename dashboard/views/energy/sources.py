"""Where energy was read from, and what a second source said of the same windows."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from kswatch.dashboard.charts import energy as energy_charts
from kswatch.dashboard.components.panels import chart, finding, note, show_table
from kswatch.dashboard.formatting.labels import count, share

FLAG = "energy_sources_differ"
"""Label of a cell whose two sources differ by more than 5 %."""


def show_sources(measured: pd.DataFrame, opens: Callable[[str], None]) -> None:
    """Draw where the energy came from.

    Args:
        measured: cells with energy, with `problem`; its index names the points.
        opens: leaves for the pattern of a point.
    """
    both = measured.dropna(subset=["power_w", "second_power_w"])
    if both.empty:
        finding("Energy was read from one source")
        show_table(_by_source(measured))
        note(
            "No second reading is stored: where a board has a counter, its power samples are read beside it."
        )
        return
    apart = both["flags"].fillna("").str.contains(FLAG)
    finding(
        f"Counter and power samples differ by more than 5 % on {apart.sum()} of {count(len(both), 'cell')}"
        if apart.any()
        else f"Counter and power samples agree on all of {count(len(both), 'cell')}"
    )
    chart(
        energy_charts.power_by_source(both),
        both[["problem", "implementation", "energy_source", "power_w", "second_power_w"]],
        "energy_sources",
        "Power by the counter against power by samples, one point a cell.",
        opens=opens,
    )
    show_table(_by_source(measured))


def _by_source(measured: pd.DataFrame) -> pd.DataFrame:
    """One row a source: how many cells, how often it changes, how far the second one is off."""
    rows = []
    for (source, scope), cells in measured.groupby(["energy_source", "energy_scope"], dropna=False):
        off = (cells["second_power_w"] / cells["power_w"] - 1).abs()
        rows.append(
            {
                "source": _named(source),
                "covers": _named(scope),
                "cells": len(cells),
                "counter changes every (ms)": cells["energy_tick_ms"].median(),
                "second source, furthest off": share(off.max(), 1) if off.notna().any() else None,
                "over 5 % apart": int(cells["flags"].fillna("").str.contains(FLAG).sum()),
            }
        )
    return pd.DataFrame(rows)


def _named(value: object) -> str:
    return "not stored" if value is None or value != value else str(value)
