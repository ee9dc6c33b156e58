"""Speedup: how fused compares over the problems, and how that moved over the nights."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import cached_queries, links, url_state
from dashboard.app_pages import marks
from dashboard.charts import distribution, heat_map, shape, trend
from dashboard.filters import BOX_WIDTH, Scope, choose_scope
from dashboard.naming import problem_labels, ratio
from dashboard.panels import chart, finding, hint, note, show_table

SPEEDUP = "speedup over the best baseline (×)"
GROUPS: dict[str, str | None] = {
    "nothing": None,
    "family": "family",
    "precision": "precision",
    "layout": "layout",
}

COLUMNS: dict[str, str] = {
    "pattern": "pattern",
    "batch": "batch",
    "family": "family",
    "speedup": "speedup",
    "speedup_low": "from",
    "speedup_high": "to",
    "best_baseline": "best baseline",
    "left_out": "left out, because",
}


def show() -> None:
    """Draw the page."""
    scope = choose_scope()
    if scope is None:
        return
    newest = cached_queries.run_comparisons(scope.newest.id, "latency", scope.baselines)
    here = newest[(newest["precision"] == scope.precision) & (newest["layout"] == scope.layout)]
    if here["speedup"].notna().sum() == 0:
        _tell_why_empty(scope, here)
        return
    _distribution(scope, newest, here)
    if len(scope.runs) > 1:
        _trend(scope)
    else:
        note("The trend by night begins with the second run.")
    _shape(here)
    if len(scope.runs) > 1:
        _heat_map(scope)
    _table(scope, here)


def _tell_why_empty(scope: Scope, here: pd.DataFrame) -> None:
    reasons = here["left_out"].value_counts()
    if reasons.empty:
        finding(f"Run {scope.newest.id} compares no times for {scope.precision}, {scope.layout}")
        links.link("energy", "See whether it holds energy", icon=":material/bolt:")
        return
    finding(f"No speedup can be given for run {scope.newest.id}: every problem was left out")
    note("A baseline that crashed or has no row leaves its problem out: its absence would flatter fused.")
    show_table(reasons.rename_axis("reason").reset_index(name="problems"))


def _distribution(scope: Scope, newest: pd.DataFrame, here: pd.DataFrame) -> None:
    known = here["speedup"].dropna()
    wins = int((known > 1).sum())
    finding(f"Fused wins {wins} of {len(known)} problems; the median speedup is {ratio(known.median())}")
    left_out = len(here) - len(known)
    note(f"Run {scope.newest.id}: {scope.title}." + (f" {left_out} problems left out." if left_out else ""))
    by = url_state.select("Split by", "split", list(GROUPS), width=BOX_WIDTH)
    column = GROUPS[by]
    frame = newest if column in ("precision", "layout") else here
    frame = frame.assign(problem=problem_labels(frame))
    left, right = st.columns(2)
    with left:
        chart(
            distribution.ecdf(frame, SPEEDUP, column),
            frame[["problem", "precision", "layout", "family", "speedup", "speedup_low", "speedup_high"]],
            "speedup_ecdf",
            f"Share of problems by speedup; the median is {known.median():.2f}.",
        )
    with right:
        chart(
            distribution.histogram(here, SPEEDUP),
            here[["pattern", "batch", "speedup"]],
            "speedup_histogram",
            f"Number of problems by speedup; the median is {known.median():.2f}.",
        )


def _trend(scope: Scope) -> None:
    frame = cached_queries.summaries(scope.device.id, "latency", scope.baselines)
    wanted = (frame["precision"] == scope.precision) & (frame["layout"] == scope.layout)
    frame = frame[wanted & frame["run_id"].isin(scope.run_ids)]
    finding(trend_title(frame, "speedup"))
    chart(
        trend.median_trend(frame, "median speedup (×)", marks.of_runs(scope.runs, scope.device.id)),
        frame,
        "speedup_trend",
        "Median speedup by night with the band of the middle half of the problems.",
    )


def trend_title(frame: pd.DataFrame, what: str) -> str:
    """Where the median was and where it is, in one sentence."""
    known = frame["median_speedup"].dropna()
    if len(known) < 2:
        return f"The trend of the median {what} begins here"
    first, last = ratio(known.iloc[0]), ratio(known.iloc[-1])
    return f"Over {len(known)} nights the median {what} went from {first} to {last}"


def _shape(here: pd.DataFrame) -> None:
    finding("How the speedup depends on the pattern")
    by = url_state.select(
        "Against", "against", list(shape.SHAPE_TITLES), "h", lambda name: shape.SHAPE_TITLES[name], width=360
    )
    frame = here.assign(problem=problem_labels(here))
    chart(
        shape.ratio_by_shape(frame, by, SPEEDUP),
        frame[["problem", "family", "h", "d", "dh", "bc", "speedup", "speedup_low", "speedup_high"]],
        "speedup_shape",
        f"Speedup of each problem against {shape.SHAPE_TITLES[by]}.",
    )


def _heat_map(scope: Scope) -> None:
    run_ids = scope.run_ids[-heat_map.MOST_NIGHTS :]
    frame = cached_queries.comparisons(run_ids, "latency", scope.baselines, scope.precision, scope.layout)
    frame = frame.assign(problem=problem_labels(frame))
    rows = frame["problem"].nunique()
    finding("Every pattern on every night, the fastest on top")
    if rows > heat_map.MOST_ROWS:
        note(f"The {heat_map.MOST_ROWS} of {rows} patterns that are furthest from break-even.")
    chart(
        heat_map.pattern_by_night(frame, "speedup"),
        frame[["run_id", "started_at", "problem", "speedup", "best_baseline", "left_out"]],
        "speedup_by_night",
        "Speedup of every pattern on every night as colours.",
    )


def _table(scope: Scope, here: pd.DataFrame) -> None:
    """The problems of the newest run, the fastest first; choosing a row opens its pattern."""
    finding(f"The problems of run {scope.newest.id}")
    ordered = here.sort_values("speedup", ascending=False)
    names = {name: COLUMNS[name] for name in COLUMNS if ordered[name].notna().any()}
    chosen = show_table(
        ordered[list(names)].rename(columns=names),
        on_select="rerun",
        selection_mode="single-row",
        key="problems",
    )
    hint("Choose a row to open its pattern.")
    if chosen.selection.rows:
        row = ordered.iloc[chosen.selection.rows[0]]
        links.go_to("pattern", pattern=row["pattern"], batch=row["batch"])
