"""The table of cells: one title for each column of a measurement, on every page."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from kswatch.dashboard.components.panels import show_table

TITLES: dict[str, str] = {
    "latency_ms": "latency (ms)",
    "latency_low_ms": "low (ms)",
    "latency_high_ms": "high (ms)",
    "sample_count": "samples",
    "sm_clock_mhz": "SM clock (MHz)",
    "event_reasons": "throttle reason",
    "energy_mj": "energy (mJ)",
    "power_w": "power (W)",
    "floor_ratio": "% of roofline",
    "relative_error": "relative error",
    "memory_peak_bytes": "peak memory (bytes)",
    "spill_bytes": "spills (bytes)",
    "code_hash": "code",
    "energy_reason": "reason for no energy",
}
"""Titles of the columns that are not titled by their name."""


def show_cells(cells: pd.DataFrame, columns: Sequence[str]) -> None:
    """Draw the table of these columns, without those that hold no value."""
    held = cells[[name for name in columns if cells[name].notna().any()]]
    if "floor_ratio" in held:
        held = held.assign(floor_ratio=held["floor_ratio"] * 100)
    show_table(held.rename(columns=TITLES))
