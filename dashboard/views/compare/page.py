"""Compare: two runs, two revisions or two devices, cell by cell, with how sure each step is."""

from __future__ import annotations

from functools import partial

import pandas as pd
import streamlit as st

from kswatch.dashboard.charts import run_diff as differences
from kswatch.dashboard.components import links, url_state
from kswatch.dashboard.components.filters import BOX_WIDTH, tell_empty_store
from kswatch.dashboard.components.panels import chart, choose_row, finding, note, origin_badge
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.formatting.labels import count, percent, problem_labels
from kswatch.dashboard.views.compare import selection as compare_sides
from kswatch.dashboard.views.compare.selection import Pair
from kswatch.dashboard.views.devices.environment_diff import show_difference

METRICS = {"latency_ms": "time per product (ms)", "energy_mj": "energy per product (mJ)"}
ANY = "any"
FLOORS = ("0", "2", "5", "10", "25")
"""Per cent that a step must have at least to count as clear."""

SHOWN = {"clear": "clear steps", "all": "all cells"}
TABLE_HEIGHT = 460

COLUMNS: dict[str, str] = {
    "outcome": "outcome",
    "change": "change",
    "between": "95 % interval",
    "problem": "problem",
    "implementation": "implementation",
    "mode": "mode",
    "before": "before",
    "after": "after",
    "p_value": "p",
}


def show() -> None:
    """Draw the page."""
    if not cached_queries.run_groups():
        tell_empty_store()
        return
    pair = compare_sides.choose_pair()
    if pair is None:
        return
    finding_place = st.container()
    _tell_pair(pair)
    metric, floor = _choose_metric()
    frame = cached_queries.cell_differences(pair.before.id, pair.after.id, metric)
    if frame.empty:
        with finding_place:
            finding(f"The two runs have no cell in common with a {METRICS[metric]}")
        show_difference(pair.before, pair.after)
        return
    frame = _filtered(_with_outcome(frame, floor))
    with finding_place:
        finding(_headline(frame, metric))
    if frame.empty:
        note("No cell is left by these filters.")
        return
    _chart(frame, metric, pair)
    _table(frame, metric, pair)
    show_difference(pair.before, pair.after)


def _tell_pair(pair: Pair) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        for origin in dict.fromkeys((pair.before.origin, pair.after.origin)):
            origin_badge(origin)
        note(pair.title)
    if pair.before.device_id != pair.after.device_id:
        st.warning(
            "Two devices: energy read by different boards must not be ranked.", icon=":material/warning:"
        )


def _choose_metric() -> tuple[str, float]:
    with st.container(horizontal=True, gap="small"):
        metric = url_state.select("Metric", "metric", list(METRICS), show=METRICS.__getitem__, width=220)
        floor = url_state.select(
            "A step counts from", "floor", list(FLOORS), "2", lambda name: f"{name} %", width=BOX_WIDTH
        )
    return metric, float(floor) / 100


def _with_outcome(frame: pd.DataFrame, floor: float) -> pd.DataFrame:
    """Adds the problem's label and the outcome: clear and at least as large as the floor, or not."""
    clear = frame["clear"] & (frame["change"].abs() >= floor)
    words = (frame["change"] < 0).map({True: "better", False: "worse"})
    return frame.assign(problem=problem_labels(frame), outcome=words.where(clear, "cannot be told apart"))


def _filtered(frame: pd.DataFrame) -> pd.DataFrame:
    """Draw the boxes for what the cells are, where they differ, and leave those that are wanted."""
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


def _headline(frame: pd.DataFrame, metric: str) -> str:
    outcomes = frame["outcome"].value_counts()
    worse, better = (int(outcomes.get(name, 0)) for name in ("worse", "better"))
    words = ("slower", "faster") if metric == "latency_ms" else ("need more", "need less")
    if not worse and not better:
        return f"None of {count(len(frame), 'cell')} can be told apart"
    return f"{worse:,} {words[0]}, {better:,} {words[1]}, of {count(len(frame), 'cell')}"


def _chart(frame: pd.DataFrame, metric: str, pair: Pair) -> None:
    chart(
        differences.change_by_size(frame, METRICS[metric]),
        frame[
            ["problem", "implementation", "mode", "before", "after", "change", "change_low", "change_high"]
        ],
        "run_differences",
        "The change of each cell against its figure before.",
        opens=partial(links.open_problem, frame, device=pair.after.device_uuid),
    )
    note(
        "Clear: the step stands out of both runs' own intervals, with at most 5 % chance findings among the "
        "clear ones (Benjamini–Hochberg), and is as large as asked for. What a machine does between two runs "
        "is in neither interval: only a history of nights knows that."
    )


def _chance(p_value: float) -> str:
    """A p-value for people; a dash where an interval is not known."""
    if p_value != p_value:
        return "–"
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def _table(frame: pd.DataFrame, metric: str, pair: Pair) -> None:
    shown = url_state.segments("Cells", "cells", list(SHOWN), show=SHOWN.__getitem__)
    rows = frame if shown == "all" else frame[frame["outcome"] != "cannot be told apart"]
    rows = rows.reset_index(drop=True)
    if rows.empty:
        note("No step is clear.")
        return
    unit = METRICS[metric].rpartition("(")[2].rstrip(")")
    table = rows.assign(
        change=rows["change"].map(percent),
        p_value=rows["p_value"].map(_chance),
        between=[
            f"{percent(low)} to {percent(high)}"
            for low, high in zip(rows["change_low"], rows["change_high"], strict=True)
        ],
    )
    names = COLUMNS | {"before": f"before ({unit})", "after": f"after ({unit})"}
    place = choose_row(
        table[list(COLUMNS)].rename(columns=names), "cell_differences", "to open its pattern", TABLE_HEIGHT
    )
    note("The chart's CSV holds every cell.")
    if place is not None:
        links.open_problem(rows, str(place), device=pair.after.device_uuid)
