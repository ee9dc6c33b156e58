"""Lasting changes: where the level of a series changed, over all series of a device, grouped by cause.

Levels are those that judging stored; alerts name the cause of a change that raised one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Literal

from kswatch.db.levels.attribution import CauseOfChange, ChangeAlerts
from kswatch.db.levels.stored import StoredLevel, levels_with_changes
from kswatch.db.metrics import METRIC_BY_NAME
from kswatch.db.queries.regression_inputs import cell_names
from kswatch.db.queries.rows import DeviceRow, RunRow
from kswatch.db.queries.runs import runs
from kswatch.db.records import ProblemKey
from kswatch.db.store import Store

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
    """... and of the last night of the level before."""
    recovered: int | None
    """Index of the first night of the level that took it back; None while it lasts."""
    of: CauseOfChange = CauseOfChange()


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


def lasting_changes(store: Store, device: DeviceRow, since: datetime, floor: float) -> list[LastingChange]:
    """The lasting changes of a device that began at or after a time, the newest first.

    Args:
        store: holds the nights and their levels.
        device: the device.
        since: the time.
        floor: the smallest relative change that is listed.
    """
    ended = ("finished", "interrupted")
    nights = runs(store, device.id, ("nightly",), states=ended, limit=None, excluded=False)[::-1]
    first = next((place for place, night in enumerate(nights) if night.started_at >= since), None)
    if first is None:
        return []
    levels = levels_with_changes(store, device.id, nights[first].id)
    found = [one for one in _series_changes(store, levels, nights, floor) if one[1].first >= first]
    causes = ChangeAlerts(store, device, nights)
    listed = [
        replace(one, of=causes.cause_of(key, one.implementation, one.verdict, one.last_good, one.first))
        for key, one in found
    ]
    return sorted(_grouped(device, nights, listed), key=lambda one: (-one.since.id, -abs(one.worst.change)))


def _series_changes(
    store: Store, levels: Sequence[StoredLevel], nights: Sequence[RunRow], floor: float
) -> Iterator[tuple[tuple[int, str], SeriesChange]]:
    """The changes between the levels of each series; the end of a listed change is none of its own."""
    names, run_ids = cell_names(store), [night.id for night in nights]
    for key, group in groupby(levels, key=lambda one: one.key):
        parts = list(group)
        recoveries: set[int | None] = {None}
        for index in range(1, len(parts)):
            change = _change_of(parts, index, run_ids, *names[key[0]])
            if change is None or abs(change.change) < floor or change.first in recoveries:
                continue
            recoveries.add(change.recovered)
            yield key, change


def _change_of(
    parts: Sequence[StoredLevel], index: int, run_ids: Sequence[int], problem: ProblemKey, implementation: str
) -> SeriesChange | None:
    """The change to level `index`; None where the level before is no positive number."""
    before, after = parts[index - 1], parts[index]
    if after.last_good_run_id is None or not (before.median_low > 0 and after.median_low > 0):
        return None
    change = after.median / before.median - 1
    worse = (change > 0) != (METRIC_BY_NAME[after.metric].better == "higher")
    taken_back = (
        later.first_run_id
        for later in parts[index + 1 :]
        if abs(later.median / before.median - 1) < REMAINING * abs(change)
    )
    recovered = next(taken_back, None)
    return SeriesChange(
        problem,
        implementation,
        after.metric,
        "slower" if worse else "faster",
        change=change,
        change_low=after.median_low / before.median_high - 1,
        change_high=after.median_high / before.median_low - 1,
        level_before=before.median,
        level=after.median,
        noise=after.noise / before.median,
        first=_place(run_ids, after.first_run_id),
        last_good=_place(run_ids, after.last_good_run_id),
        recovered=None if recovered is None else _place(run_ids, recovered),
    )


def _place(run_ids: Sequence[int], run_id: int) -> int:
    """The place of a night, or of the one after it, where it was excluded since its levels were found."""
    return min(bisect_left(run_ids, run_id), len(run_ids) - 1)


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
            cause=first.of.cause,
            implementation=first.implementation,
            metric=first.metric,
            verdict=first.verdict,
            state="recovered" if recovered else "lasting",
            since=nights[first.first],
            last_good=nights[first.last_good],
            recovered=nights[max(recovered)] if recovered else None,
            alert=first.of.alert,
            series=tuple(group),
        )


def _kind(one: SeriesChange) -> tuple[object, ...]:
    recovered = one.recovered is not None
    return (one.implementation, one.metric, one.verdict, one.of.cause, one.of.alert or 0, recovered)
