"""What pages read, as DataFrames, remembered until the store has news. No statistics here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import pandas as pd
import streamlit as st

from kswatch.dashboard.data.store import database_url, reading_store
from kswatch.db.queries import basic as queries
from kswatch.db.queries import by_run_ids as queries_of_runs
from kswatch.db.queries import cells as queries_cells
from kswatch.db.queries import compiled_code as queries_code
from kswatch.db.queries import progress_and_news as page_queries
from kswatch.db.queries import run_diff as run_differences
from kswatch.db.queries import verdict_changes as queries_changes
from kswatch.db.records import ProblemKey
from kswatch.db.store import Store

SCORE_SHARES = ("majority", "accuracy", "accuracy_low", "accuracy_high", "balanced_accuracy", "regret")
SCORE_COLUMNS = ("run_id", "device_id", "started_at", "heuristic", "version", "problems") + (
    *SCORE_SHARES,
    *("tp", "fp", "fn", "tn"),
)

P = ParamSpec("P")
R = TypeVar("R")

MOST_ANSWERS = 500
"""Kept at once; those that are asked for least go first."""

_looks = threading.local()


@contextmanager
def one_look() -> Iterator[None]:
    """While a page is drawn: whether the store has news is asked once, and the page is of one moment."""
    _looks.stamp = page_queries.stamp(reading_store())
    try:
        yield
    finally:
        del _looks.stamp


@st.cache_resource(show_spinner=False, max_entries=MOST_ANSWERS)
def _remembered(key: str, _read: Callable[[], R]) -> R:
    """The answer of `_read`, the same object for every session: what is asked again costs next to nothing."""
    return _read()


def forget() -> None:
    """Forget every answer."""
    _remembered.clear()


def _until_news(read: Callable[Concatenate[Store, P], R]) -> Callable[P, R]:
    """The same read without its store, asked again only when the store has news."""

    @wraps(read)
    def ask(*args: P.args, **kwargs: P.kwargs) -> R:
        store = reading_store()
        stamp = _looks.__dict__.get("stamp") or page_queries.stamp(store)
        key = repr((read.__name__, database_url(), stamp, args, sorted(kwargs.items())))
        return _own(_remembered(key, lambda: read(store, *args, **kwargs)))

    return ask


def _own(answer: R) -> R:
    """The answer as the caller's own to change; a frame's columns are shared until they are written to."""
    if isinstance(answer, pd.DataFrame):
        return answer.copy(deep=False)
    return copy(answer) if isinstance(answer, list | dict) else answer


devices = _until_news(queries.devices)
run_groups = _until_news(page_queries.run_groups)
runs = _until_news(queries.runs)
ended_runs = _until_news(queries.ended_runs)
ended_run_ids = _until_news(queries.ended_run_ids)
run = _until_news(queries.run)
run_events = _until_news(queries.run_events)
environment_changes = _until_news(queries.environment_changes)
problems = _until_news(queries.problems)
alerts = _until_news(queries.alerts)
alert_events = _until_news(queries.alert_events)
alert_counts = _until_news(page_queries.alert_counts)
alerts_named = _until_news(page_queries.alerts_named)
revisions_between = _until_news(page_queries.revisions_between)


@_until_news
def summaries(
    store: Store, run_ids: Sequence[int], metric: str, baselines: str, precision: str, layout: str
) -> pd.DataFrame:
    """Headlines of these runs, the oldest first."""
    found = queries_of_runs.summaries_of_runs(store, run_ids, metric, baselines, precision, layout)
    return _frame(found, queries.SummaryRow)


@_until_news
def medians(
    store: Store, run_ids: Sequence[int], baselines: str, precision: str, layout: str
) -> pd.DataFrame:
    """What headlines of these runs say in both metrics, those without a median left out, the oldest first."""
    found = queries_of_runs.medians_of_runs(store, run_ids, baselines, precision, layout)
    return _frame(found, queries_of_runs.Median)


@_until_news
def problem_kinds(store: Store, run_ids: Sequence[int]) -> list[tuple[str, str]]:
    """Which precisions and layouts these runs hold headlines for."""
    found = queries_of_runs.summaries_of_runs(store, run_ids)
    return sorted({(row.precision, row.layout) for row in found})


@_until_news
def ratios(
    store: Store, run_ids: Sequence[int], metric: str, baselines: str, problem_ids: Sequence[int]
) -> pd.DataFrame:
    """How fused did on these problems in these runs."""
    found = queries_cells.ratios_of_runs(store, run_ids, metric, baselines, problem_ids)
    return _frame(found, queries_cells.Ratio)


@_until_news
def problem_table(store: Store, precision: str, layout: str) -> pd.DataFrame:
    """The store's problems of one precision and layout, with the numbers of the pattern's shape."""
    found = [row for row in queries.problems(store) if (row.precision, row.layout) == (precision, layout)]
    return _with_shape(_frame(found, queries.ProblemRow))


@_until_news
def run_comparisons(
    store: Store,
    run_id: int,
    metric: str,
    baselines: str,
    precision: str | None = None,
    layout: str | None = None,
) -> pd.DataFrame:
    """Comparisons of one run with the numbers of the pattern's shape; None for all precisions or layouts."""
    found = queries.comparisons(
        store, run_id, metric=metric, baselines=baselines, precision=precision, layout=layout
    )
    return _with_shape(_frame(found, queries.ComparisonRow))


