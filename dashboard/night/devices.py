"""The newest night of each device: its medians against their level, canaries, and what it lacks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import exp, sqrt
from statistics import median

from kswatch.dashboard.data.baseline_history import runs_since_change
from kswatch.dashboard.data.canary_shares import CanaryShare, canary_shares
from kswatch.dashboard.data.device_runs import DeviceRuns, RunSource, preferred_history
from kswatch.dashboard.formatting.labels import are_comparable, device_names
from kswatch.db.queries import basic as queries
from kswatch.db.queries import page_queries, run_diff
from kswatch.db.queries.baseline_sets import RunSets, run_sets
from kswatch.db.queries.basic import DeviceRow, EnvironmentChange, HistoryFilter, RunRow
from kswatch.db.queries.measurements import Median, medians_of_runs
from kswatch.db.queries.regression_inputs import CanaryReading, canary_readings
from kswatch.db.queries.run_diff import MissingCells
from kswatch.db.queries.speed_of_light import SpeedOfLightSummary, speed_of_light, summarised
from kswatch.db.store import Store
from kswatch.services import JudgementLimits

NIGHTS = 30
DETAILED_NIGHTS = 2
"""Runs that are read whole: the newest, and the one before it that it is compared with."""
FEWEST_EARLIER = 3
"""Nights before the newest one that a level needs."""
NOISE_FACTOR = 3.0
NORMAL_MAD = 1.4826
"""The standard deviation of normal noise over its median absolute deviation."""


@dataclass(frozen=True)
class NightMedians:
    """Fused against the best baseline in one precision and layout, over the last nights."""

    precision: str
    layout: str
    nights: tuple[Median, ...]
    """Latency, the oldest first, the last one of the newest run; all against one set of baselines."""
    energy: Median | None
    """Of the newest run."""
    light: SpeedOfLightSummary | None
    is_finished: bool
    """Whether the newest run measured all that it planned."""

    @property
    def newest(self) -> Median:
        """That of the newest run."""
        return self.nights[-1]

    @property
    def most_problems(self) -> int:
        """Problems of the night that compared most of them."""
        return max(night.problems for night in self.nights)

    @property
    def is_whole(self) -> bool:
        """Whether the newest run compared everything that earlier nights did."""
        return self.is_finished and self.newest.problems == self.most_problems

    @property
    def change(self) -> float | None:
        """Of the newest median against the median of earlier nights; None without a level to compare with."""
        earlier = self._earlier
        return self.newest.median_speedup / median(earlier) - 1 if len(earlier) >= FEWEST_EARLIER else None

    @property
    def _earlier(self) -> list[float]:
        """The medians of nights before the newest over as many problems."""
        problems = self.newest.problems
        return [one.median_speedup for one in self.nights[:-1] if are_comparable(one.problems, problems)]

    def has_changed(self, floor: float) -> bool:
        """Whether the change is at least `floor`, and beyond the noise of earlier nights."""
        if self.change is None:
            return False
        earlier = self._earlier
        level = median(earlier)
        noise = NORMAL_MAD * median(abs(one - level) for one in earlier) / level
        # the noise of n nights errs by a factor of e^(1.2 / sqrt(n - 1)): twice that is allowed for
        allowance = NOISE_FACTOR * exp(2 * 1.2 / sqrt(len(earlier) - 1))
        return abs(self.change) >= max(floor, allowance * noise)

    def is_calm(self, floor: float) -> bool:
        """Whether nothing changed, and nothing is left out."""
        return self.is_whole and not self.has_changed(floor)


@dataclass(frozen=True)
class DeviceNight(DeviceRuns):
    """A device with its newest run and what that run is compared with."""

    medians: tuple[NightMedians, ...]
    sets: RunSets
    """Of the newest run."""
    canaries: tuple[CanaryShare, ...]
    other_cpu_share: float | None
    """The most of the host's CPU that other programs used while canaries ran; None where unknown."""
    environment_changes: tuple[EnvironmentChange, ...]
    missing: tuple[MissingCells, ...]
    """Cells that the run before measured and the newest one did not; incorrect ones are counted apart."""

    @property
    def missing_cells(self) -> int:
        """Their number."""
        return sum(row.cells for row in self.missing)

    @property
    def wrong_cells(self) -> int:
        """Cells of the newest run with an incorrect result."""
        return self.newest.by_status.get("incorrect", 0)

    def has_moved(self, limits: JudgementLimits) -> bool:
        """Whether a canary differs too far from earlier nights."""
        return limits.has_machine_moved(one.median for one in self.canaries)

    def is_calm(self, limits: JudgementLimits, now: datetime) -> bool:
        """Whether nothing changed, is wrong or is missing, alerts aside."""
        found = (
            self.is_overdue(limits, now),
            self.has_moved(limits),
            self.environment_changes,
            self.missing,
            self.wrong_cells,
        )
        return not any(found) and all(one.is_calm(limits.floor) for one in self.medians)


