"""Devices: whether a machine is what it was, by its canaries, clocks, temperature and environment."""

from __future__ import annotations

from itertools import pairwise

import pandas as pd
import streamlit as st

from dashboard import cached_queries
from dashboard.charts import trend
from dashboard.filters import Scope, choose_scope
from dashboard.naming import share, utc
from dashboard.panels import chart, finding, note, show_table

STATES: dict[str, str] = {"sm_clock_mhz": "SM clock (MHz)", "temperature_c": "temperature (°C)"}


def show() -> None:
    """Draw the page."""
    scope = choose_scope(problem_filters=False)
    if scope is None:
        return
    readings = cached_queries.canaries(scope.device.id)
    readings = readings[readings["run_id"].isin(scope.run_ids)]
    if readings.empty:
        finding(f"No canary was measured on {scope.device_name}")
        note("Imported runs have none; runs on this machine read them at start, middle and end.")
    else:
        _canaries(scope, readings)
    _environments(scope)
    _facts(scope)


def _canaries(scope: Scope, readings: pd.DataFrame) -> None:
    medians = readings.groupby("canary")["rate"].median()
    newest = readings[readings["run_id"] == scope.newest.id].groupby("canary")["rate"].median()
    shares = (newest / medians).dropna()
    if len(shares):
        furthest = (shares - 1).abs().idxmax()
        finding(f"{furthest} ran at {share(shares[furthest], 1)} of its median in run {scope.newest.id}")
    note("A canary is a kernel that never changes: where it moves, the machine moved and not the code.")
    chart(
        trend.rate_trend(readings, "rate, of its median (%)"),
        readings[["run_id", "started_at", "canary", "position", "latency_ms", "rate"]],
        "canary_rates",
        "Each canary's rate by night in per cent of its median.",
    )
    known = [name for name in STATES if readings[name].notna().any()]
    for name, place in zip(known, st.columns(max(len(known), 1)), strict=False):
        with place:
            chart(
                trend.spread_by_night(readings.dropna(subset=[name]), name, STATES[name]),
                readings[["run_id", "started_at", "canary", "position", name]],
                f"canary_{name}",
                f"The {STATES[name]} while canaries ran, lowest, median and highest of each night.",
            )


def _environments(scope: Scope) -> None:
    """What changed between runs, the newest first."""
    rows = [
        {
            "run": after.id,
            "started": utc(after.started_at),
            "changed": change.name,
            "before": str(change.before),
            "after": str(change.after),
        }
        for before, after in pairwise(scope.runs)
        if before.environment_id != after.environment_id
        for change in cached_queries.environment_changes(before.id, after.id)
    ]
    if not rows:
        finding("The environment has stayed the same")
        return
    finding(f"The environment changed last with run {rows[-1]['run']}")
    show_table(pd.DataFrame(rows[::-1]))


def _facts(scope: Scope) -> None:
    finding("What is known of it")
    device = scope.device
    known = {
        "uuid": device.uuid,
        "kind": device.kind,
        "architecture": device.architecture,
        "memory (bytes)": device.memory_bytes,
        "last-level cache (bytes)": device.cache_bytes,
        "multiprocessors": device.multiprocessors,
        **vars(scope.newest.environment),
        **device.facts,
    }
    rows = [(name, str(value)) for name, value in known.items() if value not in (None, {}, "")]
    show_table(pd.DataFrame(rows, columns=["what", "is"]))