@_until_news
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


@_until_news
def problem_cells(
    store: Store, run_ids: Sequence[int], problem: ProblemKey, columns: Sequence[str]
) -> pd.DataFrame:
    """These columns of every measurement of one problem in these runs, with the implementation."""
    return _measured(queries_cells.cells_of_problem(store, run_ids, problem, columns), [], columns)


@_until_news
def problem_measurements(store: Store, run_ids: Sequence[int], problem: ProblemKey) -> pd.DataFrame:
    """Every measurement of one problem in these runs, all that is stored of them."""
    found = queries_of_runs.measurements_of_problem(store, run_ids, problem)
    return _frame(found, queries.MeasurementRow)


@_until_news
def problem_comparisons(
    store: Store, run_ids: Sequence[int], baselines: str, problem: ProblemKey
) -> pd.DataFrame:
    """Comparisons of one problem in these runs, in both metrics."""
    found = queries_of_runs.comparisons_of_problem(store, run_ids, problem, baselines)
    return _frame(found, queries.ComparisonRow)


@_until_news
def canary_rates(store: Store, run_ids: Sequence[int]) -> pd.DataFrame:
    """Canary rates of these runs, `canary` naming kernel and precision."""
    frame = _frame(queries_of_runs.canary_rates(store, run_ids), queries_of_runs.CanaryRate)
    return frame.assign(canary=frame["name"] + " " + frame["precision"])


@_until_news
def canaries(store: Store, run_ids: Sequence[int]) -> pd.DataFrame:
    """Canary readings of these runs, the oldest first, `canary` naming kernel and precision."""
    frame = _frame(queries_of_runs.canaries_of_runs(store, run_ids), queries.CanaryRow)
    return frame.assign(canary=frame["name"] + " " + frame["precision"])


@_until_news
def verdicts(store: Store, run_id: int) -> pd.DataFrame:
    """The judgement on every series of a run, the worst change first."""
    return _frame(queries.verdicts(store, run_id), queries.VerdictRow)


@_until_news
def verdict_counts(store: Store, run_ids: Sequence[int]) -> pd.DataFrame:
    """How many series of each of these runs were judged how."""
    return _frame(queries_changes.verdict_counts(store, run_ids), queries_changes.VerdictCount)


@_until_news
def change_groups(store: Store, run_ids: Sequence[int]) -> pd.DataFrame:
    """What became faster or slower in these runs, in groups, the worst first."""
    return _frame(queries_changes.change_groups(store, run_ids), queries_changes.ChangeGroup)


@_until_news
def changes(store: Store, run_ids: Sequence[int], limit: int) -> pd.DataFrame:
    """Series of these runs that are not the same, the worst first, with the pattern's text."""
    return _with_shape(_frame(queries_changes.changes(store, run_ids, limit), queries.VerdictRow))


@_until_news
def problem_verdicts(store: Store, run_ids: Sequence[int], problem: ProblemKey) -> pd.DataFrame:
    """What was said of one problem's series in these runs, the same left out, the newest run first."""
    return _frame(queries_changes.problem_verdicts(store, run_ids, problem), queries.VerdictRow)


@_until_news
def cell_differences(store: Store, before_run_id: int, after_run_id: int, metric: str) -> pd.DataFrame:
    """Cells that two runs hold with a number, the clear and large changes first."""
    found = run_differences.cell_differences(store, before_run_id, after_run_id, metric)
    return _with_shape(_frame(found, run_differences.CellDifference))


@_until_news
def silent_cells(store: Store, before_run_id: int, after_run_id: int) -> pd.DataFrame:
    """Cells that gave a time in one run and none in the next, by what they say instead."""
    found = run_differences.silent_cells(store, before_run_id, after_run_id)
    return _frame(found, run_differences.SilentCells)


@_until_news
def resources(store: Store, code_hashes: Sequence[str]) -> pd.DataFrame:
    """What the compiler gave the kernels of this machine code."""
    return _frame(queries_code.resources(store, code_hashes), queries_code.ResourceRow)


@_until_news
def counters(store: Store, run_id: int, cell_ids: Sequence[int]) -> pd.DataFrame:
    """Hardware counters of these cells in a run."""
    return _frame(queries_code.counters(store, run_id, cell_ids), queries_code.CounterRow)


