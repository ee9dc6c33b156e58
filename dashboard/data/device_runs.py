"""A device with the runs that a page shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from kswatch.dashboard.data.run_sources import RunSource
from kswatch.db.queries.basic import DeviceRow, RunRow
from kswatch.services import JudgementLimits


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
