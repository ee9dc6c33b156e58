"""Which runs are looked at: what was measured and what was not are never mixed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from kswatch.db.queries.basic import Nights, RunRow
from kswatch.db.queries.progress_and_news import RunGroup

SILENT_AFTER = timedelta(hours=36)
"""A device without a nightly run for longer than this is told as silent."""


@dataclass(frozen=True)
class Source:
    """Which runs of a device are looked at; never a mixture of what was measured and what was not."""

    name: str
    label: str
    origin: str
    kinds: tuple[str, ...]

    def holds(self, group: RunGroup | RunRow) -> bool:
        """Whether these runs belong to it."""
        return group.origin == self.origin and (not self.kinds or group.kind in self.kinds)

    def nights(self, device_id: int, suite: str) -> Nights:
        """The runs of it that make one history."""
        return Nights(device_id, self.kinds or None, self.origin, suite)


SOURCES: tuple[Source, ...] = (
    Source("nightly", "nightly", "measured", ("nightly",)),
    Source("ad_hoc", "ad hoc", "measured", ("ad_hoc",)),
    Source("imported", "imported", "imported", ()),
    Source("simulated", "simulated", "simulated", ("nightly", "ad_hoc")),
)
"""In order of preference: headlines are nightly and measured wherever there are such runs."""
