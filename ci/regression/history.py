"""The inputs of judging a run: its newest points, and the comparable history of each series."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from kswatch.ci.config import CiConfig
from kswatch.ci.regression.baseline_changes import break_at_changes
from kswatch.ci.regression.families import Ints, JudgedSeries, SeriesFamilies, SeriesKey, group_series
from kswatch.ci.regression.significance import HOLDOUT_NIGHTS
from kswatch.ci.regression.threshold import Bools, Floats, Points, row_median
from kswatch.db.alerts.causes import LEVEL_CAUSES
from kswatch.db.metrics import METRIC_BY_NAME, METRICS, SPEEDUPS
from kswatch.db.queries.baseline_sets import BaselineChange, run_sets
from kswatch.db.queries.basic import AlertRow, EnvironmentChange, RunRow, alerts, environment_changes
from kswatch.db.queries.regression_inputs import (
    CanaryReading,
    NewestPoint,
    PriorNight,
    Tails,
    alert_nights,
    canary_readings,
    code_hashes,
    flagged_points,
    newest_points,
    nights_before,
    tails,
)
from kswatch.db.records import COMPARABLE, ProblemKey
from kswatch.db.statistics import MAD_TO_SIGMA
from kswatch.db.store import Store

THROTTLED = frozenset({"thermal_slowdown", "hardware_slowdown"})
"""Flags of a measurement that was taken while the device was throttled; it is left out."""

JUDGED_METRICS = tuple(metric.name for metric in METRICS if metric.judged)
HISTORY_NIGHTS = 90
"""Length of the history, as a budget may measure each problem every few nights only."""
CODE_NIGHTS = 12
"""Nights of which machine code and cycles are compared."""


@dataclass(frozen=True)
class JudgingInputs:
    """A night's points, `(series,)`, and their history."""

    run: RunRow
    series: list[JudgedSeries]
    newest: Points
    past: Points
    """`(series, nights)`, oldest first, a column being one night; throttled points and nights on which the
    machine had changed are left out."""
    in_level: Bools
    """Which of them may make the level: not those that belong to an alert."""
    quiet: Bools
    """Which of them belong to the null distribution: nights without an alert of the same implementation."""
    dismissed: Bools
    """Which of them belong to it though not to the level: those of an alert that was never confirmed."""
    higher_is_better: Bools
    families: SeriesFamilies
    canaries: Floats
    """Relative change of each canary from its own level, `(canaries, nights + 1)`."""
    cycles_change: Floats
    """Relative change of each cell's cycles from their level; NaN where cycles are not counted."""
    same_code: Bools
    """Whether the cell ran the same machine code as on the nights that make its level."""
    throttled: Bools
    environment_before: int | None
    """The environment of the history where it is not the run's own."""
    nights: list[PriorNight]
    """The runs of the history, oldest first."""
    canary_change: float | None
    """The largest change of a canary beyond its limit; None where there is none."""
    incorrect: list[NewestPoint]
    """Cells of `fused` with an incorrect result."""
    environment_of: dict[int, int]
    """The environment of each nightly run, by its id."""
    alerts: list[AlertRow]
    alert_ids_of: dict[SeriesKey, set[int]]
    """The alerts that a series belongs to."""
    environment_changes: Sequence[EnvironmentChange] = ()
    """Differences from the history's environment, on the first night after a change."""
    baseline_changes: Mapping[int, BaselineChange] = field(default_factory=dict)
    """What changed in the baselines of a series since its history, by row."""

    @property
    def night_before(self) -> PriorNight | None:
        """The newest run of the history."""
        return self.nights[-1] if self.nights else None

    def comparable_run_ids(self) -> list[int]:
        """Ids of the newest nights before the run in its own environment, the oldest first."""
        own = (run_id for run_id, of in self.environment_of.items() if of == self.run.environment_id)
        return sorted(run_id for run_id in own if run_id < self.run.id)[-HISTORY_NIGHTS:]


