"""Lasting changes: where the level of a series changed, over all series of a device, grouped by cause.

Levels are those of `kswatch.ci.change_points`, each point weighted by its interval; points of a throttled or
changed machine are passed over. Nothing is stored: alerts name the cause of a change that raised one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

import numpy as np

from kswatch.ci.change_points.level import Level, levels
from kswatch.ci.config import CiConfig
from kswatch.ci.regression.families import Ints
from kswatch.ci.regression.history import JUDGED_METRICS, THROTTLED, canary_changes_beyond_limit
from kswatch.db.metrics import METRIC_BY_NAME
from kswatch.db.queries.baseline_sets import RunSets, change_of_runs, run_sets
from kswatch.db.queries.basic import AlertRow, DeviceRow, RunRow, alerts, runs
from kswatch.db.queries.regression_inputs import (
    alert_nights,
    canary_readings,
    cell_names,
    flagged_points,
    tails,
)
from kswatch.db.records import ProblemKey
from kswatch.db.store import Store

NIGHTS_BEFORE = 90
"""Nights before the first listed one that its levels are found with."""
NEAR = 5
"""Nights by which the onset of an alert may differ from the change of level that it reported."""
SAME_NIGHTS = 3
"""Nights within which changes of one cause begin."""
REMAINING = 0.5
"""Share of a change that must remain for it to last; below it, the series has recovered."""

State = Literal["lasting", "recovered"]


@dataclass(frozen=True)
class SeriesChange:
    """One lasting change of one series."""

    problem: ProblemKey
    implementation: str
    metric: str
    verdict: str
    """`slower` is worse, `faster` better, whatever the metric."""
    change: float
    """Relative to the level before, with its 95 % interval."""
    change_low: float
    change_high: float
    level_before: float
    level: float
    noise: float
    """Noise unit of the series, relative to the level before."""
    first: int
    """Index of the first night of the new level ..."""
    last_good: int
    """... and of the last night before it that was measured."""
    recovered: int | None
    """Index of the first night of the level that took it back; None while it lasts."""
    cause: str
    """That of its alert, else of changed baselines, else `environment`, else `not alerted`."""
    alert: int | None


@dataclass(frozen=True)
class LastingChange:
    """Changes of one device with one cause, the largest first."""

    device: DeviceRow
    cause: str
    implementation: str
    metric: str
    verdict: str
    state: State
    since: RunRow
    """The first night of the new level ..."""
    last_good: RunRow
    """... and the last one before it: the commits between them are the range of the change."""
    recovered: RunRow | None
    alert: int | None
    series: tuple[SeriesChange, ...]

    @property
    def worst(self) -> SeriesChange:
        """The largest of the changes."""
        return self.series[0]


def lasting_changes(
    store: Store,
    device: DeviceRow,
    since: datetime,
    config: CiConfig,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> list[LastingChange]:
    """The lasting changes of a device that began at or after a time, the newest first.

    Args:
        store: holds the nights.
        device: the device.
        since: the time.
        config: the limits; a change below the floor is not listed.
        progress: receives the number of series that are done, and of all.
    """
    nights = runs(
        store, device.id, ("nightly",), states=("finished", "interrupted"), limit=None, excluded=False
    )
    nights = nights[::-1]
    first = next((place for place, night in enumerate(nights) if night.started_at >= since), len(nights))
    if first == len(nights):
        return []
    history = nights[max(first - NIGHTS_BEFORE, 0) :]
    found = list(_series_changes(store, device, history, config, progress))
    listed = [one for one in found if history[one.first].started_at >= since]
    return sorted(_grouped(device, history, listed), key=lambda one: (-one.since.id, -abs(one.worst.change)))


def _series_changes(
    store: Store,
    device: DeviceRow,
    nights: Sequence[RunRow],
    config: CiConfig,
    progress: Callable[[int, int], None],
) -> Iterator[SeriesChange]:
    names, run_ids = cell_names(store), [night.id for night in nights]
    skipped_nights = _nights_of_a_changed_machine(store, nights, config)
    throttled = flagged_points(store, run_ids, THROTTLED)
    causes = _AlertOfChange(store, device, run_ids)
    stored = tails(store, device.id, JUDGED_METRICS, run_ids[0])
    ends = np.cumsum(stored.lengths)
    for done, ((cell_id, metric), end, length) in enumerate(
        zip(stored.keys, ends, stored.lengths, strict=True), 1
    ):
        points = stored.points[end - length : end]
        points = points[np.isin(points["run_id"], run_ids)]
        places = np.searchsorted(run_ids, points["run_id"])
        quarantined = [
            (int(run_id), cell_id) in throttled or int(run_id) in skipped_nights
            for run_id in points["run_id"].tolist()
        ]
        half = (points["high"].astype(float) - points["low"]) / 2
        parts = levels(points["value"].astype(float).tolist(), half.tolist(), quarantined)
        recoveries: set[int | None] = {None}
        for index in range(1, len(parts)):
            problem, implementation = names[cell_id]
            change = _change_of(parts, index, places, problem, implementation, metric)
            if change is None or abs(change.change) < config.floor or change.first in recoveries:
                continue  # the end of a change that is listed is none of its own
            recoveries.add(change.recovered)
            yield causes.attributed(change, cell_id, nights)
        progress(done, len(stored.keys))


def _nights_of_a_changed_machine(store: Store, nights: Sequence[RunRow], config: CiConfig) -> set[int]:
    """Nights on which a canary was beyond its limit, within each environment."""
    environment = {night.id: night.environment_id for night in nights}
    times: dict[tuple[str, str, int], dict[int, float]] = {}
    for one in canary_readings(store, list(environment)):
        key = (one.name, one.precision, environment[one.run_id])
        times.setdefault(key, {})[one.run_id] = one.latency_ms
    return {run_id for of in times.values() for run_id in canary_changes_beyond_limit(of, config)}


def _change_of(
    parts: Sequence[Level],
    index: int,
    places: Ints,
    problem: ProblemKey,
    implementation: str,
    metric: str,
) -> SeriesChange | None:
    """The change to level `index`; None where the level before is no positive number."""
    before, after = parts[index - 1], parts[index]
    if not (before.low > 0 and after.low > 0):
        return None
    change = after.median / before.median - 1
    worse = (change > 0) != (METRIC_BY_NAME[metric].better == "higher")
    taken_back = (
        later.start
        for later in parts[index + 1 :]
        if abs(later.median / before.median - 1) < REMAINING * abs(change)
    )
    recovered = next(taken_back, None)
    return SeriesChange(
        problem,
        implementation,
        metric,
        "slower" if worse else "faster",
        change=change,
        change_low=after.low / before.high - 1,
        change_high=after.high / before.low - 1,
        level_before=before.median,
        level=after.median,
        noise=after.noise / before.median,
        first=int(places[after.start]),
        last_good=int(places[after.start - 1]),
        recovered=None if recovered is None else int(places[recovered]),
        cause="not alerted",
        alert=None,
    )


class _AlertOfChange:
    """The alerts of a device's series, by the night on which each series was first bad."""

    def __init__(self, store: Store, device: DeviceRow, run_ids: Sequence[int]) -> None:
        self._alerts: Mapping[int, AlertRow] = {one.id: one for one in alerts(store, device_id=device.id)}
        self._run_ids = list(run_ids)
        self._sets = run_sets(store, run_ids)
        self._of: dict[tuple[int, str], set[int]] = {}
        for point in alert_nights(store, list(self._alerts)):
            self._of.setdefault((point.cell_id, point.metric), set()).add(point.alert_id)

    def attributed(self, change: SeriesChange, cell_id: int, nights: Sequence[RunRow]) -> SeriesChange:
        """The change with the cause of its alert, or that of changed baselines or a new environment."""
        near = [
            self._alerts[id_]
            for id_ in self._of.get((cell_id, change.metric), ())
            if abs(self._onset(self._alerts[id_]) - change.first) <= NEAR
        ]
        same = [one for one in near if one.verdict == change.verdict and one.confirmed]
        if same:
            chosen = min(same, key=lambda one: abs(self._onset(one) - change.first))
            return replace(change, cause=chosen.cause, alert=chosen.id)
        last_good, first_bad = nights[change.last_good], nights[change.first]
        ends = (self._sets.get(one.id, RunSets()) for one in (last_good, first_bad))
        if of_baselines := change_of_runs(*ends, change.implementation, change.metric):
            return replace(change, cause=of_baselines.cause)
        if last_good.environment_id != first_bad.environment_id:
            machine = next((one.id for one in near if one.cause == "environment"), None)
            return replace(change, cause="environment", alert=machine)
        return change

    def _onset(self, alert: AlertRow) -> int:
        run_id = alert.explanation.get("first_bad_run") or alert.opened_run_id
        return int(np.searchsorted(self._run_ids, run_id))