def device_nights(store: Store) -> list[DeviceNight]:
    """Every device with an ended run, the one with the newest run first."""
    groups = page_queries.run_groups(store)
    found: list[tuple[DeviceRow, RunSource, HistoryFilter]] = []
    known = queries.devices(store)
    for device in known:
        if history := preferred_history(device.id, groups):
            found.append((device, *history))
    filters = [history for _, _, history in found]
    detailed = queries.ended_runs(store, filters, DETAILED_NIGHTS)
    every = queries.ended_run_ids(store, filters, NIGHTS)
    names = device_names(known)
    read = _Reader(store, detailed, every)
    return [
        DeviceNight(
            device,
            names[device.id],
            source,
            tuple(runs),
            earlier=tuple(run_ids[: -len(runs)]),
            medians=read.medians(runs[-1], run_ids),
            sets=read.sets.get(runs[-1].id, RunSets()),
            canaries=read.canaries(runs[-1].id, run_ids),
            other_cpu_share=read.other_cpu_share(runs[-1].id),
            environment_changes=tuple(read.environment_changes(runs)),
            missing=tuple(read.missing(runs)),
        )
        for (device, source, _), runs, run_ids in zip(found, detailed, every, strict=True)
    ]


class _Reader:
    """Reads of all devices at once."""

    def __init__(
        self, store: Store, detailed: Sequence[Sequence[RunRow]], every: Sequence[list[int]]
    ) -> None:
        self._store = store
        newest = [runs[-1].id for runs in detailed]
        among = [run_id for run_ids in every for run_id in run_ids]
        self.sets = run_sets(store, among)
        self._held: dict[int, set[tuple[str, str]]] = defaultdict(set)
        for row in queries.summaries(store, newest, baselines=None):
            self._held[row.run_id].add((row.precision, row.layout))
        self._medians = self._all_medians(among)
        self._canaries: dict[int, list[CanaryReading]] = defaultdict(list)
        for one in canary_readings(store, among):
            self._canaries[one.run_id].append(one)
        self._light = {
            (one.run, one.precision, one.layout): one for one in summarised(speed_of_light(store, newest))
        }

    def _all_medians(self, among: Collection[int]) -> Mapping[tuple[str, ...], Mapping[int, Median]]:
        """By set of baselines, precision, layout and metric, then by run."""
        found: dict[tuple[str, ...], dict[int, Median]] = defaultdict(dict)
        for precision, layout in {held for of_run in self._held.values() for held in of_run}:
            for baselines in {sets.headline for sets in self.sets.values()}:
                for one in medians_of_runs(self._store, among, baselines, precision, layout):
                    found[baselines, precision, layout, one.metric][one.run_id] = one
        return found

    def medians(self, newest: RunRow, run_ids: Sequence[int]) -> tuple[NightMedians, ...]:
        """Of a device's newest run in every precision and layout, fp32 first."""
        baselines = self.sets.get(newest.id, RunSets()).headline
        since = runs_since_change(self.sets, run_ids, baselines)
        found = []
        for precision, layout in sorted(self._held[newest.id], key=lambda held: (held[0] != "fp32", held)):
            by_run = self._medians.get((baselines, precision, layout, "latency"), {})
            if newest.id not in by_run:
                continue
            energy = self._medians.get((baselines, precision, layout, "energy"), {}).get(newest.id)
            found.append(
                NightMedians(
                    precision,
                    layout,
                    tuple(by_run[run_id] for run_id in since if run_id in by_run),
                    energy,
                    self._light.get((newest.id, precision, layout)),
                    is_finished=newest.state == "finished",
                )
            )
        return tuple(found)

    def canaries(self, newest: int, run_ids: Sequence[int]) -> tuple[CanaryShare, ...]:
        """The canaries of a device's newest run against earlier nights."""
        readings = (
            (run_id, f"{one.name} {one.precision}", one.rate)
            for run_id in run_ids
            for one in self._canaries.get(run_id, ())
        )
        return tuple(canary_shares(readings, newest))

    def other_cpu_share(self, newest: int) -> float | None:
        """Of a device's newest run."""
        shares = (one.other_cpu_share for one in self._canaries.get(newest, ()))
        return max((one for one in shares if one is not None), default=None)

    def missing(self, runs: Sequence[RunRow]) -> list[MissingCells]:
        """Since the run before the newest one."""
        if len(runs) < 2:
            return []
        found = run_diff.missing_cells(self._store, runs[-2].id, runs[-1].id)
        return [row for row in found if row.status != "incorrect"]

    def environment_changes(self, runs: Sequence[RunRow]) -> list[EnvironmentChange]:
        """Since the run before the newest one."""
        if len(runs) < 2 or runs[-1].environment_id == runs[-2].environment_id:
            return []
        return queries.environment_changes(self._store, runs[-2].id, runs[-1].id)
