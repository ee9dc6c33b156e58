"""The sources of runs: measured, imported and simulated runs are never mixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kswatch.db.queries.basic import HistoryFilter, RunRow
from kswatch.db.queries.page_queries import RunGroup


@dataclass(frozen=True)
class RunSource:
    """Runs of a device of one origin; measured and other runs are never mixed."""

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
