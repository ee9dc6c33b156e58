"""A device with the runs that a page shows; measured, imported and simulated runs are never mixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from kswatch.db.queries.basic import DeviceRow, HistoryFilter, RunRow
from kswatch.db.queries.page_queries import RunGroup
from kswatch.services import JudgementLimits


@dataclass(frozen=True)
class RunSource:
    """Runs of a device of one origin, and of one of these kinds where there are any."""

    name: str
    label: str
    origin: str
    kinds: tuple[str, ...]

    def holds(self, group: RunGroup | RunRow) -> bool:
        """Whether these runs belong to the source."""
        return group.origin == self.origin and (not self.kinds or group.kind in self.kinds)

    def nights(self, device_id: int, suite: str) -> HistoryFilter:
        """The runs of the source that form one history."""
        return HistoryFilter(device_id, self.kinds or None, self.origin, suite)


SOURCES: tuple[RunSource, ...] = (
    RunSource("nightly", "nightly", "measured", ("nightly",)),
    RunSource("ad_hoc", "ad hoc", "measured", ("ad_hoc",)),
    RunSource("imported", "imported", "imported", ()),
    RunSource("simulated", "simulated", "simulated", ("nightly", "ad_hoc")),
)
"""In order of preference: headlines are nightly and measured wherever there are such runs."""


def preferred_history(device_id: int, groups: Sequence[RunGroup]) -> tuple[RunSource, HistoryFilter] | None:
    """The most preferred source of a device's runs, and its newest suite; None without ended runs."""
    own = [group for group in groups if group.device_id == device_id]
    for source in SOURCES:
        if held := list(filter(source.holds, own)):
            suite = max(held, key=lambda group: group.newest_run_id).suite
            return source, source.nights(device_id, suite)
    return None


@dataclass(frozen=True)
class DeviceRuns:
    """A device and ended runs of one source, the oldest first; there is at least one."""

    device: DeviceRow
    name: str
    source: RunSource
    runs: tuple[RunRow, ...]
    earlier: tuple[int, ...] = field(default=(), kw_only=True)
    """Ids of the runs before these, of which only medians are read."""

    @property
    def newest(self) -> RunRow:
        """The newest run."""
        return self.runs[-1]

    @property
    def run_ids(self) -> tuple[int, ...]:
        """The runs' ids, the oldest first."""
        return (*self.earlier, *(run.id for run in self.runs))

    def is_overdue(self, limits: JudgementLimits, now: datetime) -> bool:
        """Whether its nightly runs have stopped."""
        return self.source.name == "nightly" and limits.is_overdue(self.newest.started_at, now)
