"""Measures in a child process of this host: a crash takes one cell, never the night."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

from kswatch.db.records import CanaryRecord, MeasurementRecord
from kswatch.profiler.devices.discovery import Target
from kswatch.profiler.empty_records import unmeasured
from kswatch.profiler.executors.base import MeasureTask, Place, Position
from kswatch.profiler.executors.process import ChildProcess
from kswatch.profiler.executors.protocol import Answer, Begin, CanaryTask, Failure, Task


def local_engine(target: Target, watchdog_s: float, stop: threading.Event) -> LocalEngine:
    """The engine of a device of this host; a GPU's child sees no other GPU."""
    on_gpu = target.record.kind == "cuda" and not target.record.simulated
    variables = {"CUDA_VISIBLE_DEVICES": target.record.uuid} if on_gpu else {}
    return LocalEngine(Begin(target.spec), variables, watchdog_s, stop)


class LocalEngine:
    """One device's child process, started on first use and again after every death."""

    def __init__(
        self, begin: Begin, variables: dict[str, str], watchdog_s: float, stop: threading.Event
    ) -> None:
        """Start nothing yet; a child that takes no step for `watchdog_s` will be ended."""
        self.busy_s = 0.0
        self.skipped_s = 0.0
        """Seconds that a simulated device only said to have taken."""
        self._begin = begin
        self._variables = variables
        self._watchdog_s = watchdog_s
        self._stop = stop
        self.child: ChildProcess | None = None
        """The process, while there is one."""

    def place(self) -> Place:
        """See `Engine`."""
        return self._living_child().place

    def measure(self, task: MeasureTask) -> list[MeasurementRecord]:
        """See `Engine`; cells that took the child down get their records, the others are measured again."""
        lost: list[MeasurementRecord] = []
        waiting = task.implementations
        while waiting:
            answer = self._ask(replace(task, implementations=waiting))
            if isinstance(answer, Answer) and answer.usable:
                return [*lost, *answer.records]
            lost += _guilty(answer, replace(task, implementations=waiting))
            known = {record.implementation for record in lost}
            waiting = tuple(name for name in waiting if name not in known)
        return lost

    def canaries(self, position: Position) -> list[CanaryRecord]:
        """See `Engine`."""
        answer = self._ask(CanaryTask(position))
        return list(answer.canaries) if isinstance(answer, Answer) else []

    def now_s(self) -> float:
        """See `Engine`."""
        return time.monotonic() + self.skipped_s

    def close(self) -> None:
        """End the child."""
        if self.child:
            self.child.close()
            self.child = None

    def _living_child(self) -> ChildProcess:
        if self.child is None:
            self.child = ChildProcess(self._begin, self._variables, self._stop)
        return self.child

    def _ask(self, task: Task) -> Answer | Failure:
        answer = self._living_child().ask(task, self._watchdog_s)
        if isinstance(answer, Answer):
            self.busy_s += answer.busy_s
            self.skipped_s += answer.skipped_s
        if not answer.usable:
            self.close()
        return answer


def _guilty(answer: Answer | Failure, task: MeasureTask) -> list[MeasurementRecord]:
    """Records of the cells to blame: the one that ran, or the first to fail; all where nothing is known."""
    if isinstance(answer, Failure):
        blamed = (answer.at,) if answer.at else task.implementations
        return [unmeasured(task.problem, name, "crashed", answer.reason) for name in blamed]
    # After an error that stays with the process every later cell fails too. `bmm` is tried first.
    crashed = [record for record in answer.records if record.status == "crashed"]
    return sorted(crashed, key=lambda record: record.implementation != "bmm")[:1] or list(answer.records)
