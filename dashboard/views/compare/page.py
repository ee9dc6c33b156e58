"""Compare: two runs, revisions or devices, cell by cell, with the significance of each change."""

from __future__ import annotations

from functools import partial
from math import nan

import numpy as np
import pandas as pd
import streamlit as st

from kswatch.dashboard.charts import run_diff
from kswatch.dashboard.charts.run_diff import NO_DIFFERENCE
from kswatch.dashboard.components import links, url_state
from kswatch.dashboard.components.filters import BOX_WIDTH, show_empty_store
from kswatch.dashboard.components.panels import TITLES, chart, choose_row, finding, note, origin_badge
from kswatch.dashboard.components.sections import show_section
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.formatting.labels import count, interval, percent, problem_labels
from kswatch.dashboard.views.compare import canaries, selection
from kswatch.dashboard.views.compare.selection import RunPair
from kswatch.dashboard.views.devices.environment_diff import show_difference

METRICS = {"latency_ms": "latency (ms)", "energy_mj": "energy per product (mJ)"}
ANY = "any"
FLOORS = ("0", "2", "5", "10", "25")
"""Choices of the minimum change, in per cent."""

SHOWN = {"clear": "significant changes", "all": "all cells"}
TABLE_HEIGHT = 460

COLUMNS = (
    *("outcome", "change", "between", "problem", "implementation"),
    *("mode", "before", "after", "p_value"),
)


def show() -> None:
    """Draw the page."""
    if not cached_queries.run_groups():
        show_empty_store()
        return
    pair = selection.choose_pair()
    if pair is None:
        return
    heading = st.container()
    _show_pair(pair)
    canaries.show_canaries(pair)
    metric, floor = _choose_metric()
    frame = cached_queries.cell_differences(pair.before.id, pair.after.id, metric)
    if frame.empty:
        with heading:
            finding(f"The two runs have no common cell with {METRICS[metric]}")
        show_difference(pair.before, pair.after)
        return
    significant = frame["clear"] & (frame["change"].abs() >= floor)
    direction = (frame["change"] < 0).map({True: "better", False: "worse"})
    outcome = direction.where(significant, NO_DIFFERENCE)
    frame = _filtered(frame.assign(problem=problem_labels(frame), outcome=outcome))
    with heading:
        finding(_change_counts(frame, metric))
    if frame.empty:
        note("No cells match these filters.")
        return
    _chart(frame, metric, pair)
    show_section(_table, frame, metric, pair)
    show_difference(pair.before, pair.after)


def _show_pair(pair: RunPair) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        for origin in dict.fromkeys((pair.before.origin, pair.after.origin)):
            origin_badge(origin)
        note(pair.title)
    if pair.before.device_id != pair.after.device_id:
        st.warning(
            "Two devices: energy readings of different boards cannot be compared.", icon=":material/warning:"
        )


def _choose_metric() -> tuple[str, float]:
    with st.container(horizontal=True, gap="small"):
        metric = url_state.select("Metric", "metric", list(METRICS), show=METRICS.__getitem__, width=220)
        floor = url_state.select(
            "Minimum change", "floor", list(FLOORS), "2", lambda name: f"{name} %", width=BOX_WIDTH
        )
    return metric, float(floor) / 100


def _filtered(frame: pd.DataFrame) -> pd.DataFrame:
    """Draw the boxes of the properties in which cells differ; returns the matching cells."""
    with st.container(horizontal=True, gap="small"):
        for column in ("precision", "layout", "implementation", "mode"):
            held = list(dict.fromkeys(frame[column]))
            if len(held) < 2:
                continue
            chosen = url_state.select(
                column.capitalize(), f"only_{column}", [ANY, *held], ANY, width=BOX_WIDTH
            )
            if chosen != ANY:
                frame = frame[frame[column] == chosen]
    return frame.reset_index(drop=True)


def _change_counts(frame: pd.DataFrame, metric: str) -> str:
    """The numbers of significant changes, and the geometric mean of all ratios, significant or not."""
    outcomes = frame["outcome"].value_counts()
    worse, better = (int(outcomes.get(name, 0)) for name in ("worse", "better"))
    words = ("slower", "faster") if metric == "latency_ms" else ("use more", "use less")
    counted = f"{worse:,} {words[0]}, {better:,} {words[1]}, of {count(len(frame), 'cell')}"
    if not worse and not better:
        counted = f"No significant difference in {count(len(frame), 'cell')}"
    mean = float(np.exp(np.log1p(frame["change"]).mean())) if len(frame) else nan
    return f"{counted}; geometric mean {percent(mean - 1)}" if mean == mean else counted


def _chart(frame: pd.DataFrame, metric: str, pair: RunPair) -> None:
    chart(
        run_diff.change_by_size(frame, METRICS[metric]),
        frame[
            ["problem", "implementation", "mode", "before", "after", "change", "change_low", "change_high"]
        ],
        "run_differences",
        "The ratio of each cell, after over before, against its value before.",
        on_open=partial(links.open_problem, frame, device=pair.after.device_uuid),
    )
    note(
        "Significant: at a false-discovery rate of 5 % (Benjamini–Hochberg), at least the minimum change. "
        "Intervals cover within-run noise only; run-to-run drift shows up only in the history."
    )


def _p_value_text(p_value: float) -> str:
    """A p-value to three decimals; a dash where an interval is unknown."""
    if p_value != p_value:
        return "–"
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def _table(frame: pd.DataFrame, metric: str, pair: RunPair) -> None:
    shown = url_state.segments("Cells", "cells", SHOWN)
    rows = frame if shown == "all" else frame[frame["outcome"] != NO_DIFFERENCE].reset_index(drop=True)
    if rows.empty:
        note("No significant changes.")
        return
    unit = METRICS[metric].rpartition("(")[2].rstrip(")")
    table = rows.assign(
        p_value=rows["p_value"].map(_p_value_text),
        between=list(map(interval, rows["change_low"], rows["change_high"])),
    )
    names = TITLES | {"before": f"before ({unit})", "after": f"after ({unit})"}
    table = table[list(COLUMNS)].rename(columns=names)
    place = choose_row(table, "cell_differences", "to open its pattern", TABLE_HEIGHT)
    note("The CSV of the chart holds every cell.")
    if place is not None:
        links.open_problem(rows, str(place), device=pair.after.device_uuid)
