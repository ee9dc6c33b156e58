"""One night of one problem: samples, the distance to the floor, and what each cell says of itself."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import cached_queries, url_state
from dashboard.charts import pattern_history
from dashboard.filters import Scope
from dashboard.naming import utc
from dashboard.panels import chart, finding, note, show_table
from db.records import IMPLEMENTATIONS

MOST_SAMPLES = 200
"""Drawn per implementation, evenly chosen; the download holds all."""

TABLE: dict[str, str] = {
    "implementation": "implementation",
    "mode": "mode",
    "status": "status",
    "latency_ms": "time (ms)",
    "latency_low_ms": "from (ms)",
    "latency_high_ms": "to (ms)",
    "sample_count": "samples",
    "cycles": "cycles",
    "energy_mj": "energy (mJ)",
    "power_w": "power (W)",
    "floor_ratio": "floor/measured",
    "relative_error": "relative error",
    "memory_peak_bytes": "peak memory (bytes)",
    "tile": "tile",
    "code_hash": "code",
    "flags": "labels",
    "reason": "reason",
    "energy_reason": "why no energy",
}


def show_night(scope: Scope, cells: pd.DataFrame) -> None:
    """Draw one night, the newest unless another is chosen."""
    ran = set(cells["run_id"])
    runs = [run for run in reversed(scope.runs) if run.id in ran]
    finding("One night in depth")
    run = url_state.select(
        "Night",
        "night",
        runs,
        show=lambda run: f"{utc(run.started_at)}, run {run.id}",
        as_text=lambda run: str(run.id),
        width=300,
    )
    night = cells[cells["run_id"] == run.id]
    order = night["implementation"].map({name: place for place, name in enumerate(IMPLEMENTATIONS)})
    night = night.assign(order=order).sort_values(["order", "mode"])
    left, right = st.columns([3, 2])
    with left:
        _samples(run.id, night)
    with right:
        _floor(night)
    shown = [name for name in TABLE if night[name].notna().any()]
    show_table(night[shown].rename(columns=TABLE))


def _samples(run_id: int, night: pd.DataFrame) -> None:
    cold = night[night["mode"] != "hot"]
    cells = list(cold[["implementation", "cell_id", "mode"]].itertuples(index=False, name=None))
    frame = cached_queries.samples(run_id, cells)
    if frame.empty:
        note("No raw samples are kept of this night.")
        return
    chart(
        pattern_history.samples(_thinned(frame)),
        frame,
        "pattern_samples",
        "Box and strip of the raw samples of each implementation.",
    )


def _thinned(frame: pd.DataFrame) -> pd.DataFrame:
    groups = [group.iloc[:: -(-len(group) // MOST_SAMPLES)] for _, group in frame.groupby("implementation")]
    return pd.concat(groups)


def _floor(night: pd.DataFrame) -> None:
    cold = night[night["mode"] != "hot"]
    if cold["floor_ratio"].notna().sum() == 0:
        note("No floor is stored with these measurements.")
        return
    chart(
        pattern_history.floor_bars(cold),
        cold[["implementation", "latency_ms", "floor_ms", "floor_ratio"]],
        "pattern_floor",
        "The floor over the measured time of each implementation.",
    )
