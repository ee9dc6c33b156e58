"""Runs on several devices at once: one thread per device, never two runs on one device.

The threads only wait for the processes that measure, and write; each has a store of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from kswatch.db.store import Store
from kswatch.logs import log_context
from kswatch.profiler.devices.discovery import Target
from kswatch.profiler.runs.problem_loop import RunResult

Measure = Callable[[Store], RunResult | None]


@dataclass(frozen=True, eq=False)
class RunThread:
    """One run in progress on one device, in a thread of its own."""

    subject: Any
    """What its starter needs again at the end."""
    target: Target
    future: Future[RunResult | None]
    """Its result, or its exception."""


class ConcurrentRuns:
    """The runs in progress of one process."""

    def __init__(self, store: Store) -> None:
        """No run yet; each gets a store of its own on the database of `store`."""
        self.in_progress: list[RunThread] = []
        self._engine = store.engine
        self._change = threading.Event()

    def start(self, subject: Any, target: Target, measure: Measure) -> RunThread:  # noqa: ANN401
        """Start a run on a device that is free."""
        future: Future[RunResult | None] = Future()

        def run() -> None:
            try:
                with log_context(device=target.record.uuid):
                    future.set_result(measure(Store(self._engine)))
            except Exception as error:  # raised again by `future.result()`
                future.set_exception(error)
            finally:
                self._change.set()

        self.in_progress.append(RunThread(subject, target, future))
        threading.Thread(target=run, daemon=True).start()
        return self.in_progress[-1]

    def is_free(self, target: Target) -> bool:
        """Whether a run on this device and those in progress would not disturb each other."""
        return not any(_disturb(target, run_thread.target) for run_thread in self.in_progress)

    def wait(self, seconds: float | None = None) -> None:
        """Wait until a run ends, or the time is up."""
        self._change.wait(seconds)
        self._change.clear()

    def ended(self) -> list[RunThread]:
        """Those that have ended since the last call."""
        ended = [run_thread for run_thread in self.in_progress if run_thread.future.done()]
        self.in_progress = [run_thread for run_thread in self.in_progress if run_thread not in ended]
        return ended


def _disturb(one: Target, other: Target) -> bool:
    """Whether two runs at once would; the CPU of a host launches the work of its GPUs, so it runs alone."""
    if one.record.uuid == other.record.uuid:
        return True
    if one.record.simulated or other.record.simulated:
        return False
    return "cpu" in (one.record.kind, other.record.kind)
