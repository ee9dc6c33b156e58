"""What a run is judged on: the newest points, and the history that may be held against them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from ci.config import CiConfig
from ci.rule import MAD_TO_SIGMA, Bools, Points
from db.metrics import METRIC_BY_NAME, METRICS
from db.queries import AlertRow, RunRow, alerts
from db.records import COMPARABLE, ProblemKey
from db.store import Store
from db.verdicts import (
    NewestPoint,
    Night,
    alert_nights,
    canary_readings,
    flagged_points,
    newest_points,
    nights_before,
    tails,
)

THROTTLED = frozenset({"thermal_slowdown", "hardware_slowdown"})
"""Labels of a measurement that was taken while the device was slowed down: never evidence."""

LEVEL_CAUSES = frozenset({"code", "baseline"})
"""Causes of alerts whose nights are no part of a series' level."""

JUDGED_METRICS = tuple(metric.name for metric in METRICS if metric.judged)
NIGHTS_LOOKED_AT = 60
"""Enough to find ten comparable points where a budget measures each problem every few nights."""


@dataclass(frozen=True)
class Series:
    """One metric of one cell on the judged run's device."""

    cell_id: int
    problem: ProblemKey
    implementation: str
    metric: str
    best_baseline: str | None = None
    """Of a speedup: which baseline it was against."""


@dataclass(frozen=True)
class Evidence:
    """A night's points, `(series,)`, with what each is judged against."""

    run: RunRow
    series: list[Series]
    newest: Points
    past: Points
    """`(series, nights)`, oldest first, each row's known points to the right; what is quarantined or
    of a moved machine is left out."""
    in_level: Bools
    """Which of them may make the level: not those that belong to an alert."""
    higher_is_better: Bools
    throttled: Bools
    environment_before: int | None
    """The environment of the history where it is not the run's own."""
    last_good: Night | None
    """The newest run of the history."""
    canary_change: float | None
    """How far the canary that moved most has moved; None where none did."""
    incorrect: list[NewestPoint]
    """Cells of `fused` whose result was wrong."""
    environment_of: dict[int, int]
    """The environment of each nightly run, by its id."""
    alerts: list[AlertRow]
    members: dict[tuple[int, str], set[int]]
    """Which alerts a series (cell id, metric) belongs to."""


def gather(store: Store, run: RunRow, config: CiConfig) -> Evidence:
    """Read everything that judging this run needs, in a handful of queries."""
    points = newest_points(store, run.id)
    series, newest = _series_of(points)
    all_nights = nights_before(store, run, 400)
    nights, environment_before = _comparable(all_nights, run, config)
    moved_nights, canary_change = _moved_machine(store, nights, run, config)
    nights = [night for night in nights if night.run_id not in moved_nights]
    known_alerts = alerts(store, device_id=run.device_id)
    recent = _history(store, run, series, nights)
    _forget(recent, series, nights, flagged_points(store, [night.run_id for night in nights], THROTTLED))
    in_level, members = _in_level(store, run, series, nights, known_alerts)
    order = np.argsort(np.isfinite(recent.value), axis=1, kind="stable")  # the known ones last
    flagged = {point.cell_id for point in points if point.flags & THROTTLED}
    return Evidence(
        run=run,
        series=series,
        newest=newest,
        past=Points(*(np.take_along_axis(part, order, axis=1) for part in vars(recent).values())),
        in_level=np.take_along_axis(in_level, order, axis=1),
        higher_is_better=np.array(
            [METRIC_BY_NAME[one.metric].better == "higher" for one in series], dtype=bool
        ),
        throttled=np.array([one.cell_id in flagged for one in series], dtype=bool),
        environment_before=environment_before,
        last_good=nights[-1] if nights else None,
        canary_change=canary_change,
        incorrect=[one for one in points if one.implementation == "fused" and one.status == "incorrect"],
        environment_of={night.run_id: night.environment_id for night in all_nights}
        | {run.id: run.environment_id},
        alerts=known_alerts,
        members=members,
    )


def _series_of(points: list[NewestPoint]) -> tuple[list[Series], Points]:
    """The series that have a newest point, and those points."""
    series, values = [], []
    for point in points:
        if point.status not in COMPARABLE:
            continue
        for metric in JUDGED_METRICS:
            value = getattr(point, metric)
            if value[0] is not None:
                best = point.best_baseline if metric == "speedup" else None
                series.append(Series(point.cell_id, point.problem, point.implementation, metric, best))
                values.append(value)
    columns = np.array(values, dtype=float).reshape(-1, 3).T  # None becomes NaN
    return series, Points(*columns)


