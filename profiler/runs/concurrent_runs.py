"""Lanes: runs on several devices at once, each device in a thread of its own, never two on one device.

The threads only wait for the processes that measure, and write; each has a store of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from kswatch.db.store import Store
from kswatch.profiler.devices.discovery import Target
from kswatch.profiler.runs.problem_loop import RunResult

Measure = Callable[[Store], RunResult | None]


class Lane:
    """One run under way on one device."""

    def __init__(self, about: Any, target: Target, run: Callable[[Lane], None]) -> None:  # noqa: ANN401
        """Begin; `about` is whatever the one who started it wants to know again at the end."""
        self.about = about
        self.target = target
        self.result: RunResult | None = None
        self.error: Exception | None = None
        self.over = False
        """Whether the run has ended."""
        self._thread = threading.Thread(target=run, args=(self,), daemon=True)
        self._thread.start()

    def join(self) -> RunResult | None:
        """Wait for the end, and give what was measured, or raise what was raised there."""
        self._thread.join()
        if self.error:
            raise self.error
        return self.result


class Lanes:
    """The runs under way of one process."""

    def __init__(self, store: Store) -> None:
        """Nothing is under way; each lane gets a store of its own on the database of `store`."""
        self.under_way: list[Lane] = []
        self._engine = store.engine
        self._news = threading.Event()

    def start(self, about: Any, target: Target, measure: Measure) -> Lane:  # noqa: ANN401
        """Begin a run on a device that is free."""

        def run(lane: Lane) -> None:
            try:
                lane.result = measure(Store(self._engine))
            except Exception as error:  # raised again where the lane is joined
                lane.error = error
            finally:
                lane.over = True
                self._news.set()

        self.under_way.append(Lane(about, target, run))
        return self.under_way[-1]

    def is_free(self, target: Target) -> bool:
        """Whether a run on this device would disturb none of those under way, and none of them it."""
        return not any(_disturb(target, lane.target) for lane in self.under_way)

    def wait(self, seconds: float | None = None) -> None:
        """Wait until a run ends, at most so long."""
        self._news.wait(seconds)
        self._news.clear()

    def ended(self) -> list[Lane]:
        """Those that have ended since this was asked last."""
        over = [lane for lane in self.under_way if lane.over]
        self.under_way = [lane for lane in self.under_way if lane not in over]
        return over


def _disturb(one: Target, other: Target) -> bool:
    """Whether two runs at once would; the CPU of a host starts the work of its GPUs, so it runs alone."""
    if one.record.uuid == other.record.uuid:
        return True
    if one.record.simulated or other.record.simulated:
        return False
    return "cpu" in (one.record.kind, other.record.kind)
