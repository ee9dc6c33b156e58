"""The reads of pages, as DataFrames, cached until the store changes. No statistics here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import pandas as pd
import streamlit as st

from kswatch.dashboard.data.store import database_url, reading_store
from kswatch.db.alerts import precision as alert_precisions
from kswatch.db.artifacts import stored as stored_artifacts
from kswatch.db.gates import reads as gate_reads
from kswatch.db.levels import lasting_changes as level_changes
from kswatch.db.levels import stored as stored_levels
from kswatch.db.model_results import reads as model_reads
from kswatch.db.model_results import summary as model_summaries
from kswatch.db.queries import baseline_sets as queries_baselines
from kswatch.db.queries import basic as queries
from kswatch.db.queries import cells as queries_cells
from kswatch.db.queries import compiled_code as queries_code
from kswatch.db.queries import measurements as queries_measurements
from kswatch.db.queries import page_queries, regression_inputs
from kswatch.db.queries import run_diff as run_differences
from kswatch.db.queries import speed_of_light as queries_light
from kswatch.db.queries import verdicts as queries_changes
from kswatch.db.queries.structures import cells as queries_structured
from kswatch.db.records import ALL, FACTOR, LAYER, ProblemKey
from kswatch.db.request_queue import estimates
from kswatch.db.store import Store

SCORE_SHARES = ("majority", "accuracy", "accuracy_low", "accuracy_high", "balanced_accuracy", "regret")
SCORE_COLUMNS = ("run_id", "device_id", "started_at", "heuristic", "version", "problems") + (
    *SCORE_SHARES,
    *("tp", "fp", "fn", "tn"),
)

P = ParamSpec("P")
R = TypeVar("R")

MOST_CACHED = 500
"""Results kept at once; the oldest are dropped first."""

_snapshots = threading.local()


@contextmanager
def snapshot() -> Iterator[None]:
    """One state of the store while a page is drawn: changes are looked up once, at the start."""
    _snapshots.stamp = page_queries.stamp(reading_store())
    try:
        yield
    finally:
        del _snapshots.stamp


def has_snapshot() -> bool:
    """Whether a page is being drawn, and reads one state of the store."""
    return "stamp" in _snapshots.__dict__


@st.cache_resource(show_spinner=False, max_entries=MOST_CACHED)
def _cached(key: str, _read: Callable[[], R]) -> R:
    """The result of `_read`, the same object for every session."""
    return _read()


def cached_until_change(read: Callable[Concatenate[Store, P], R]) -> Callable[P, R]:
    """The same read of the page's store, repeated only when the store has changed."""

    @wraps(read)
    def cached_read(*args: P.args, **kwargs: P.kwargs) -> R:
        store = reading_store()
        stamp = _snapshots.__dict__.get("stamp") or page_queries.stamp(store)
        key = repr((read.__name__, database_url(), stamp, args, sorted(kwargs.items())))
        return _copy(_cached(key, lambda: read(store, *args, **kwargs)))

    return cached_read


def cached_frame(
    read: Callable[Concatenate[Store, P], Sequence[tuple[Any, ...]]],
    row: type,
    *steps: Callable[[pd.DataFrame], pd.DataFrame],
) -> Callable[P, pd.DataFrame]:
    """The same read, cached, as a frame with the columns of `row`, then changed by each of `steps`."""

    @wraps(read)
    def read_frame(store: Store, *args: P.args, **kwargs: P.kwargs) -> pd.DataFrame:
        frame = _frame(read(store, *args, **kwargs), row)
        for step in steps:
            frame = step(frame)
        return frame

    read_frame.__name__ = "_".join((read.__name__, *(step.__name__ for step in steps)))  # of the cache's key
    return cached_until_change(read_frame)


def _copy(result: R) -> R:
    """A copy that the caller may change; columns of a frame are shared until they are written to."""
    if isinstance(result, pd.DataFrame):
        return result.copy(deep=False)
    return copy(result) if isinstance(result, list | dict) else result


