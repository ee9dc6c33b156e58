"""Speedup: how fused compares over the problems, and how that moved over the nights."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from kswatch.dashboard.charts import distribution, heat_map, roofline, trend
from kswatch.dashboard.charts import pattern_shape as shape
from kswatch.dashboard.components import links, url_state
from kswatch.dashboard.components.filters import BOX_WIDTH, Scope, choose_scope
from kswatch.dashboard.components.panels import chart, choose_row, finding, note, show_table
from kswatch.dashboard.data import annotations as marks
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.data import rates
from kswatch.dashboard.formatting.labels import are_as_many, count, device_names, problem_labels, ratio, share

SPEEDUP = "speedup over the best baseline (×)"
GROUPS: dict[str, str | None] = {
    "nothing": None,
    "family": "family",
    "precision": "precision",
    "layout": "layout",
    "device": "device",
}
ACROSS = ("precision", "layout")
"""Splits that look at more of the run than the filters leave."""

TABLE_HEIGHT = 560
OVER_THE_ROOF = 1.1
"""A cell may measure so much more than the canaries; more says that one of them is no measure."""

COLUMNS: dict[str, str] = {
    "pattern": "pattern",
    "speedup": "speedup",
    "speedup_low": "from",
    "speedup_high": "to",
    "best_baseline": "best baseline",
    "batch": "batch",
    "family": "family",
    "left_out": "left out, because",
}


def show() -> None:
    """Draw the page."""
    scope = choose_scope()
    if scope is None:
        return
    here = cached_queries.run_comparisons(scope.newest.id, "latency", *scope.about)
    if here["speedup"].notna().sum() == 0:
        _tell_why_empty(scope, here)
        return
    _distribution(scope, here)
    if len(scope.runs) > 1:
        _trend(scope)
    else:
        note("The trend by night begins with the second run.")
    _shape(scope, here)
    _roofline(scope)
    _by_night(scope, here)


def _tell_why_empty(scope: Scope, here: pd.DataFrame) -> None:
    reasons = here["left_out"].value_counts()
    if reasons.empty:
        finding(f"Run {scope.newest.id} compares no times for {scope.precision}, {scope.layout}")
        links.link("energy", "See whether it holds energy", icon=":material/bolt:")
        return
    finding(f"No speedup can be given for run {scope.newest.id}: every problem was left out")
    note("A baseline that crashed or has no row leaves its problem out: its absence would flatter fused.")
    show_table(reasons.rename_axis("reason").reset_index(name="problems"))


def _distribution(scope: Scope, here: pd.DataFrame) -> None:
    known = here["speedup"].dropna()
    wins = int((known > 1).sum())
    clear = int((here["speedup_low"] > 1).sum())
    sure = f", {clear} of them clearly" if here["speedup_low"].notna().any() and clear < wins else ""
    finding(
        f"Fused wins {wins} of {len(known)} problems{sure}; the median speedup is {ratio(known.median())}"
    )
    left_out = len(here) - len(known)
    note(
        f"Run {scope.newest.id}: {scope.title}."
        + (f" {count(left_out, 'problem')} left out." if left_out else "")
    )
    by = url_state.select("Split by", "split", list(GROUPS), width=BOX_WIDTH)
    column = GROUPS[by]
    frame = here
    if column == "device":
        frame = _of_devices(scope)
    elif column in ACROSS:
        frame = cached_queries.run_comparisons(scope.newest.id, "latency", scope.baselines)
    frame = frame.assign(problem=problem_labels(frame)).reset_index(drop=True)
    left, right = st.columns(2)
    with left:
        chart(
            distribution.ecdf(frame, SPEEDUP, column),
            frame[["problem", *filter(None, [column]), "speedup", "speedup_low", "speedup_high"]],
            "speedup_ecdf",
            f"Share of problems by speedup; the median is {known.median():.2f}.",
            opens=partial(_open_problem, frame, scope),
        )
    with right:
        chart(
            distribution.histogram(here, SPEEDUP),
            here[["pattern", "batch", "speedup"]],
            "speedup_histogram",
            f"Number of problems by speedup; the median is {known.median():.2f}.",
        )


def _of_devices(scope: Scope) -> pd.DataFrame:
    """The newest comparisons of every device that has runs of this source, of this suite where it can be."""
    groups = [group for group in cached_queries.run_groups() if scope.source.holds(group)]
    names = device_names(cached_queries.devices())
    frames = []
    for device_id in dict.fromkeys(group.device_id for group in groups):
        own = [group for group in groups if group.device_id == device_id]
        newest = max(own, key=lambda group: (group.suite == scope.suite, group.newest_run_id))
        frame = cached_queries.run_comparisons(newest.newest_run_id, "latency", *scope.about)
        frames.append(frame.assign(device=names[device_id]))
    return pd.concat(frames, ignore_index=True)


def _open_problem(frame: pd.DataFrame, scope: Scope, label: str) -> None:
    """Leave for the pattern page of a point, on the device that the point is of."""
    device_id = frame.loc[int(label), "device_id"] if "device_id" in frame else scope.device.id
    device = next(one for one in cached_queries.devices() if one.id == device_id)
    links.open_problem(frame, label, device=device.uuid)


def _trend(scope: Scope) -> None:
    frame = cached_queries.summaries(scope.run_ids, "latency", scope.baselines, scope.precision, scope.layout)
    finding(trend_title(frame, "speedup"))
    chart(
        trend.median_trend(frame, "median speedup (×)", marks.of_runs(scope.runs, scope.device.id)),
        frame,
        "speedup_trend",
        "Median speedup by night with the band of the middle half of the problems.",
        opens=links.open_run,
    )


def trend_title(frame: pd.DataFrame, what: str) -> str:
    """Where the median was and where it is, in one sentence."""
    known = frame["median_speedup"].dropna()
    if len(known) < 2:
        return f"The trend of the median {what} begins here"
    first, last = ratio(known.iloc[0]), ratio(known.iloc[-1])
    went = f"Over {len(known)} nights the median {what} went from {first} to {last}"
    problems = frame.loc[known.index, "problems"]
    if are_as_many(problems.iloc[0], problems.iloc[-1]):
        return went
    return f"{went}, but of other problems: {problems.iloc[0]:,} at first, {problems.iloc[-1]:,} now"


def _shape(scope: Scope, here: pd.DataFrame) -> None:
    finding("How the speedup depends on the pattern")
    by = url_state.select(
        "Against", "against", list(shape.SHAPE_TITLES), "h", lambda name: shape.SHAPE_TITLES[name], width=360
    )
    frame = here.assign(problem=problem_labels(here)).reset_index(drop=True)
    chart(
        shape.ratio_by_shape(frame, by, SPEEDUP),
        frame[["problem", "family", "h", "d", "dh", "bc", "speedup", "speedup_low", "speedup_high"]],
        "speedup_shape",
        f"Speedup of each problem against {shape.SHAPE_TITLES[by]}.",
        opens=partial(_open_problem, frame, scope),
    )


def _roofline(scope: Scope) -> None:
    frame = rates.of_run(scope.newest.id, scope.precision, scope.layout)
    if frame.empty:
        return
    bytes_per_s, flops_per_s = rates.ceilings(scope.newest.id, scope.precision)
    roofs = [roofline.ceiling_gflops(x, bytes_per_s, flops_per_s) for x in frame["intensity"]]
    fused = [
        rate / roof
        for name, rate, roof in zip(frame["implementation"], frame["gflops"], roofs, strict=True)
        if name == "fused" and roof
    ]
    reached = [rate / roof for rate, roof in zip(frame["gflops"], roofs, strict=True) if roof]
    if reached and max(reached) > OVER_THE_ROOF:
        finding(f"The roof is too low to compare with: cells reach up to {share(max(reached))} of it")
        note("Canaries measure the roof: the machine was busier when they ran, or had its operands in cache.")
    elif fused:
        finding(f"Fused reaches up to {share(max(fused))} of the roof that this run's canaries measured")
    else:
        finding("The rate of every implementation; this run measured no canary to hold it against")
    roof = [
        f"copying at {bytes_per_s / 1e9:,.0f} GB/s" if bytes_per_s else "",
        f"multiplying at {flops_per_s / 1e9:,.0f} GFLOP/s" if flops_per_s else "",
    ]
    if any(roof):
        note(f"The roof: {' and '.join(filter(None, roof))}, medians of its canaries.")
    chart(
        roofline.roofline(frame, bytes_per_s, flops_per_s),
        frame[["problem", "implementation", "intensity", "gflops", "gflops_low", "gflops_high"]],
        "roofline",
        "Rate of every cell against its flops per byte, under the measured roof.",
        opens=partial(_open_problem, frame, scope),
    )


def _by_night(scope: Scope, here: pd.DataFrame) -> None:
    """The heat map, where clicks select nothing, and the table of the same problems beside it."""
    if len(scope.runs) < 2:
        _table(scope, here)
        return
    left, right = st.columns([3, 2], gap="medium")
    with left:
        _heat_map(scope, here)
    with right:
        _table(scope, here)


def _heat_map(scope: Scope, here: pd.DataFrame) -> None:
    finding("Every pattern on every night, the fastest on top")
    problems = cached_queries.problem_table(scope.precision, scope.layout)
    problems = problems[problems["problem_id"].isin(here["problem_id"])]
    if len(problems) > heat_map.MOST_ROWS:
        note(f"The {heat_map.MOST_ROWS} of {len(problems)} patterns that are furthest from break-even.")
        problems = problems[problems["problem_id"].isin(_furthest(here, heat_map.MOST_ROWS))]
    labels = problem_labels(problems).set_axis(problems["problem_id"])
    started = {run.id: run.started_at for run in scope.runs}
    run_ids = scope.run_ids[-heat_map.MOST_NIGHTS :]
    frame = cached_queries.ratios(run_ids, "latency", scope.baselines, tuple(labels.index))
    frame = frame.assign(problem=frame["problem_id"].map(labels), started_at=frame["run_id"].map(started))
    chart(
        heat_map.pattern_by_night(frame, "speedup"),
        frame[["run_id", "started_at", "problem", "speedup", "best_baseline", "left_out"]],
        "speedup_by_night",
        "Speedup of every pattern on every night as colours.",
    )


def _furthest(here: pd.DataFrame, most: int) -> pd.Series:
    """The problems whose speedup is furthest from 1, whichever way."""
    return here.loc[np.log2(here["speedup"]).abs().nlargest(most).index, "problem_id"]


def _table(scope: Scope, here: pd.DataFrame) -> None:
    """The problems of the newest run, the fastest first; choosing a row opens its pattern."""
    finding(f"The problems of run {scope.newest.id}")
    ordered = here.sort_values("speedup", ascending=False).reset_index(drop=True)
    names = {name: COLUMNS[name] for name in COLUMNS if ordered[name].notna().any()}
    place = choose_row(
        ordered[list(names)].rename(columns=names), "problems", "to open its pattern", TABLE_HEIGHT
    )
    if place is not None:
        links.open_problem(ordered, str(place), device=scope.device.uuid)