@_until_news
def outcomes(
    store: Store, run_id: int, metric: str, baselines: str, precision: str, layout: str
) -> pd.DataFrame:
    """What every heuristic said for each problem of a run, beside what happened."""
    found = queries.prediction_outcomes(
        store, run_id, metric=metric, baselines=baselines, precision=precision, layout=layout
    )
    return _with_shape(_with_version(_frame(found, queries.PredictionOutcome)))


@_until_news
def problem_said(store: Store, run_ids: Sequence[int], problem: ProblemKey) -> pd.DataFrame:
    """What every heuristic said for one problem in these runs; `heuristic` carries the version."""
    found = queries_cells.said_of_problem(store, run_ids, problem)
    return _with_version(_frame(found, queries_cells.Said))


@_until_news
def heuristic_nights(
    store: Store, run_ids: Sequence[int], metric: str, baselines: str, precision: str, layout: str
) -> pd.DataFrame:
    """Each heuristic's figures per run, as they were stored when the run ended, else counted now.

    `heuristic` carries the version. Against the paper's baselines nothing is stored.
    """
    about = {"metric": metric, "precision": precision, "layout": layout}
    stored = pd.DataFrame()
    if baselines == "all":
        scores = queries.heuristic_scores(
            store, run_ids=run_ids, metric=metric, precision=precision, layout=layout
        )
        stored = pd.DataFrame(map(vars, scores))
    left = set(run_ids) - set(stored["run_id"] if len(stored) else ())
    counted = _counted_scores(store, left, baselines, about)
    frames = [frame for frame in (stored, counted) if len(frame)]
    found = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=SCORE_COLUMNS)
    found = found.reindex(columns=SCORE_COLUMNS).astype(dict.fromkeys(SCORE_SHARES, float))
    return _with_version(found.sort_values(["run_id", "heuristic", "version"], ignore_index=True))


@_until_news
def accuracies(
    store: Store, run_ids: Sequence[int], metric: str, precision: str, layout: str
) -> pd.DataFrame:
    """The stored accuracies of heuristics in these runs; `heuristic` carries the version."""
    found = queries_of_runs.accuracies(store, run_ids, metric, precision, layout)
    return _with_version(_frame(found, queries_of_runs.Accuracy))


def _counted_scores(
    store: Store, run_ids: Collection[int], baselines: str, about: dict[str, str]
) -> pd.DataFrame:
    """The scores of runs that ended before scores were stored, from their predictions."""
    if not run_ids:
        return pd.DataFrame()
    nights = queries.heuristic_nights(store, run_ids=run_ids, baselines=baselines, **about)
    rows = [
        night._asdict()
        | {name: getattr(night, name) for name in ("problems", "accuracy", "majority", "balanced_accuracy")}
        for night in nights
    ]
    if not rows:
        return pd.DataFrame()
    regrets = page_queries.heuristic_regrets(store, run_ids, baselines=baselines, **about)
    cost = _frame(regrets, page_queries.HeuristicRegret)
    return pd.DataFrame(rows).merge(cost, on=["run_id", "heuristic", "version"], how="left")


@_until_news
def samples(store: Store, run_id: int, cells: Sequence[tuple[str, int, str]]) -> pd.DataFrame:
    """Raw samples of a run: `implementation`, `sample_ms`.

    Args:
        store: to read from.
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


def _measured(rows: Sequence[tuple[Any, ...]], before: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    names = [*before, "implementation", *columns]
    return _with_floats(pd.DataFrame(rows, columns=names), queries.MeasurementRow)


def _frame(rows: Sequence[tuple[Any, ...]], row: Any) -> pd.DataFrame:  # noqa: ANN401  (a NamedTuple class)
    return _with_floats(pd.DataFrame(rows, columns=row._fields), row)


def _with_floats(frame: pd.DataFrame, row: Any) -> pd.DataFrame:  # noqa: ANN401  (a NamedTuple class)
    """A number that may be unknown, by the row's annotations, is a float, NaN where it is."""
    types = {name: str(row.__annotations__[name]) for name in frame}
    maybe = [name for name, text in types.items() if "None" in text and ("float" in text or "int" in text)]
    return frame.astype(dict.fromkeys(maybe, float))


def _with_version(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(heuristic=frame["heuristic"] + " v" + frame["version"].astype(str))


def _with_shape(frame: pd.DataFrame) -> pd.DataFrame:
    """Adds the pattern's text, its family, h, d·h and b·c."""
    a, b, c, d = (frame[letter] for letter in "abcd")
    text = [f"{','.join(map(str, row))}" for row in zip(a, b, c, d, strict=True)]
    family = [
        "d=1" if depth == 1 else ("a=1" if count == 1 else "both>1")
        for count, depth in zip(a, d, strict=True)
    ]
    h = (b + c) / (b * c)
    return frame.assign(pattern=text, family=family, h=h, dh=d * h, bc=b * c)
