"""One night of one problem: samples, share of the roofline, cold and hot caches, and its cells."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from kswatch.dashboard.charts import pattern_night
from kswatch.dashboard.components import links, timezone, url_state
from kswatch.dashboard.components.filters import Scope
from kswatch.dashboard.components.panels import chart, finding, note, show_cells
from kswatch.dashboard.components.speed_of_light import explain_cells_over_one
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.views.pattern import compiled_code
from kswatch.db.records import KNOWN_IMPLEMENTATIONS, ProblemKey

MOST_SAMPLES = 200
"""Samples drawn per implementation, evenly spaced; the download holds all."""

SAMPLES_AS = {"spread": "deviation from median", "time": "latency"}

COLUMNS = (
    *("implementation", "mode", "status", "latency_ms", "latency_low_ms", "latency_high_ms", "sample_count"),
    *("cycles", "sm_clock_mhz", "event_reasons", "energy_mj", "power_w", "floor_ratio", "relative_error"),
    *("memory_peak_bytes", "tile", "registers", "spill_bytes", "code_hash", "flags", "reason"),
    "energy_reason",
)


def show_night(scope: Scope, problem: ProblemKey, ran: set[int]) -> None:
    """Draw one of the nights of the problem, the newest by default."""
    runs = [run for run in reversed(scope.runs) if run.id in ran]
    finding("One night in detail")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        run = url_state.select(
            "Night",
            "night",
            runs,
            show=lambda run: f"{timezone.local(run.started_at)}, run {run.id}",
            width=300,
        )
        links.link("runs", f"All cells of run {run.id}", icon=":material/history:", view="one", run=run.id)
    night = cached_queries.problem_measurements((run.id,), problem=problem)
    order = night["implementation"].map({name: place for place, name in enumerate(KNOWN_IMPLEMENTATIONS)})
    night = night.assign(order=order).sort_values(["order", "mode"])
    left, right = st.columns([3, 2])
    with left:
        _samples(run.id, night)
    with right:
        _roofline(night)
    _cold_and_hot(night)
    night = compiled_code.with_registers(night)
    show_cells(night, COLUMNS)
    explain_cells_over_one(night)
    compiled_code.show_code(run.id, night)


def _samples(run_id: int, night: pd.DataFrame) -> None:
    cold = night[night["mode"] != "hot"]
    cells = tuple(cold[["implementation", "cell_id", "mode"]].itertuples(index=False, name=None))
    frame = cached_queries.samples(run_id, cells)
    if frame.empty:
        note("This night has no raw samples.")
        return
    shown = url_state.segments("Samples as", "samples", SAMPLES_AS)
    median = frame.groupby("implementation")["sample_ms"].transform("median")
    frame = frame.assign(off_median=(frame["sample_ms"] / median - 1) * 100)
    chart(
        pattern_night.samples(_thinned(frame), relative=shown == "spread"),
        frame,
        "pattern_samples",
        f"Box and strip of the raw samples of each implementation: {SAMPLES_AS[shown]}.",
    )


def _thinned(frame: pd.DataFrame) -> pd.DataFrame:
    groups = [group.iloc[:: -(-len(group) // MOST_SAMPLES)] for _, group in frame.groupby("implementation")]
    return pd.concat(groups)


def _roofline(night: pd.DataFrame) -> None:
    cold = night[night["mode"] != "hot"]
    if cold["floor_ratio"].notna().sum() == 0:
        note("These measurements store no roofline.")
        return
    chart(
        pattern_night.roofline_bars(cold),
        cold[["implementation", "latency_ms", "floor_ms", "floor_ratio"]],
        "pattern_floor",
        "The share of the roofline that each implementation reaches.",
    )


def _cold_and_hot(night: pd.DataFrame) -> None:
    timed = night.dropna(subset=["latency_ms"])
    both = set(timed.loc[timed["mode"] == "cold", "implementation"]) & set(
        timed.loc[timed["mode"] == "hot", "implementation"]
    )
    if not both:
        return
    frame = timed[timed["implementation"].isin(both)]
    chart(
        pattern_night.cold_and_hot(frame),
        frame[["implementation", "mode", "latency_ms", "latency_low_ms", "latency_high_ms"]],
        "pattern_cold_hot",
        "Latency with cold and with hot caches.",
    )