def _measured(rows: Sequence[tuple[Any, ...]], before: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    names = [*before, "implementation", *columns]
    return _with_floats(pd.DataFrame(rows, columns=names), queries.MeasurementRow)


def _frame(rows: Sequence[tuple[Any, ...]], row: Any) -> pd.DataFrame:  # noqa: ANN401  (a NamedTuple class)
    return _with_floats(pd.DataFrame(rows, columns=row._fields), row)


def _with_floats(frame: pd.DataFrame, row: Any) -> pd.DataFrame:  # noqa: ANN401  (a NamedTuple class)
    """Optional numbers, by the row's annotations, as floats: NaN where unknown."""
    types = {name: str(row.__annotations__[name]) for name in frame}
    maybe = [name for name, text in types.items() if "None" in text and ("float" in text or "int" in text)]
    return frame.astype(dict.fromkeys(maybe, float))


def _with_version(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(heuristic=frame["heuristic"] + " v" + frame["version"].astype(str))


def _with_shape(frame: pd.DataFrame) -> pd.DataFrame:
    """Adds the text of the pattern, layer or model, the pattern's family, h, d·h and b·c."""
    a, b, c, d = (frame[letter] for letter in "abcd")
    text = [",".join(map(str, row)) for row in zip(a, b, c, d, strict=True)]
    if "subject" in frame:
        text = [
            {FACTOR: pattern, LAYER: f"{LAYER} {inputs},{outputs}"}.get(subject, subject)
            for pattern, inputs, outputs, subject in zip(text, c, b, frame["subject"], strict=True)
        ]
    family = np.select([d == 1, a == 1], ["d=1", "a=1"], "both>1")
    h = (b + c) / (b * c)
    return frame.assign(pattern=text, family=family, h=h, dh=d * h, bc=b * c)


def _with_canary(frame: pd.DataFrame) -> pd.DataFrame:
    """Adds `canary`, the kernel and precision."""
    return frame.assign(canary=frame["name"] + " " + frame["precision"])


def _with_structure(frame: pd.DataFrame) -> pd.DataFrame:
    """Adds the structure of a cell's weights, its family, and what computes it."""
    if frame.empty:  # whose texts have no parts
        return frame.assign(structure="", algorithm="", family="")
    parts = frame["implementation"].str.rpartition("/")
    return frame.assign(structure=parts[0], algorithm=parts[2], family=parts[0].str.partition(" ")[0])


devices = cached_until_change(queries.devices)
run_groups = cached_until_change(page_queries.run_groups)
runs = cached_until_change(queries.runs)
ended_runs = cached_until_change(queries.ended_runs)
ended_run_ids = cached_until_change(queries.ended_run_ids)
run = cached_until_change(queries.run)
run_events = cached_until_change(queries.run_events)
environment_changes = cached_until_change(queries.environment_changes)
problems = cached_until_change(queries.problems)
alerts = cached_until_change(queries.alerts)
alert_precision = cached_until_change(alert_precisions.alert_precision)
alert_events = cached_until_change(queries.alert_events)
lasting_changes = cached_until_change(level_changes.lasting_changes)
alert_counts = cached_until_change(page_queries.alert_counts)
revisions_between = cached_until_change(page_queries.revisions_between)

artifacts = cached_until_change(stored_artifacts.artifacts)
estimate = cached_until_change(estimates.estimate)
gates = cached_until_change(gate_reads.gates)
gate_cells = cached_until_change(gate_reads.gate_cells)
gate_findings = cached_until_change(gate_reads.gate_findings)
gate_code = cached_until_change(gate_reads.gate_code)

model_summary = cached_until_change(model_summaries.model_summary)
model_nights = cached_until_change(model_reads.model_nights)
runs_of_layers = cached_until_change(queries_structured.runs_of_layers)
runs_of_models = cached_until_change(queries_structured.runs_of_models)

layer_cells = cached_frame(queries_structured.layer_cells, queries_structured.StructuredCell, _with_structure)
summaries = cached_frame(queries.summaries, queries.SummaryRow)
problem_measurements = cached_frame(queries.measurements, queries.MeasurementRow)
problem_comparisons = cached_frame(queries.comparisons, queries.ComparisonRow)
run_comparisons = cached_frame(queries.comparisons, queries.ComparisonRow, _with_shape)
medians = cached_frame(queries_measurements.medians_of_runs, queries_measurements.Median)
ratios = cached_frame(queries_cells.ratios_of_runs, queries_cells.Ratio)
canary_rates = cached_frame(regression_inputs.canary_readings, regression_inputs.CanaryReading, _with_canary)
canaries = cached_frame(queries.canaries, queries.CanaryRow, _with_canary)
run_sets = cached_until_change(queries_baselines.run_sets)
speed_of_light = cached_frame(queries_light.speed_of_light, queries_light.SpeedOfLightRow)
verdict_counts = cached_frame(queries_changes.verdict_counts, queries_changes.VerdictCount)
change_groups = cached_frame(queries_changes.change_groups, queries_changes.ChangeGroup)
fused_changes = cached_frame(queries_changes.fused_changes, queries_changes.LevelChange)
changes = cached_frame(queries_changes.changes, queries.VerdictRow, _with_shape)
problem_levels = cached_frame(stored_levels.problem_levels, stored_levels.ProblemLevel)
problem_verdicts = cached_frame(queries_changes.problem_verdicts, queries.VerdictRow)
cell_differences = cached_frame(run_differences.cell_differences, run_differences.CellDifference, _with_shape)
missing_cells = cached_frame(run_differences.missing_cells, run_differences.MissingCells)
resources = cached_frame(queries_code.resources, queries_code.ResourceRow)
counters = cached_frame(queries_code.counters, queries_code.CounterRow)
problem_predictions = cached_frame(
    queries_cells.predictions_of_problem, queries_cells.PredictionPoint, _with_version
)
outcomes = cached_frame(queries.prediction_outcomes, queries.PredictionOutcome, _with_version, _with_shape)
accuracies = cached_frame(queries.score_points, queries.ScorePoint, _with_version)
"""`heuristic` carries the version, here and in the two above."""


@cached_until_change
def run_cells(
    store: Store,
    run_id: int,
    columns: Sequence[str],
    precision: str | None = None,
    layout: str | None = None,
) -> pd.DataFrame:
    """These columns of a run's measurements, with problem and implementation."""
    found = queries_cells.cells_of_run(store, run_id, columns, precision, layout)
    return _with_shape(_measured(found, ["problem_id", *queries_cells.PROBLEM_NAMES], columns))


@cached_until_change
def problem_cells(
    store: Store, run_ids: Sequence[int], problem: ProblemKey, columns: Sequence[str]
) -> pd.DataFrame:
    """These columns of every measurement of one problem in these runs, with the implementation."""
    return _measured(queries_cells.cells_of_problem(store, run_ids, problem, columns), [], columns)


@cached_until_change
def heuristic_nights(
    store: Store, run_ids: Sequence[int], metric: str, baselines: str, precision: str, layout: str
) -> pd.DataFrame:
    """The scores of each heuristic per run, as stored when the run ended, else computed now.

    `heuristic` carries the version. Only against those of stock torch they are stored.
    """
    about = {"metric": metric, "precision": precision, "layout": layout}
    stored = queries.heuristic_scores(store, run_ids, **about) if baselines == ALL else []
    left = set(run_ids) - {score.run_id for score in stored}
    counted = queries.counted_scores(store, left, baselines=baselines, **about) if left else []
    scores = [vars(score) for score in (*stored, *counted)]
    found = pd.DataFrame(scores, columns=SCORE_COLUMNS).astype(dict.fromkeys(SCORE_SHARES, float))
    return _with_version(found.sort_values(["run_id", "heuristic", "version"], ignore_index=True))


@cached_until_change
def samples(store: Store, run_id: int, cells: Sequence[tuple[str, int, str]]) -> pd.DataFrame:
    """Raw samples of a run: `implementation`, `sample_ms`.

    Args:
        store: to read.
        run_id: of the run.
        cells: implementation, cell id and mode of each.
    """
    kept = queries_cells.samples_of_run(store, run_id, [cell_id for _, cell_id, _ in cells])
    found = [
        (implementation, value)
        for implementation, cell_id, mode in cells
        for value in kept.get((cell_id, mode), ())
    ]
    return pd.DataFrame(found, columns=["implementation", "sample_ms"])
