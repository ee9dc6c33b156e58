"""Devices: the stability of a machine by its canaries, clocks, temperature and environment."""

from __future__ import annotations

from itertools import pairwise

import pandas as pd
import streamlit as st

from kswatch.dashboard.charts import trend
from kswatch.dashboard.components import links, timezone, url_state
from kswatch.dashboard.components.filters import Scope, choose_scope
from kswatch.dashboard.components.panels import chart, finding, note, show_table
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.data.canary_shares import FEWEST_EARLIER, canary_shares
from kswatch.dashboard.formatting.labels import share
from kswatch.dashboard.views.devices.environment_diff import show_difference
from kswatch.db.queries.basic import RunRow

STATES: dict[str, str] = {
    "sm_clock_mhz": "SM clock (MHz)",
    "temperature_c": "temperature (°C)",
    "other_cpu_percent": "CPU used by other programs (%)",
}
BOX_WIDTH = 330
MULTIPLES_A_ROW = 3


def show() -> None:
    """Draw the page."""
    scope = choose_scope(problem_filters=False)
    if scope is None:
        return
    readings = cached_queries.canaries(scope.run_ids)
    if readings.empty:
        finding(f"No canaries on {scope.name}")
        note("Imported runs have none; runs on this machine measure them at start, middle and end.")
    else:
        _canaries(scope, readings)
    _newest(scope)
    _throttling(scope)
    _environments(scope)
    _choose_difference(scope)
    _facts(scope)


def _canaries(scope: Scope, readings: pd.DataFrame) -> None:
    if readings["run_id"].nunique() < 2:
        _first_rates(readings)
        return
    rates = zip(readings["run_id"], readings["canary"], readings["rate"], strict=True)
    if shares := canary_shares(rates, scope.newest.id):
        farthest = max(shares, key=lambda one: abs(one.median - 1))
        finding(
            f"Canary {farthest.canary}: {share(farthest.median, 1)} of its median of earlier nights "
            f"in run {scope.newest.id}"
        )
    else:
        finding(
            f"Too few nights yet to say whether the machine is stable: {FEWEST_EARLIER} are needed before"
        )
    note(
        "A canary is a kernel that never changes: where its rate changes, the machine changed, not the code."
        + _load(readings[readings["run_id"] == scope.newest.id])
    )
    _small_multiples(readings)
    readings = readings.assign(other_cpu_percent=100 * readings["other_cpu_share"])
    known = [name for name in STATES if readings[name].notna().any()]
    for name, place in zip(known, st.columns(max(len(known), 1)), strict=False):
        with place:
            chart(
                trend.spread_by_night(readings.dropna(subset=[name]), name, STATES[name]),
                readings[["run_id", "started_at", "canary", "position", name]],
                f"canary_{name}",
                f"The {STATES[name]} during canaries: minimum, median and maximum of each night.",
            )


def _load(readings: pd.DataFrame) -> str:
    """What other programs used of the CPU while a run's canaries ran, as a sentence; empty if unknown."""
    shares = readings["other_cpu_share"].dropna()
    if shares.empty:
        return ""
    low, high = share(shares.min()), share(shares.max())
    used = high if low == high else f"{low} to {high}"
    return f" Other programs used {used} of the host's CPU while those of the newest run ran."


def _small_multiples(readings: pd.DataFrame) -> None:
    """Draw a chart for each canary, in per cent of its median over the nights, all on one scale."""
    medians = readings.groupby("canary")["rate"].transform("median")
    shares = readings.assign(rate_percent=100 * readings["rate"] / medians)
    low, high = min(shares["rate_percent"].min(), 95.0), max(shares["rate_percent"].max(), 105.0)
    groups = list(shares.groupby("canary"))
    for row in range(0, len(groups), MULTIPLES_A_ROW):
        places = st.columns(min(MULTIPLES_A_ROW, len(groups)))
        for (name, own), place in zip(groups[row : row + MULTIPLES_A_ROW], places, strict=False):
            with place:
                chart(
                    trend.spread_by_night(own, "rate_percent", f"{name} (% of median)", (low, high)),
                    own[["run_id", "started_at", "canary", "position", "latency_ms", "rate"]],
                    f"canary_{name.replace(' ', '_')}",
                    f"The rate of the canary {name} by night in per cent of its median, with the spread "
                    "within each run.",
                    on_open=links.open_run,
                )


