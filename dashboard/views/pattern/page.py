"""Pattern: one problem over the nights, all implementations, its predictions and verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from math import nan

import pandas as pd
import streamlit as st

from kswatch.dashboard.charts import pattern_history
from kswatch.dashboard.charts.trend import Annotation
from kswatch.dashboard.components import downloads, links, url_state
from kswatch.dashboard.components.filters import BOX_WIDTH, Scope, choose_scope
from kswatch.dashboard.components.panels import TITLES, chart, choose_row, finding, note
from kswatch.dashboard.components.sections import show_section
from kswatch.dashboard.components.verdict_rows import readable
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.formatting.labels import count
from kswatch.dashboard.views.heuristics.page import outcome_names
from kswatch.dashboard.views.pattern import answer, matrix, night, predicted, status
from kswatch.dashboard.views.pattern.series_levels import RATIO_SERIES, levels_of
from kswatch.db.records import ProblemKey
from kswatch.errors import UsageError
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem

METRICS: dict[str, str] = {
    "latency_ms": "latency (ms)",
    "energy_mj": "energy per product (mJ)",
    "cycles": "SM cycles per product",
    "floor_ratio": "% of roofline",
    "power_w": "power (W)",
}
WITH_INTERVAL = ("latency_ms", "energy_mj")
BOUNDS = ("latency_low_ms", "latency_high_ms", "energy_low_mj", "energy_high_mj")
COLUMNS = ("run_id", "mode", "status", *METRICS, *BOUNDS)
RATIOS = {"latency": "speedup (×)", "energy": "energy ratio (×)"}

VERDICT_COLUMNS = (
    *("run_id", "verdict", "change", "between", "implementation"),
    *("metric", "cause", "alert_id", "reason"),
)


def show() -> None:
    """Draw the page."""
    scope = choose_scope()
    if scope is None:
        return
    key = _choose_problem(scope)
    if key is None:
        return
    pattern, batch = key
    downloads.set_subject(device=scope.name, run=scope.newest.id, pattern=pattern, batch=batch, **scope.about)
    problem = ProblemKey(*pattern.as_tuple(), batch, scope.precision, scope.layout)
    cells = cached_queries.problem_cells(scope.run_ids, problem, COLUMNS)
    if cells.empty:
        predicted.show_predicted(scope, pattern, batch)
        return
    both = cached_queries.problem_comparisons(
        scope.run_ids, problem=problem, metric=None, baselines=scope.baselines
    )
    compared = {metric: both[both["metric"] == metric] for metric in RATIOS}
    predictions = cached_queries.problem_predictions(scope.run_ids, problem)
    measured = compared["latency"][["run_id", "started_at", "speedup", "best_baseline"]]
    outcomes = predictions.merge(measured.dropna(subset=["speedup"]), on="run_id")
    verdicts = cached_queries.problem_verdicts(scope.run_ids, problem)
    alerts = status.alerts_of(verdicts)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        with st.container(border=True):
            answer.show_answer(str(pattern), cells, compared, scope.newest.id)
            status.show_status(scope, verdicts, alerts)
        _shape_note(scope, pattern, batch)
        _request_link(scope, pattern, batch, "Request a run of this pattern")
    with right:
        matrix.show_matrix(scope, pattern)
    levels = levels_of(scope, problem)
    marks = status.alert_marks(scope, alerts)
    _ratios(compared, levels, marks)
    _implementations(scope, cells, levels, marks)
    _predictions(outcomes)
    show_section(night.show_night, scope, problem, set(cells["run_id"]))
    _verdicts(verdicts)


def _choose_problem(scope: Scope) -> tuple[Pattern, int] | None:
    """Draw the boxes of pattern and batch, with buttons to the pattern before and after."""
    held = [
        problem
        for problem in cached_queries.problems(scope.device.id)
        if (problem.precision, problem.layout) == (scope.precision, scope.layout)
    ]
    patterns = sorted({Pattern(p.a, p.b, p.c, p.d) for p in held})
    if not patterns:
        note(f"No measurements for {scope.precision}, {scope.layout}; choose another above.")
        return None
    if (requested := _requested_pattern()) and requested not in patterns:
        patterns = sorted([*patterns, requested])
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        _step_button("before", -1, patterns)
        pattern = url_state.select("Pattern a,b,c,d", "pattern", patterns, width=BOX_WIDTH + 60)
        _step_button("after", 1, patterns)
        own = {p.batch for p in held if Pattern(p.a, p.b, p.c, p.d) == pattern}
        batches = sorted(own or {p.batch for p in held})
        batch = url_state.select("Batch", "batch", batches, width=BOX_WIDTH)
    return pattern, batch


def _requested_pattern() -> Pattern | None:
    """The pattern that the URL asks for, measured or not."""
    with suppress(UsageError):
        return Pattern.parse(url_state.requested("pattern") or "")
    return None


def _step_button(name: str, by: int, patterns: list[Pattern]) -> None:
    icon = ":material/chevron_left:" if by < 0 else ":material/chevron_right:"
    st.button(
        "", icon=icon, help=f"the pattern {name}", key=f"step_{name}", on_click=_step, args=(patterns, by)
    )


def _step(patterns: list[Pattern], by: int) -> None:
    """Switch to a neighbour in the list, wrapping around at its ends."""
    texts = [str(pattern) for pattern in patterns]
    now = url_state.requested("pattern")
    index = texts.index(now) if now in texts else 0
    url_state.remember("pattern", texts[(index + by) % len(texts)])


def _request_link(scope: Scope, pattern: Pattern, batch: int, label: str) -> None:
    chosen = {"pattern": pattern, "batch": batch, "precision": scope.precision, "layout": scope.layout}
    links.link("ask", label, icon=":material/add_circle:", device=scope.device.uuid, **chosen)


def _shape_note(scope: Scope, pattern: Pattern, batch: int) -> None:
    problem = Problem(pattern, batch, scope.precision, scope.layout)  # type: ignore[arg-type]
    note(
        f"{pattern.columns} features in, {pattern.rows} out, density {pattern.density}, h = {pattern.h}, "
        f"{problem.flops / 1e9:.3g} GFLOP and {problem.compulsory_bytes / 1e6:.3g} MB per product, "
        f"{problem.intensity:.1f} flops per byte. Run {scope.newest.id}: {scope.title}."
    )


def _ratios(compared: dict[str, pd.DataFrame], levels: pd.DataFrame, marks: Sequence[Annotation]) -> None:
    of_ratio = {"latency": levels[levels["metric"].isin(list(RATIO_SERIES.values()))]}
    shown = {name: frame for name, frame in compared.items() if frame["speedup"].notna().any()}
    if shown:
        for column, (name, frame) in zip(st.columns(len(shown)), shown.items(), strict=True):
            with column:
                chart(
                    pattern_history.ratio_by_night(
                        frame.dropna(subset=["speedup"]), RATIOS[name], of_ratio.get(name), marks
                    ),
                    frame,
                    f"pattern_{name}_ratio",
                    f"The problem's {RATIOS[name]} by night.",
                    on_choose=partial(url_state.remember, "night"),
                )
    for name in compared.keys() - shown.keys():
        reasons = ", ".join(compared[name]["left_out"].dropna().unique()) or "not compared"
        note(f"No {RATIOS[name].partition(' (')[0]}: {reasons}.")


def _predictions(frame: pd.DataFrame) -> None:
    if frame.empty:
        note("No predictions are stored for this problem.")
        return
    fused_won = frame["speedup"] > 1
    frame = frame.assign(
        outcome=outcome_names(frame),
        predicted=frame["predicts_fused"].map({True: "fused", False: "a baseline"}),
        fastest=[
            "fused" if won else best for won, best in zip(fused_won, frame["best_baseline"], strict=True)
        ],
    )
    newest = frame[frame["run_id"] == frame["run_id"].max()]
    correct = int(newest["outcome"].str.startswith("correct").sum())
    finding(f"Predictions by night: {correct} of {count(len(newest), 'heuristic')} correct in the newest run")
    chart(
        pattern_history.predictions_by_night(frame),
        frame[["run_id", "started_at", "heuristic", "predicted", "fastest", "outcome"]],
        "pattern_predictions",
        "The prediction of each heuristic by night, correct or wrong, below the fastest implementation.",
        on_choose=partial(url_state.remember, "night"),
    )


def _implementations(
    scope: Scope, cells: pd.DataFrame, levels: pd.DataFrame, marks: Sequence[Annotation]
) -> None:
    cold = cells[cells["mode"] != "hot"]
    held = [metric for metric in METRICS if cold[metric].notna().any()]
    if not held:
        note("This problem has neither latency nor energy.")
        return
    finding("All implementations by night")
    metric = held[0]
    if len(held) > 1:
        metric = url_state.select("Metric", "metric", held, show=METRICS.__getitem__, width=260)
    started = {run.id: run.started_at for run in scope.runs}
    frame = cold.assign(started_at=cold["run_id"].map(started), value_low=nan, value_high=nan)
    bounds = []
    if metric in WITH_INTERVAL:
        bounds = [metric.replace("_", "_low_"), metric.replace("_", "_high_")]
        frame = frame.assign(value_low=cold[bounds[0]], value_high=cold[bounds[1]])
    in_unit = frame.assign(floor_ratio=frame["floor_ratio"] * 100)  # stored as a share
    chart(
        pattern_history.implementations_by_night(
            in_unit, metric, METRICS[metric], levels[levels["metric"] == metric], marks
        ),
        frame[["run_id", "started_at", "implementation", "status", metric, *bounds]],
        "pattern_implementations",
        "Every implementation of this problem by night with its 95 % interval and its levels.",
        on_choose=partial(url_state.remember, "night"),
    )


def _verdicts(frame: pd.DataFrame) -> None:
    """Draw the table of verdicts; choosing a row that has an alert opens it."""
    if frame.empty:
        note("No change of this problem was flagged in these runs.")
        return
    alerts = frame["alert_id"].dropna().nunique()
    finding(f"{count(len(frame), 'change')} flagged" + (f", {count(alerts, 'alert')}" if alerts else ""))
    table = readable(frame)[list(VERDICT_COLUMNS)].rename(columns=TITLES)
    place = choose_row(table, "verdicts", "to open its alert, or its run where it has none")
    if place is not None:
        row = frame.iloc[place]
        if row["alert_id"] == row["alert_id"]:
            links.go_to("alerts", alert=int(row["alert_id"]))
        links.open_run(str(row["run_id"]))