def read_judging_inputs(store: Store, run: RunRow, config: CiConfig) -> JudgingInputs:
    """Read everything that judging this run needs, in a fixed number of queries."""
    points = newest_points(store, run.id)
    series, newest = _series_of(points)
    all_nights = nights_before(store, run, 400)
    nights, environment_before = _comparable(all_nights, run, config)
    canaries = canary_readings(store, [*(night.run_id for night in nights), run.id])
    moved_nights, canary_change = _machine_changes(canaries, nights, run, config)
    nights = [night for night in nights if night.run_id not in moved_nights]
    known_alerts = alerts(store, device_id=run.device_id)
    past, cycles = _history(store, run, series, nights)
    rows_of_cell = _rows_of_cells(series, points)
    _mask(past, rows_of_cell, nights, flagged_points(store, [night.run_id for night in nights], THROTTLED))
    run_ids = [*(night.run_id for night in nights), run.id]
    sets = run_sets(store, run_ids)
    changes = break_at_changes(series, past, run_ids[:-1], run.id, sets, config.minimum_runs)
    in_level, quiet, dismissed, alert_ids_of = _in_level(store, run, series, nights, known_alerts)
    return JudgingInputs(
        run=run,
        series=series,
        newest=newest,
        past=past,
        in_level=in_level,
        quiet=quiet,
        dismissed=dismissed,
        higher_is_better=np.array(
            [METRIC_BY_NAME[one.metric].better == "higher" for one in series], dtype=bool
        ),
        families=group_series(series),
        canaries=_canary_changes(canaries, nights, run),
        cycles_change=_cycles_change(series, points, cycles),
        same_code=same_code_of(
            [one.cell_id for one in series],
            in_level,
            code_hashes(store, [*(night.run_id for night in nights[-CODE_NIGHTS:]), run.id]),
            [night.run_id for night in nights],
            run.id,
        ),
        throttled=_throttled(points, rows_of_cell, len(series)),
        environment_before=environment_before,
        nights=nights,
        canary_change=canary_change,
        incorrect=[one for one in points if one.implementation == "fused" and one.status == "incorrect"],
        environment_of={night.run_id: night.environment_id for night in all_nights}
        | {run.id: run.environment_id},
        alerts=known_alerts,
        alert_ids_of=alert_ids_of,
        environment_changes=(
            environment_changes(store, nights[-1].run_id, run.id) if environment_before and nights else ()
        ),
        baseline_changes=changes,
    )


def _throttled(points: list[NewestPoint], rows_of_cell: Mapping[int, list[int]], count: int) -> Bools:
    """Whether the newest point of each series was measured on a throttled board."""
    throttled = np.zeros(count, dtype=bool)
    for point in points:
        if point.flags & THROTTLED:
            throttled[rows_of_cell.get(point.cell_id, [])] = True
    return throttled


def _series_of(points: list[NewestPoint]) -> tuple[list[JudgedSeries], Points]:
    """The series that have a newest point, and those points."""
    series, values = [], []
    for point in points:
        if point.status not in COMPARABLE:
            continue
        for metric in JUDGED_METRICS:
            value = getattr(point, metric)
            if value[0] is not None:
                best = {"speedup": point.best_baseline, "speedup_expert": point.best_expert}.get(metric)
                series.append(JudgedSeries(point.cell_id, point.problem, point.implementation, metric, best))
                values.append(value)
    columns = np.array(values, dtype=float).reshape(-1, 3).T  # None becomes NaN
    return series, Points(*columns)


def _comparable(
    nights: list[PriorNight], run: RunRow, config: CiConfig
) -> tuple[list[PriorNight], int | None]:
    """Nights of the run's environment; on the first one after a change, those of the environment before."""
    same = [night for night in nights if night.environment_id == run.environment_id]
    if len(same) >= config.minimum_runs or not nights or nights[-1].environment_id == run.environment_id:
        return same[-HISTORY_NIGHTS:], None
    before = nights[-1].environment_id
    return [night for night in nights if night.environment_id == before][-HISTORY_NIGHTS:], before


