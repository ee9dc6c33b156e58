"""A device with those of its runs that a page is about."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from kswatch.dashboard.data.run_sources import SILENT_AFTER, Source
from kswatch.db.queries.basic import DeviceRow, RunRow


@dataclass(frozen=True)
class DeviceRuns:
    """A device and ended runs of one source, the oldest first; there is at least one."""

    device: DeviceRow
    name: str
    source: Source
    runs: tuple[RunRow, ...]
    earlier: tuple[int, ...] = field(default=(), kw_only=True)
    """Ids of the runs before these, of which no more is read."""

    @property
    def newest(self) -> RunRow:
        """The newest run."""
        return self.runs[-1]

    @property
    def run_ids(self) -> tuple[int, ...]:
        """The runs' ids, the oldest first."""
        return (*self.earlier, *(run.id for run in self.runs))

    def is_silent(self, now: datetime) -> bool:
        """Whether its nightly runs have stopped."""
        return self.source.name == "nightly" and now - self.newest.started_at > SILENT_AFTER