def _comparable(nights: list[Night], run: RunRow, config: CiConfig) -> tuple[list[Night], int | None]:
    """Nights of the run's environment; on the first one after a change, those of the environment before."""
    same = [night for night in nights if night.environment_id == run.environment_id]
    if len(same) >= config.minimum_runs or not nights or nights[-1].environment_id == run.environment_id:
        return same[-NIGHTS_LOOKED_AT:], None
    before = nights[-1].environment_id
    return [night for night in nights if night.environment_id == before][-NIGHTS_LOOKED_AT:], before


def _moved_machine(
    store: Store, nights: list[Night], run: RunRow, config: CiConfig
) -> tuple[set[int], float | None]:
    """Nights on which a canary had left its own history, and how far the run's canaries have left it."""
    run_ids = [*(night.run_id for night in nights), run.id]
    moved = {run_id: 0.0 for run_id in run_ids}
    by_canary: dict[tuple[str, str], dict[int, float]] = {}
    for one in canary_readings(store, run_ids):
        by_canary.setdefault((one.name, one.precision), {})[one.run_id] = one.latency_ms
    for times_ms in by_canary.values():
        for run_id, change in canary_moves(times_ms, config).items():
            moved[run_id] = max(moved[run_id], change, key=abs)
    now = moved.pop(run.id)
    return {run_id for run_id, change in moved.items() if change}, now or None


def canary_moves(times_ms: Mapping[int, float], config: CiConfig) -> dict[int, float]:
    """By run, how far the canary was from its level, where that is more than its noise and its floor.

    Up to half of the nights may be moved ones: the level is the median, the noise the MAD.
    """
    if len(times_ms) <= config.minimum_runs:
        return {}
    values = np.array(list(times_ms.values()))
    changes = values / np.median(values) - 1
    limit = max(config.canary_floor, config.noise_factor * MAD_TO_SIGMA * float(np.median(np.abs(changes))))
    return {run_id: float(by) for run_id, by in zip(times_ms, changes, strict=True) if abs(by) > limit}


def _history(store: Store, run: RunRow, series: list[Series], nights: list[Night]) -> Points:
    """The series' points on these nights, `(series, nights)`; NaN where there is none."""
    parts = Points(*(np.full((len(series), len(nights)), np.nan) for _ in range(3)))
    if not nights or not series:
        return parts
    found = tails(store, run.device_id, JUDGED_METRICS, nights[0].run_id)
    row_of = {(one.cell_id, one.metric): index for index, one in enumerate(series)}
    rows = np.repeat([row_of.get(key, -1) for key in found.keys], found.lengths)
    run_ids = np.array([night.run_id for night in nights])
    columns = np.minimum(np.searchsorted(run_ids, found.points["run_id"]), len(nights) - 1)
    known = (rows >= 0) & (run_ids[columns] == found.points["run_id"])
    for part, name in ((parts.value, "value"), (parts.low, "low"), (parts.high, "high")):
        part[rows[known], columns[known]] = found.points[name][known]
    return parts


def _forget(
    history: Points, series: list[Series], nights: list[Night], points: Collection[tuple[int, int]]
) -> None:
    """Set (run id, cell id) points to NaN, in every metric."""
    column = {night.run_id: index for index, night in enumerate(nights)}
    rows: dict[int, list[int]] = {}
    for index, one in enumerate(series):
        rows.setdefault(one.cell_id, []).append(index)
    for run_id, cell_id in points:
        if run_id in column:
            history.value[rows.get(cell_id, []), column[run_id]] = np.nan


def _in_level(
    store: Store, run: RunRow, series: list[Series], nights: list[Night], alerts: list[AlertRow]
) -> tuple[Bools, dict[tuple[int, str], set[int]]]:
    """`(series, nights)`: not what alerts say is not the level: bad nights, nights before an accepted one.

    Also gives which alerts each series (cell id, metric) belongs to.
    """
    by_id = {one.id: one for one in alerts if one.cause in LEVEL_CAUSES and one.state != "false_alarm"}
    row_of = {(one.cell_id, one.metric): index for index, one in enumerate(series)}
    column = {night.run_id: index for index, night in enumerate(nights)}
    run_ids = np.array([night.run_id for night in nights], dtype=np.int64)
    in_level = np.ones((len(series), len(nights)), dtype=bool)
    members: dict[tuple[int, str], set[int]] = {}
    for point in alert_nights(store, list(by_id)):
        key, alert = (point.cell_id, point.metric), by_id[point.alert_id]
        members.setdefault(key, set()).add(alert.id)
        row = row_of.get(key)
        if row is None:
            continue
        if alert.state == "accepted" and alert.newest_run_id < run.id:
            in_level[row, run_ids < alert.opened_run_id] = False
        elif point.run_id in column:
            in_level[row, column[point.run_id]] = False
    return in_level, members
