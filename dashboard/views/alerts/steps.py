"""The step of an alert: one of its series by night, its level before, and its value after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from math import nan
from typing import Any

import pandas as pd
import streamlit as st

from kswatch.dashboard.charts import pattern_history
from kswatch.dashboard.charts.trend import Annotation
from kswatch.dashboard.components import links
from kswatch.dashboard.components.panels import chart, note
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.data.device_runs import SOURCES
from kswatch.dashboard.formatting.code_urls import SHORT_COMMIT
from kswatch.dashboard.formatting.labels import metric_label, percent
from kswatch.db.metrics import METRIC_BY_NAME, SPEEDUPS
from kswatch.db.queries.basic import AlertRow, RunRow
from kswatch.db.queries.cells import MEASURED_NAMES
from kswatch.db.records import LAYER, ProblemKey
from kswatch.errors import UsageError
from kswatch.kernels.pattern import Pattern

MOST_NIGHTS = 90
Cell = Mapping[str, Any]


def show_step(alert: AlertRow, cells: Sequence[Cell]) -> None:
    """Draw the chart of one of the alert's series, the one with the largest change by default."""
    known = [cell for cell in cells if _has_step(cell)]
    if not known:
        return
    names = [_name(cell) for cell in known]
    place = 0
    if len(known) > 1:
        place = st.selectbox(
            "Series", range(len(known)), format_func=names.__getitem__, key=f"series_of_{alert.id}"
        )
    cell = known[place]
    frame, runs = _by_night(alert, cell)
    step = _step(alert, cell, runs)
    if step is None or frame["value"].notna().sum() == 0:
        note("The nights of this alert are not in the store.")
        return
    metric = METRIC_BY_NAME[cell["metric"]]
    chart(
        pattern_history.step_by_night(frame, f"{metric.label} ({metric.unit})", step, _suspects(alert, runs)),
        frame,
        f"alert_{alert.id}_step",
        f"{names[place]} by night: level {step.before:.4g} {metric.unit} before, "
        f"{step.after:.4g} {metric.unit} after.",
        on_open=links.open_run,
    )


def _has_step(cell: Cell) -> bool:
    stored = {*MEASURED_NAMES, *SPEEDUPS}
    return cell.get("metric") in stored and all(
        isinstance(cell.get(name), float) for name in ("level", "value")
    )


def _name(cell: Cell) -> str:
    where = " ".join(str(cell[name]) for name in ("pattern", "batch", "precision", "layout") if name in cell)
    return f"{cell['implementation']} {metric_label(cell['metric'])} {percent(cell.get('change'))} on {where}"


def _by_night(alert: AlertRow, cell: Cell) -> tuple[pd.DataFrame, list[RunRow]]:
    """The series by night: `run_id`, `started_at`, `value`, `value_low`, `value_high`; and its runs."""
    empty = pd.DataFrame(columns=["run_id", "started_at", "value", "value_low", "value_high"])
    problem = _problem(cell)
    opened = cached_queries.run(alert.opened_run_id)
    source = next((one for one in SOURCES if one.holds(opened)), None)
    if problem is None or source is None:
        return empty, []
    (runs,) = cached_queries.ended_runs((source.nights(alert.device_id, opened.suite),), MOST_NIGHTS)
    run_ids = tuple(run.id for run in runs)
    metric = METRIC_BY_NAME[cell["metric"]]
    value, low, high = metric.name, metric.low, metric.high
    if metric.baselines is not None:  # a speedup
        held = cached_queries.problem_comparisons(
            run_ids, problem=problem, metric="latency", baselines=metric.baselines
        )
        value, low, high = "speedup", "speedup_low", "speedup_high"
    else:
        columns = ("run_id", "mode", value, *(name for name in (low, high) if name))
        held = cached_queries.problem_cells(run_ids, problem, columns)
        held = held[(held["implementation"] == cell["implementation"]) & (held["mode"] != "hot")]
    started = {run.id: run.started_at for run in runs}
    frame = pd.DataFrame(
        {
            "run_id": held["run_id"],
            "started_at": held["run_id"].map(started),
            "value": held[value],
            "value_low": held[low] if low else nan,
            "value_high": held[high] if high else nan,
        }
    )
    return frame, runs


def _problem(cell: Cell) -> ProblemKey | None:
    """The problem of a cell; None where this version cannot read it."""
    text = str(cell.get("pattern", ""))
    about = (int(cell.get("batch", 0)), str(cell.get("precision")), str(cell.get("layout")))
    kind, _, sides = text.partition(" ")
    if kind == LAYER:
        inputs, outputs = map(int, sides.split(","))
        return ProblemKey(1, outputs, inputs, 1, *about, subject=LAYER)
    if "," not in kind:
        return ProblemKey(1, 1, 1, 1, *about, subject=text)
    with suppress(UsageError):
        return ProblemKey(*Pattern.parse(text).as_tuple(), *about)
    return None


def _step(alert: AlertRow, cell: Cell, runs: Sequence[RunRow]) -> pattern_history.Step | None:
    at = {run.id: run.started_at for run in runs}
    good, bad = _between(alert)
    if bad not in at:
        return None
    low, high = (cell.get(name) for name in ("change_low", "change_high"))
    before = cell["level"]
    return pattern_history.Step(
        before=before,
        after=cell["value"],
        after_low=before * (1 + low) if isinstance(low, float) else nan,
        after_high=before * (1 + high) if isinstance(high, float) else nan,
        good_at=at.get(good, at[bad]),
        bad_at=at[bad],
    )


def _between(alert: AlertRow) -> tuple[int, int]:
    """The last good and the first bad run."""
    facts = alert.explanation
    return facts.get("last_good_run") or 0, facts.get("first_bad_run") or alert.opened_run_id


def _suspects(alert: AlertRow, runs: Sequence[RunRow]) -> list[Annotation]:
    """The revisions that were first measured between the last good and the first bad run."""
    good, bad = _between(alert)
    at: dict[int, datetime] = {run.id: run.started_at for run in runs}
    return [
        Annotation(at[one.first_run_id], "revision", f"{one.commit[:SHORT_COMMIT]} {one.subject or ''}")
        for one in cached_queries.revisions_between(alert.device_id, good, bad)
        if good and one.first_run_id in at
    ]