def _grouped(
    device: DeviceRow, nights: Sequence[RunRow], found: Iterable[SeriesChange]
) -> Iterator[LastingChange]:
    """Groups of changes with the same cause that began within a few nights, and all last or all do not."""
    groups: list[list[SeriesChange]] = []
    for one in sorted(found, key=lambda one: (_kind(one), one.first)):
        if groups and _kind(groups[-1][0]) == _kind(one) and one.first - groups[-1][0].first <= SAME_NIGHTS:
            groups[-1].append(one)
        else:
            groups.append([one])
    for group in groups:
        group.sort(key=lambda one: -abs(one.change))
        first = min(group, key=lambda one: one.first)
        recovered = [one.recovered for one in group if one.recovered is not None]
        yield LastingChange(
            device,
            cause=first.cause,
            implementation=first.implementation,
            metric=first.metric,
            verdict=first.verdict,
            state="recovered" if recovered else "lasting",
            since=nights[first.first],
            last_good=nights[first.last_good],
            recovered=nights[max(recovered)] if recovered else None,
            alert=first.alert,
            series=tuple(group),
        )


def _kind(one: SeriesChange) -> tuple[object, ...]:
    recovered = one.recovered is not None
    return (one.implementation, one.metric, one.verdict, one.cause, one.alert or 0, recovered)
