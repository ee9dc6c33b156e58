"""Energy: per product, against the best baseline, and the power."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pandas as pd
import streamlit as st

from kswatch.dashboard.charts import distribution
from kswatch.dashboard.charts import energy as energy_charts
from kswatch.dashboard.components import links
from kswatch.dashboard.components.filters import Scope, choose_scope
from kswatch.dashboard.components.median_trend import show_median_trend
from kswatch.dashboard.components.panels import chart, finding, hint, note, show_reasons, show_table
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.data import rates
from kswatch.dashboard.formatting.labels import count, problem_labels, ratio, share

FIGURES: dict[str, tuple[str, bool]] = {
    "energy_mj": ("energy per product (mJ)", True),
    "energy_per_gflop_mj": ("energy per GFLOP of the product (mJ)", True),
    "power_w": ("power (W)", False),
    "energy_delay": ("energy–delay product (mJ·ms)", True),
}
"""Columns with their titles, and whether their axis is logarithmic."""

COLUMNS = (
    *("energy_mj", "energy_low_mj", "energy_high_mj", "latency_ms", "power_w", "second_power_w"),
    *("energy_source", "energy_scope", "energy_tick_ms", "energy_reason", "flags"),
)

RATIO = "energy ratio, best baseline over fused (×)"

FLAG = "energy_sources_differ"
"""Label of a cell whose two sources differ by more than 5 %."""


def show() -> None:
    """Draw the page."""
    scope = choose_scope()
    if scope is None:
        return
    here = cached_queries.run_cells(scope.newest.id, COLUMNS, scope.precision, scope.layout)
    measured = here.dropna(subset=["energy_mj"])
    if measured.empty:
        _show_empty(scope, here)
        return
    measured = rates.with_energy_figures(measured.assign(problem=problem_labels(measured)))
    measured = measured.reset_index(drop=True)
    on_open = partial(links.open_problem, measured, device=scope.device.uuid)
    _ratios(scope, here, measured)
    if cached_queries.medians(scope.run_ids, **scope.about)["metric"].eq("energy").sum() > 1:
        show_median_trend(scope, "energy", "energy ratio")
    note(
        "Sensors differ in gain from board to board: trends on one device are valid, "
        "a ranking of boards is not."
    )
    _spreads(measured)
    _against_latency(measured, on_open)
    _sources(measured, on_open)


def _show_empty(scope: Scope, here: pd.DataFrame) -> None:
    """Draw the stored reasons for the missing energy, the most frequent first."""
    finding(f"No energy was measured in run {scope.newest.id} on {scope.name}")
    if here.empty:
        note("The run holds no cell of this precision and layout; choose another above.")
        return
    if here["energy_reason"].isna().all():
        note(f"None of its {count(len(here), 'cell')} stores a reason.")
    else:
        note("Reasons stored with the cells:")
        show_reasons(here["energy_reason"], "cells")
    hint("`kswatch doctor` lists the energy counters of this machine, and how to make them readable.")


def _ratios(scope: Scope, here: pd.DataFrame, measured: pd.DataFrame) -> None:
    frame = cached_queries.run_comparisons(scope.newest.id, metric="energy", **scope.about)
    known = frame["speedup"].dropna()
    problems = here["problem_id"].nunique()
    if known.empty:
        finding("No problem has energy for both fused and every baseline")
        show_reasons(frame["left_out"], "problems")
        return
    wins = int((known > 1).sum())
    finding(
        f"Fused uses less energy on {wins} of {len(known)} problems; median ratio {ratio(known.median())}"
    )
    note(
        f"Run {scope.newest.id}: {scope.title}. Energy of {measured['problem_id'].nunique()} "
        f"of {count(problems, 'problem')}{_left_out(frame)}; above 1×, fused uses less."
    )
    frame = frame.assign(problem=problem_labels(frame)).reset_index(drop=True)
    left, right = st.columns(2)
    data = frame[["problem", "speedup", "speedup_low", "speedup_high", "best_baseline", "left_out"]]
    with left:
        chart(
            distribution.sorted_ratios(frame, RATIO),
            data,
            "energy_sorted",
            "Energy ratio of each problem with its interval, sorted.",
            on_open=partial(links.open_problem, frame, device=scope.device.uuid),
        )
    with right:
        chart(
            distribution.ecdf(frame, RATIO),
            data,
            "energy_ecdf",
            "Share of problems by energy ratio.",
            on_open=partial(links.open_problem, frame, device=scope.device.uuid),
        )


def _left_out(frame: pd.DataFrame) -> str:
    """The number of problems without a ratio, and the most frequent reason."""
    reasons = frame["left_out"].value_counts()
    if reasons.empty:
        return ""
    return f", {int(reasons.sum()):,} of them not compared (most frequent reason: {reasons.index[0]})"


def _against_latency(measured: pd.DataFrame, on_open: Callable[[str], None]) -> None:
    timed = measured.dropna(subset=["latency_ms"])
    if timed.empty:
        return
    finding("Energy against latency: the lower left is better on both axes")
    columns = ["latency_ms", "energy_mj", "energy_low_mj", "energy_high_mj", "power_w"]
    chart(
        energy_charts.energy_against_latency(timed),
        timed[["problem", "implementation", *columns]],
        "energy_against_latency",
        "Energy per product against latency, one point per cell.",
        on_open=on_open,
    )


def _spreads(measured: pd.DataFrame) -> None:
    """Draw a box plot of each known quantity, two in a row."""
    finding("Energy and power of each implementation, over the problems")
    known = [name for name in FIGURES if measured[name].notna().any()]
    for row in range(0, len(known), 2):
        for name, place in zip(known[row : row + 2], st.columns(2), strict=False):
            title, log = FIGURES[name]
            cells = measured.dropna(subset=[name])
            with place:
                chart(
                    energy_charts.spread_by_implementation(cells, name, title, log=log),
                    cells[["problem", "implementation", name]],
                    f"{name}_by_implementation",
                    f"{title} of each implementation over the problems.",
                )
    if "power_w" not in known:
        note("These measurements store no power.")


def _sources(measured: pd.DataFrame, on_open: Callable[[str], None]) -> None:
    """Draw the energy sources and their agreement over the same windows."""
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
