"""What a run is judged on: the newest points, and the history that may be held against them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kswatch.ci.config import CiConfig
from kswatch.ci.regression.families import Ints, Kin, Series, kin_of
from kswatch.ci.regression.significance import WITNESSES
from kswatch.ci.regression.threshold import MAD_TO_SIGMA, Bools, Floats, Points, row_median
from kswatch.db.metrics import METRIC_BY_NAME, METRICS
from kswatch.db.queries.basic import AlertRow, RunRow, alerts
from kswatch.db.queries.regression_inputs import (
    CanaryReading,
    NewestPoint,
    Night,
    Tails,
    alert_nights,
    canary_readings,
    code_hashes,
    flagged_points,
    newest_points,
    nights_before,
    tails,
)
from kswatch.db.records import COMPARABLE
from kswatch.db.store import Store

THROTTLED = frozenset({"thermal_slowdown", "hardware_slowdown"})
"""Labels of a measurement that was taken while the device was slowed down: never evidence."""

LEVEL_CAUSES = frozenset({"code", "baseline"})
"""Causes of alerts whose nights are no part of a series' level."""

JUDGED_METRICS = tuple(metric.name for metric in METRICS if metric.judged)
NIGHTS_LOOKED_AT = 90
"""So far back a drift is looked for; a budget may measure each problem every few nights only."""
CODE_NIGHTS = 12
"""So far back machine code and cycles are compared."""


@dataclass(frozen=True)
class Evidence:
    """A night's points, `(series,)`, with what each is judged against."""

    run: RunRow
    series: list[Series]
    newest: Points
    past: Points
    """`(series, nights)`, oldest first, a column being one night; what is quarantined or of a moved machine
    is left out."""
    in_level: Bools
    """Which of them may make the level: not those that belong to an alert."""
    quiet: Bools
    """On which of them no alert of the same implementation was seen: what chance does by itself."""
    higher_is_better: Bools
    kin: Kin
    canaries: Floats
    """Relative change of each canary from its own level, `(canaries, nights + 1)`."""
    cycles_change: Floats
    """Of each series' cell, against its level; NaN where cycles are not counted."""
    same_code: Bools
    """Whether the cell ran the machine code that made its level."""
    throttled: Bools
    environment_before: int | None
    """The environment of the history where it is not the run's own."""
    nights: list[Night]
    """The runs of the history, oldest first."""
    canary_change: float | None
    """How far the canary that moved most has moved; None where none did."""
    incorrect: list[NewestPoint]
    """Cells of `fused` whose result was wrong."""
    environment_of: dict[int, int]
    """The environment of each nightly run, by its id."""
    alerts: list[AlertRow]
    members: dict[tuple[int, str], set[int]]
    """Which alerts a series (cell id, metric) belongs to."""

    @property
    def night_before(self) -> Night | None:
        """The newest run of the history."""
        return self.nights[-1] if self.nights else None

    def nights_alike(self) -> list[int]:
        """Ids of the newest nights before the run in its own environment, the oldest first."""
        earlier = sorted(run_id for run_id in self.environment_of if run_id < self.run.id)
        mine = self.run.environment_id
        return [run_id for run_id in earlier if self.environment_of[run_id] == mine][-NIGHTS_LOOKED_AT:]


def gather(store: Store, run: RunRow, config: CiConfig) -> Evidence:
    """Read everything that judging this run needs, in a handful of queries."""
    points = newest_points(store, run.id)
    series, newest = _series_of(points)
    all_nights = nights_before(store, run, 400)
    nights, environment_before = _comparable(all_nights, run, config)
    canaries = canary_readings(store, [*(night.run_id for night in nights), run.id])
    moved_nights, canary_change = _moved_machine(canaries, nights, run, config)
    nights = [night for night in nights if night.run_id not in moved_nights]
    known_alerts = alerts(store, device_id=run.device_id)
    past, cycles = _history(store, run, series, nights)
    touched = _touched_by(series, points)
    _forget(past, touched, nights, flagged_points(store, [night.run_id for night in nights], THROTTLED))
    in_level, quiet, members = _in_level(store, run, series, nights, known_alerts)
    throttled = np.zeros(len(series), dtype=bool)
    for point in points:
        if point.flags & THROTTLED:
            throttled[touched.get(point.cell_id, [])] = True
    return Evidence(
        run=run,
        series=series,
        newest=newest,
        past=past,
        in_level=in_level,
        quiet=quiet,
        higher_is_better=np.array(
            [METRIC_BY_NAME[one.metric].better == "higher" for one in series], dtype=bool
        ),
        kin=kin_of(series),
        canaries=_canary_changes(canaries, nights, run),
        cycles_change=_cycles_change(series, points, cycles),
        same_code=same_code_of(
            [one.cell_id for one in series],
            in_level,
            code_hashes(store, [*(night.run_id for night in nights[-CODE_NIGHTS:]), run.id]),
            [night.run_id for night in nights],
            run.id,
        ),
        throttled=throttled,
        environment_before=environment_before,
        nights=nights,
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
    canaries: Sequence[CanaryReading], nights: list[Night], run: RunRow, config: CiConfig
) -> tuple[set[int], float | None]:
    """Nights on which a canary had left its own history, and how far the run's canaries have left it."""
    moved = {run_id: 0.0 for run_id in [*(night.run_id for night in nights), run.id]}
    by_canary: dict[tuple[str, str], dict[int, float]] = {}
    for one in canaries:
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


