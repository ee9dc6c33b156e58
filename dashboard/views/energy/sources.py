"""The energy sources, and their agreement over the same windows."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from kswatch.dashboard.charts import energy as energy_charts
from kswatch.dashboard.components.panels import chart, finding, note, show_table
from kswatch.dashboard.formatting.labels import count, share

FLAG = "energy_sources_differ"
"""Label of a cell whose two sources differ by more than 5 %."""


def show_sources(measured: pd.DataFrame, on_open: Callable[[str], None]) -> None:
    """Draw the energy sources.

    Args:
        measured: cells with energy, with `problem`; its index identifies the points.
        on_open: opens the pattern of a point.
    """
    both = measured.dropna(subset=["power_w", "second_power_w"])
    if both.empty:
        finding("Energy from one source")
        show_table(_by_source(measured))
        note("No second reading is stored; on boards with a counter, power samples are the second source.")
        return
    differ = both["flags"].fillna("").str.contains(FLAG)
    finding(
        f"Counter and power samples differ by more than 5 % on {differ.sum()} of {count(len(both), 'cell')}"
        if differ.any()
        else f"Counter and power samples agree on all {count(len(both), 'cell')}"
    )
    chart(
        energy_charts.power_by_source(both),
        both[["problem", "implementation", "energy_source", "power_w", "second_power_w"]],
        "energy_sources",
        "Power by the counter against power by samples, one point per cell.",
        on_open=on_open,
    )
    show_table(_by_source(measured))


def _by_source(measured: pd.DataFrame) -> pd.DataFrame:
    """One row per source: cells, update interval, and the deviation of the second source."""
    rows = []
    for (source, scope), cells in measured.groupby(["energy_source", "energy_scope"], dropna=False):
        off = (cells["second_power_w"] / cells["power_w"] - 1).abs()
        rows.append(
            {
                "source": _named(source),
                "scope": _named(scope),
                "cells": len(cells),
                "update interval (ms)": cells["energy_tick_ms"].median(),
                "largest deviation of second source": share(off.max(), 1) if off.notna().any() else None,
                "differ by over 5 %": int(cells["flags"].fillna("").str.contains(FLAG).sum()),
            }
        )
    return pd.DataFrame(rows)


def _named(value: object) -> str:
    return "not stored" if value is None or value != value else str(value)
