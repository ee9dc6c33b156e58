"""Detects an implementation that replaces what measures and checks it, and puts the originals back."""

from __future__ import annotations

import time

import torch

from kswatch.kernels import reference
from kswatch.profiler.backends import timed_launches
from kswatch.profiler.probes import timing

WATCHED: tuple[tuple[object, str], ...] = (
    *((time, name) for name in ("perf_counter_ns", "perf_counter", "monotonic", "time_ns")),
    (timing, "clock_ns"),
    *((timing.CpuTimer, name) for name in ("visit", "hot", "_visit", "_sample_ms")),
    *((reference, name) for name in ("check", "reference", "relative_limit")),
    *((timed_launches, name) for name in ("check", "reference", "defect_of", "sample_of")),
    *((timed_launches.TimedLaunches, name) for name in ("before", "after", "check", "check_whole")),
    *((torch, name) for name in ("equal", "isfinite", "empty", "get_num_threads")),
    *((torch.cuda.Event, name) for name in ("record", "synchronize", "elapsed_time")),
    (torch.cuda, "synchronize"),
)
"""Functions by which products are timed and checked, by owner and name."""


class Originals:
    """The watched functions as they are now."""

    def __init__(self) -> None:
        self._originals = [
            (owner, name, getattr(owner, name)) for owner, name in WATCHED if hasattr(owner, name)
        ]

    def replaced(self) -> list[str]:
        """Names of those that were replaced since; the originals are put back."""
        found = [entry for entry in self._originals if getattr(entry[0], entry[1], None) is not entry[2]]
        for owner, name, original in found:
            setattr(owner, name, original)
        return [f"{getattr(owner, '__name__', owner)}.{name}" for owner, name, _ in found]