def _machine_changes(
    canaries: Sequence[CanaryReading], nights: list[PriorNight], run: RunRow, config: CiConfig
) -> tuple[set[int], float | None]:
    """Nights on which a canary was beyond its limit, and the largest such change in the run, if any."""
    moved = {run_id: 0.0 for run_id in [*(night.run_id for night in nights), run.id]}
    by_canary: dict[tuple[str, str], dict[int, float]] = {}
    for one in canaries:
        by_canary.setdefault((one.name, one.precision), {})[one.run_id] = one.latency_ms
    for times_ms in by_canary.values():
        for run_id, change in canary_changes_beyond_limit(times_ms, config).items():
            moved[run_id] = max(moved[run_id], change, key=abs)
    now = moved.pop(run.id)
    return {run_id for run_id, change in moved.items() if change}, now or None


def canary_changes_beyond_limit(times_ms: Mapping[int, float], config: CiConfig) -> dict[int, float]:
    """A canary's change from its level, by run, where it exceeds the canary's floor and noise.

    The level is the median and the noise the MAD, which tolerate up to half of the nights being changed.
    """
    if len(times_ms) <= config.minimum_runs:
        return {}
    values = np.array(list(times_ms.values()))
    changes = values / np.median(values) - 1
    limit = max(config.canary_floor, config.noise_factor * MAD_TO_SIGMA * float(np.median(np.abs(changes))))
    return {run_id: float(by) for run_id, by in zip(times_ms, changes, strict=True) if abs(by) > limit}


def _canary_changes(canaries: Sequence[CanaryReading], nights: list[PriorNight], run: RunRow) -> Floats:
    """Each canary's change from its own median, `(canaries, nights + 1)`; NaN where it was not read."""
    run_ids = [*(night.run_id for night in nights), run.id]
    column = {run_id: index for index, run_id in enumerate(run_ids)}
    rows: dict[tuple[str, str], Floats] = {}
    for one in canaries:
        if one.run_id in column:
            row = rows.setdefault((one.name, one.precision), np.full(len(run_ids), np.nan))
            row[column[one.run_id]] = one.latency_ms
    values = np.array(list(rows.values())).reshape(len(rows), len(run_ids))
    return values / row_median(values)[:, None] - 1


def _cycles_change(series: list[JudgedSeries], points: list[NewestPoint], past: dict[int, Floats]) -> Floats:
    """Each cell's change of cycles from their median; NaN where they are not counted."""
    newest = {point.cell_id: point.cycles for point in points if point.cycles is not None}
    change = {
        cell_id: cycles / float(np.median(past[cell_id])) - 1
        for cell_id, cycles in newest.items()
        if len(past.get(cell_id, ()))
    }
    return np.array([change.get(one.cell_id, np.nan) for one in series], dtype=float)


def same_code_of(
    cell_ids: Sequence[int],
    in_level: Bools,
    hashes: Mapping[tuple[int, int], str],
    nights: Sequence[int],
    run_id: int,
) -> Bools:
    """Whether each series' cell ran, in this run, the machine code of all nights that make its level.

    Args:
        cell_ids: of each series.
        in_level: `(series, nights)`.
        hashes: hash of the machine code, by run and cell.
        nights: the nights' runs, oldest first.
        run_id: the judged run.
    """
    before_holdout = range(len(nights))[:-HOLDOUT_NIGHTS][-CODE_NIGHTS:]
    same = np.zeros(len(cell_ids), dtype=bool)
    for row, cell_id in enumerate(cell_ids):
        if now := hashes.get((run_id, cell_id)):
            columns = (column for column in before_holdout if in_level[row, column])
            same[row] = {hashes.get((nights[column], cell_id)) for column in columns} - {None} == {now}
    return same


def _history(
    store: Store, run: RunRow, series: list[JudgedSeries], nights: list[PriorNight]
) -> tuple[Points, dict[int, Floats]]:
    """The series' points on these nights, `(series, nights)`, NaN where missing; and each cell's cycles."""
    parts = Points(*(np.full((len(series), len(nights)), np.nan) for _ in range(3)))
    if not nights or not series:
        return parts, {}
    found = tails(store, run.device_id, (*JUDGED_METRICS, "cycles"), nights[0].run_id)
    row_of = {one.key: index for index, one in enumerate(series)}
    rows = np.repeat([row_of.get(key, -1) for key in found.keys], found.lengths)
    run_ids = np.array([night.run_id for night in nights])
    columns = np.minimum(np.searchsorted(run_ids, found.points["run_id"]), len(nights) - 1)
    known = (rows >= 0) & (run_ids[columns] == found.points["run_id"])
    for part, name in ((parts.value, "value"), (parts.low, "low"), (parts.high, "high")):
        part[rows[known], columns[known]] = found.points[name][known]
    return parts, _cycles(found, run_ids)


