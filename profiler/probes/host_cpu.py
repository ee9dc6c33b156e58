"""How much of the host's CPU time other programs use."""

from __future__ import annotations

import time
from dataclasses import dataclass

import psutil

SHORTEST_S = 0.1
"""Of CPU time on all cores; the system counts in steps of about 0.01 s a core."""


@dataclass(frozen=True)
class CpuTimes:
    """Seconds of CPU time so far."""

    total: float
    """Of all cores, idle or not."""
    busy: float
    own: float
    """Of this process and its threads."""

    @classmethod
    def now(cls) -> CpuTimes:
        """The times at this moment."""
        by_state = psutil.cpu_times()._asdict()
        # A guest's time is part of the user's.
        total = sum(seconds for state, seconds in by_state.items() if not state.startswith("guest"))
        idle = by_state["idle"] + by_state.get("iowait", 0.0)
        return cls(total, total - idle, time.process_time())

    def share_of_others(self) -> float | None:
        """The share of all CPU time since then that other programs used; None after too short a time."""
        now = CpuTimes.now()
        total = now.total - self.total
        if total < SHORTEST_S:
            return None
        others = (now.busy - self.busy) - (now.own - self.own)
        return min(max(others / total, 0.0), 1.0)