def _first_rates(readings: pd.DataFrame) -> None:
    """Draw the rates of the only run so far."""
    finding("The trend of the canaries starts with the second run")
    rates = readings.groupby(["name", "precision"], as_index=False)["rate"].median()
    units = rates["name"].map({"copy": "GB/s", "gemm": "GFLOP/s", "peak": "GFLOP/s"})
    show_table(rates.assign(rate=rates["rate"] / 1e9, unit=units).rename(columns={"name": "canary"}))


def _newest(scope: Scope) -> None:
    """Draw clocks, temperature and throttling of the newest run; a dash for what is unknown."""
    columns = ("sm_clock_mhz", "memory_clock_mhz", "temperature_c", "energy_tick_ms")
    cells = cached_queries.run_cells(scope.newest.id, columns)
    throttled = sum((scope.newest.by_event or {}).values())
    figures = (
        ("SM clock, median", cells["sm_clock_mhz"].median(), "{:,.0f} MHz"),
        ("Memory clock, median", cells["memory_clock_mhz"].median(), "{:,.0f} MHz"),
        ("Maximum temperature", cells["temperature_c"].max(), "{:.0f} °C"),
        ("Energy counter interval", cells["energy_tick_ms"].median(), "{:.3g} ms"),
    )
    if all(value != value for _, value, _ in figures):
        note(f"Run {scope.newest.id} has no clock, temperature or counter: this device reports none.")
        return
    finding(f"Machine state during run {scope.newest.id}")
    with st.container(horizontal=True, gap="medium"):
        for label, value, template in figures:
            st.metric(label, template.format(value) if value == value else "–", width="content")
        known = cells["sm_clock_mhz"].notna().any()
        st.metric("Throttled cells", f"{throttled:,}" if known else "–", width="content")


def _throttling(scope: Scope) -> None:
    """Draw the throttled cells of each night by the driver's reason."""
    rows = [
        (run.id, run.started_at, reason.replace("_", " "), number, run.cells)
        for run in scope.runs
        for reason, number in (run.by_event or {}).items()
    ]
    if not rows:
        note("No throttling in these runs, or none reported.")
        return
    frame = pd.DataFrame(rows, columns=["run_id", "started_at", "reason", "throttled", "cells"])
    nights = frame["run_id"].nunique()
    finding(f"Throttled on {nights} of {len(scope.runs)} nights")
    chart(
        trend.throttling(frame),
        frame,
        "throttling",
        "Share of throttled cells by night and throttle reason.",
        on_open=links.open_run,
    )


def _environments(scope: Scope) -> None:
    """Draw the changes of the environment between runs, the newest first."""
    rows = [
        {
            "run": after.id,
            "started": timezone.local(after.started_at),
            "property": change.name,
            "before": str(change.before),
            "after": str(change.after),
        }
        for before, after in pairwise(scope.runs)
        if before.environment_id != after.environment_id
        for change in cached_queries.environment_changes(before.id, after.id)
    ]
    if not rows:
        note("The environment is unchanged over these runs.")
        return
    finding(f"Last change of the environment: run {rows[-1]['run']}")
    show_table(pd.DataFrame(rows[::-1]))


def _choose_difference(scope: Scope) -> None:
    """Draw two of the device's environments side by side."""
    newest = {run.environment_id: run for run in scope.runs}
    runs = sorted(newest.values(), key=lambda run: -run.id)
    if len(runs) < 2:
        return

    def show(run: RunRow) -> str:
        return f"run {run.id} · {timezone.local(run.started_at)}"

    with st.container(horizontal=True, gap="small"):
        before = url_state.select("Environment of", "env_before", runs, runs[1], show, width=BOX_WIDTH)
        after = url_state.select("Compared with", "env_after", runs, runs[0], show, width=BOX_WIDTH)
    show_difference(before, after)


def _facts(scope: Scope) -> None:
    finding("Device details")
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
    show_table(pd.DataFrame(rows, columns=["property", "value"]))