def _canary_changes(canaries: Sequence[CanaryReading], nights: list[Night], run: RunRow) -> Floats:
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


def _cycles_change(series: list[Series], points: list[NewestPoint], past: dict[int, Floats]) -> Floats:
    """How far each cell's cycles are from their median; NaN where they are not counted."""
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
    """Whether each series' cell ran, in this run, the code of all nights that its level is made of.

    Args:
        cell_ids: of each series.
        in_level: `(series, nights)`.
        hashes: of the machine code, by run and cell.
        nights: the nights' runs, oldest first.
        run_id: the run that is judged.
    """
    apart = [(column, of) for column, of in enumerate(nights)][:-WITNESSES][-CODE_NIGHTS:]
    same = np.zeros(len(cell_ids), dtype=bool)
    for row, cell_id in enumerate(cell_ids):
        now = hashes.get((run_id, cell_id))
        if now is None:
            continue
        before = {hashes.get((of, cell_id)) for column, of in apart if in_level[row, column]} - {None}
        same[row] = before == {now}
    return same


def _history(
    store: Store, run: RunRow, series: list[Series], nights: list[Night]
) -> tuple[Points, dict[int, Floats]]:
    """The series' points on these nights, `(series, nights)`, NaN where there is none; each cell's cycles."""
    parts = Points(*(np.full((len(series), len(nights)), np.nan) for _ in range(3)))
    if not nights or not series:
        return parts, {}
    found = tails(store, run.device_id, (*JUDGED_METRICS, "cycles"), nights[0].run_id)
    row_of = {(one.cell_id, one.metric): index for index, one in enumerate(series)}
    rows = np.repeat([row_of.get(key, -1) for key in found.keys], found.lengths)
    run_ids = np.array([night.run_id for night in nights])
    columns = np.minimum(np.searchsorted(run_ids, found.points["run_id"]), len(nights) - 1)
    known = (rows >= 0) & (run_ids[columns] == found.points["run_id"])
    for part, name in ((parts.value, "value"), (parts.low, "low"), (parts.high, "high")):
        part[rows[known], columns[known]] = found.points[name][known]
    return parts, _cycles(found, run_ids)


def _cycles(found: Tails, run_ids: Ints) -> dict[int, Floats]:
    """By cell, its cycles on the newest of these nights."""
    ends = np.cumsum(found.lengths)
    by_cell = {}
    for (cell_id, metric), begin, end in zip(found.keys, ends - found.lengths, ends, strict=True):
        if metric == "cycles":
            points = found.points[begin:end]
            by_cell[cell_id] = points["value"][np.isin(points["run_id"], run_ids)][-CODE_NIGHTS:]
    return by_cell


def _touched_by(series: list[Series], points: list[NewestPoint]) -> dict[int, list[int]]:
    """By cell, the series that it is part of: its own, and the speedup of its problem."""
    rows: dict[int, list[int]] = {}
    speedup_of = {one.problem: index for index, one in enumerate(series) if one.metric == "speedup"}
    for index, one in enumerate(series):
        if one.metric != "speedup":
            rows.setdefault(one.cell_id, []).append(index)
    for point in points:
        if point.problem in speedup_of:
            rows.setdefault(point.cell_id, []).append(speedup_of[point.problem])
    return rows


def _forget(
    history: Points,
    touched: Mapping[int, list[int]],
    nights: list[Night],
    points: Collection[tuple[int, int]],
) -> None:
    """Set (run id, cell id) points to NaN, in every series that they are part of."""
    column = {night.run_id: index for index, night in enumerate(nights)}
    for run_id, cell_id in points:
        if run_id in column:
            for part in vars(history).values():
                part[touched.get(cell_id, []), column[run_id]] = np.nan


def _in_level(
    store: Store, run: RunRow, series: list[Series], nights: list[Night], alerts: list[AlertRow]
) -> tuple[Bools, Bools, dict[tuple[int, str], set[int]]]:
    """`(series, nights)`: not what alerts say is not the level: bad nights, nights before an accepted one.

    Also gives on which nights no alert of the same implementation was seen, and which alerts each series
    (cell id, metric) belongs to.
    """
    by_id = {one.id: one for one in alerts if one.cause in LEVEL_CAUSES and one.state != "false_alarm"}
    row_of = {(one.cell_id, one.metric): index for index, one in enumerate(series)}
    column = {night.run_id: index for index, night in enumerate(nights)}
    run_ids = np.array([night.run_id for night in nights], dtype=np.int64)
    in_level, quiet = (np.ones((len(series), len(nights)), dtype=bool) for _ in range(2))
    rows_of = {
        name: np.flatnonzero([one.implementation == name for one in series])
        for name in {one.implementation for one in by_id.values()}
    }
    members: dict[tuple[int, str], set[int]] = {}
    for point in alert_nights(store, list(by_id)):
        key, alert = (point.cell_id, point.metric), by_id[point.alert_id]
        members.setdefault(key, set()).add(alert.id)
        if point.run_id in column:
            quiet[rows_of[alert.implementation], column[point.run_id]] = False
        row = row_of.get(key)
        if row is None:
            continue
        if alert.state == "accepted" and alert.newest_run_id < run.id:
            in_level[row, run_ids < alert.opened_run_id] = False
        elif point.run_id in column:
            in_level[row, column[point.run_id]] = False
    return in_level, quiet, members