def _cycles(found: Tails, run_ids: Ints) -> dict[int, Floats]:
    """Each cell's cycles on the newest of these nights."""
    ends = np.cumsum(found.lengths)
    by_cell = {}
    for (cell_id, metric), begin, end in zip(found.keys, ends - found.lengths, ends, strict=True):
        if metric == "cycles":
            points = found.points[begin:end]
            by_cell[cell_id] = points["value"][np.isin(points["run_id"], run_ids)][-CODE_NIGHTS:]
    return by_cell


def _rows_of_cells(series: list[JudgedSeries], points: list[NewestPoint]) -> dict[int, list[int]]:
    """The rows of the series that each cell affects: its own, and the speedup of its problem."""
    rows: dict[int, list[int]] = {}
    speedups_of: dict[ProblemKey, list[int]] = {}
    for index, one in enumerate(series):
        if one.metric in SPEEDUPS:
            speedups_of.setdefault(one.problem, []).append(index)
        else:
            rows.setdefault(one.cell_id, []).append(index)
    for point in points:
        if point.problem in speedups_of:
            rows.setdefault(point.cell_id, []).extend(speedups_of[point.problem])
    return rows


def _mask(
    history: Points,
    rows_of_cell: Mapping[int, list[int]],
    nights: list[PriorNight],
    points: Collection[tuple[int, int]],
) -> None:
    """Set (run id, cell id) points to NaN in every series that they affect."""
    column = {night.run_id: index for index, night in enumerate(nights)}
    for run_id, cell_id in points:
        if run_id in column:
            for part in vars(history).values():
                part[rows_of_cell.get(cell_id, []), column[run_id]] = np.nan


def _in_level(
    store: Store, run: RunRow, series: list[JudgedSeries], nights: list[PriorNight], alerts: list[AlertRow]
) -> tuple[Bools, Bools, Bools, dict[SeriesKey, set[int]]]:
    """The nights that may make each level, the quiet ones, the dismissed ones, and the alerts of each series.

    A level excludes nights of an alert and nights before an accepted level, `(series, nights)`; quiet nights,
    `(series, nights)`, have no alert of the same implementation but those that were dismissed.
    """
    by_id = {one.id: one for one in alerts if one.cause in LEVEL_CAUSES and one.state != "false_alarm"}
    row_of = {one.key: index for index, one in enumerate(series)}
    column = {night.run_id: index for index, night in enumerate(nights)}
    run_ids = np.array([night.run_id for night in nights], dtype=np.int64)
    in_level, quiet = (np.ones((len(series), len(nights)), dtype=bool) for _ in range(2))
    dismissed = np.zeros_like(in_level)
    rows_of = {
        name: np.flatnonzero([one.implementation == name for one in series])
        for name in {one.implementation for one in by_id.values()}
    }
    alert_ids_of: dict[SeriesKey, set[int]] = {}
    for point in alert_nights(store, list(by_id)):
        key, alert = (point.cell_id, point.metric), by_id[point.alert_id]
        alert_ids_of.setdefault(key, set()).add(alert.id)
        is_noise = alert.state == "resolved" and not alert.confirmed
        if point.run_id in column and not is_noise:
            quiet[rows_of[alert.implementation], column[point.run_id]] = False
        row = row_of.get(key)
        if row is None:
            continue
        if alert.state == "accepted" and alert.newest_run_id < run.id:
            in_level[row, run_ids < alert.opened_run_id] = False
        elif point.run_id in column:
            in_level[row, column[point.run_id]] = False
            dismissed[row, column[point.run_id]] = is_noise
    return in_level, quiet, dismissed, alert_ids_of
