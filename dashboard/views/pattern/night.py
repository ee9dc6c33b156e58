"""One night of one problem: samples, the floor, warm caches, and what each cell says of itself."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from kswatch.dashboard.charts import pattern_night
from kswatch.dashboard.components import links, url_state
from kswatch.dashboard.components import timezone as viewer
from kswatch.dashboard.components.filters import Scope
from kswatch.dashboard.components.panels import chart, finding, note, show_table
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.views.pattern import compiled_code as pattern_code
from kswatch.db.records import IMPLEMENTATIONS, ProblemKey

MOST_SAMPLES = 200
"""Drawn per implementation, evenly chosen; the download holds all."""

SAMPLES_AS = {"spread": "spread around each median", "time": "time per product"}

TABLE: dict[str, str] = {
    "implementation": "implementation",
    "mode": "mode",
    "status": "status",
    "latency_ms": "time (ms)",
    "latency_low_ms": "from (ms)",
    "latency_high_ms": "to (ms)",
    "sample_count": "samples",
    "cycles": "cycles",
    "sm_clock_mhz": "SM clock (MHz)",
    "event_reasons": "held back by",
    "energy_mj": "energy (mJ)",
    "power_w": "power (W)",
    "floor_ratio": "floor/measured",
    "relative_error": "relative error",
    "memory_peak_bytes": "peak memory (bytes)",
    "tile": "tile",
    "registers": "registers",
    "spill_bytes": "spills (bytes)",
    "code_hash": "code",
    "flags": "labels",
    "reason": "reason",
    "energy_reason": "why no energy",
}


def show_night(scope: Scope, problem: ProblemKey, ran: set[int]) -> None:
    """Draw one of the nights on which the problem ran, the newest unless another is chosen."""
    runs = [run for run in reversed(scope.runs) if run.id in ran]
    finding("One night in depth")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        run = url_state.select(
            "Night",
            "night",
            runs,
            show=lambda run: f"{viewer.local(run.started_at)}, run {run.id}",
            as_text=lambda run: str(run.id),
            width=300,
        )
        links.link("runs", f"All of run {run.id}", icon=":material/history:", view="one", run=run.id)
    night = cached_queries.problem_measurements((run.id,), problem)
    order = night["implementation"].map({name: place for place, name in enumerate(IMPLEMENTATIONS)})
    night = night.assign(order=order).sort_values(["order", "mode"])
    left, right = st.columns([3, 2])
    with left:
        _samples(run.id, night)
    with right:
        _floor(night)
    _cold_and_hot(night)
    night = pattern_code.with_registers(night)
    shown = [name for name in TABLE if night[name].notna().any()]
    show_table(night[shown].rename(columns=TABLE))
    pattern_code.show_code(run.id, night)


def _samples(run_id: int, night: pd.DataFrame) -> None:
    cold = night[night["mode"] != "hot"]
    cells = tuple(cold[["implementation", "cell_id", "mode"]].itertuples(index=False, name=None))
    frame = cached_queries.samples(run_id, cells)
    if frame.empty:
        note("No raw samples are kept of this night.")
        return
    drawn = url_state.segments("Samples as", "samples", list(SAMPLES_AS), show=SAMPLES_AS.__getitem__)
    median = frame.groupby("implementation")["sample_ms"].transform("median")
    frame = frame.assign(off_median=(frame["sample_ms"] / median - 1) * 100)
    chart(
        pattern_night.samples(_thinned(frame), relative=drawn == "spread"),
        frame,
        "pattern_samples",
        f"Box and strip of the raw samples of each implementation: {SAMPLES_AS[drawn]}.",
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
        pattern_night.floor_bars(cold),
        cold[["implementation", "latency_ms", "floor_ms", "floor_ratio"]],
        "pattern_floor",
        "The floor over the measured time of each implementation.",
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
        "Time with cold caches beside time with hot ones.",
    )
