"""The levels of all judged series: found when a night is judged, kept in the store for pages and `history`.

A new level takes seven nights, so each series is looked at every seventh night, and on each night that it
moved. Levels are those of `kswatch.ci.change_points` in the newest nights: points weighted by their
intervals, points of a throttled or changed machine passed over. What is older stays as it was found.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from math import ceil

import numpy as np
from numpy.typing import NDArray

from kswatch.ci.change_points.level import Level, levels
from kswatch.ci.change_points.settings import DEFAULTS
from kswatch.ci.config import CiConfig
from kswatch.ci.regression.families import SeriesKey
from kswatch.ci.regression.history import (
    JUDGED_METRICS,
    THROTTLED,
    JudgingInputs,
    canary_changes_beyond_limit,
)
from kswatch.ci.regression.verdicts import SeriesVerdict
from kswatch.db.levels.stored import FoundLevels, StoredLevel, last_found, record_levels
from kswatch.db.queries.basic import DeviceRow, runs
from kswatch.db.queries.regression_inputs import Tails, canary_readings, flagged_points, tails
from kswatch.db.store import Store

WINDOW = 100
"""Nights in which levels are looked for: those that a series' tail holds in its first part."""
EDGE = DEFAULTS.nearest + DEFAULTS.shortest
"""Nights at the window's beginning whose changes are settled: too few nights before them are in it."""
EVERY = DEFAULTS.shortest
"""Nights after which a series that has not moved is looked at again."""


def update_levels(
    store: Store, inputs: JudgingInputs, verdicts: Sequence[SeriesVerdict], config: CiConfig
) -> None:
    """Find the levels of those series that are due, after the newest night of a device was judged."""
    nights = dict(sorted(inputs.environment_of.items()))
    known = last_found(store, inputs.run.device_id)
    due = due_series(verdicts, known, list(nights))
    if due:
        window = dict(list(nights.items())[-WINDOW:])
        settled = set() if len(window) == len(nights) else known.keys()
        found = _find(store, inputs.run.device_id, window, config, due, settled)
        record_levels(store, inputs.run.device_id, inputs.run.id, found)


def due_series(
    verdicts: Sequence[SeriesVerdict], found: Mapping[SeriesKey, int], nights: Sequence[int]
) -> set[SeriesKey]:
    """Series that moved, and a share of those that were not looked at for `EVERY` nights, the oldest first.

    Args:
        verdicts: of the newest night.
        found: the night on which each series was last looked at.
        nights: all nights, the oldest first.
    """
    moved = {one.key for one in verdicts if one.moved or one.alert_id is not None}
    limit = nights[-1 - EVERY] if len(nights) > EVERY else nights[0] - 1
    rest = [(found.get(one.key, -1), one.key) for one in verdicts if one.key not in moved]
    old = sorted(pair for pair in rest if pair[0] <= limit)
    done = sum(night == nights[-1] for night, _ in rest)  # by a judging of the same night that was cut off
    return moved | {key for _, key in old[: max(ceil(len(verdicts) / EVERY) - done, 0)]}


def rebuild_levels(
    store: Store,
    device: DeviceRow,
    config: CiConfig,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> int:
    """Find the levels of all series of a device anew, in all nights that their tails hold.

    Args:
        store: holds the nights.
        device: the device.
        config: the limits.
        progress: receives the number of series that are done, and of all.

    Returns:
        The number of series.
    """
    ended = ("finished", "interrupted")
    rows = runs(store, device.id, ("nightly",), states=ended, limit=None, excluded=False)
    nights = {night.id: night.environment_id for night in reversed(rows)}
    if not nights:
        return 0
    found = _find(store, device.id, nights, config, progress=progress)
    record_levels(store, device.id, max(nights), found)
    return len(found)


def _find(
    store: Store,
    device_id: int,
    environment_of: Mapping[int, int],
    config: CiConfig,
    due: Collection[SeriesKey] | None = None,
    settled: Collection[SeriesKey] = (),
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> list[FoundLevels]:
    """The levels of these series, or of all, on these nights, the oldest first.

    Those in `settled` have levels in the store, which stay if they begin before these nights or soon after.
    """
    run_ids = np.array(list(environment_of))
    cells = None if due is None else {cell_id for cell_id, _ in due}
    stored = tails(store, device_id, JUDGED_METRICS, int(run_ids[0]), cells)
    throttled = flagged_points(store, list(environment_of), THROTTLED)
    changed = np.array(sorted(_nights_of_a_changed_machine(store, environment_of, config)), dtype=np.int64)
    found = []
    for done, (key, points) in enumerate(_series(stored), 1):
        if due is not None and key not in due:
            continue
        points = points[np.isin(points["run_id"], run_ids)]
        skipped = np.isin(points["run_id"], changed)
        skipped |= np.array([(run_id, key[0]) in throttled for run_id in points["run_id"].tolist()], bool)
        found.append(_levels_of(key, points, skipped, EDGE if key in settled else 0))
        progress(done, len(stored.keys))
    return found


def _series(stored: Tails) -> list[tuple[SeriesKey, NDArray[np.void]]]:
    ends = np.cumsum(stored.lengths)
    return [
        (key, stored.points[end - length : end])
        for key, end, length in zip(stored.keys, ends, stored.lengths, strict=True)
    ]


def _levels_of(
    key: SeriesKey, points: NDArray[np.void], skipped: NDArray[np.bool_], settled: int
) -> FoundLevels:
    """The levels of one series; the first `settled` of its points keep those that were found before."""
    values = points["value"].astype(float)
    half_widths = (points["high"].astype(float) - points["low"]) / 2
    parts = levels(values.tolist(), half_widths.tolist(), skipped.tolist())
    run_ids = points["run_id"].tolist()
    counted = np.flatnonzero(np.isfinite(values) & ~skipped)
    since = run_ids[settled] if 0 < settled < len(run_ids) else 0
    kept = [part for part in parts if run_ids[part.start] >= since]
    return FoundLevels(*key, since, [_stored(key, part, run_ids, counted) for part in kept])


def _stored(key: SeriesKey, part: Level, run_ids: Sequence[int], counted: NDArray[np.int64]) -> StoredLevel:
    place = int(np.searchsorted(counted, part.start))
    last_good = None if part.step is None else run_ids[counted[place - 1]]
    return StoredLevel(*key, run_ids[part.start], last_good, part.median, part.low, part.high, part.noise)


def _nights_of_a_changed_machine(
    store: Store, environment_of: Mapping[int, int], config: CiConfig
) -> set[int]:
    """Nights on which a canary was beyond its limit, within each environment."""
    times: dict[tuple[str, str, int], dict[int, float]] = {}
    for one in canary_readings(store, list(environment_of)):
        key = (one.name, one.precision, environment_of[one.run_id])
        times.setdefault(key, {})[one.run_id] = one.latency_ms
    return {run_id for of in times.values() for run_id in canary_changes_beyond_limit(of, config)}
