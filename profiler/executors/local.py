"""Measures in a child process of this host: a crash costs one cell, never the night."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from kswatch.db.records import (
    RIVALS,
    CanaryPosition,
    CanaryRecord,
    MeasurementRecord,
    Status,
    is_foreign,
)
from kswatch.errors import UsageError
from kswatch.profiler.devices.discovery import Target
from kswatch.profiler.empty_records import empty_record
from kswatch.profiler.executors.base import Answer, Begin, Failure, MeasurementSite, MeasureTask, Task
from kswatch.profiler.executors.process import MeasuringProcess
from kswatch.profiler.foreign.sources import Foreign
from kswatch.profiler.foreign.trial import try_out


def local_engine(
    target: Target,
    watchdog_s: float,
    stop: threading.Event,
    canaries: Sequence[CanaryRecord] = (),
    foreign: Foreign = Foreign(),  # noqa: B008 (frozen)
) -> LocalEngine:
    """The engine of a device of this host, for a run with these canaries so far; see `LocalEngine`.

    `foreign` are the foreign implementations that this host may measure.
    """
    variables = {}
    if target.record.kind == "cuda" and not target.record.simulated:  # its child sees no other GPU
        variables = {"CUDA_VISIBLE_DEVICES": target.record.uuid}
        target = replace(target, torch_device="cuda:0")
    return LocalEngine(Begin(target, tuple(canaries), foreign), variables, watchdog_s, stop)


class LocalEngine:
    """One device's child process for one run, started on first use and again after every death."""

    def __init__(
        self, begin: Begin, variables: dict[str, str], watchdog_s: float, stop: threading.Event
    ) -> None:
        """Start nothing yet; a child is ended when it makes no progress for `watchdog_s`, or by `stop`."""
        self.busy_s = 0.0
        self.skipped_s = 0.0
        """Seconds that only a simulated device's clock advanced."""
        self._begin = begin
        self._variables = variables
        self._watchdog_s = watchdog_s
        self._stop = stop
        self._refusals: dict[str, tuple[Status, str] | None] = {}
        """Of each foreign implementation so far: a status and a reason if it cannot be measured."""
        self.child: MeasuringProcess | None = None
        """The process, while there is one."""

    def site(self) -> MeasurementSite:
        """See `Engine`."""
        return self._running_child().site

    def measure(self, task: MeasureTask) -> list[MeasurementRecord]:
        """See `Engine`; cells that crashed the child get their records, the others are measured again."""
        lost = self._refused_records(task)
        refused = {record.implementation for record in lost}
        waiting = tuple(name for name in task.implementations if name not in refused)
        while waiting:
            answer = self._execute(replace(task, implementations=waiting))
            if isinstance(answer, Answer) and answer.usable:
                return [*lost, *answer.records]
            lost += _crashed_records(answer, replace(task, implementations=waiting))
            known = {record.implementation for record in lost}
            waiting = tuple(name for name in waiting if name not in known)
        return lost

    def _refused_records(self, task: MeasureTask) -> list[MeasurementRecord]:
        """Records of the foreign implementations that may not be used here or cannot be imported."""
        refusals = ((name, self._refusal(name)) for name in task.implementations if is_foreign(name))
        return [empty_record(task.problem, name, *found) for name, found in refusals if found]

    def _refusal(self, name: str) -> tuple[Status, str] | None:
        """Found once, in a process of its own: an import that hangs would cost each problem a timeout."""
        if name not in self._refusals:
            try:
                failure = try_out(self._begin.foreign.implementation(name), self._stop).failure
                self._refusals[name] = ("crashed", failure) if failure else None
            except UsageError as error:
                self._refusals[name] = ("unsupported", str(error))
        return self._refusals[name]

    def canaries(self, position: CanaryPosition) -> list[CanaryRecord]:
        """See `Engine`."""
        answer = self._execute(position)
        read = answer.canaries if isinstance(answer, Answer) else ()
        self._begin = replace(self._begin, canaries=(*self._begin.canaries, *read))  # for the next child
        return list(read)

    def now_s(self) -> float:
        """See `Engine`."""
        return time.monotonic() + self.skipped_s

    def close(self) -> None:
        """End the child."""
        if self.child:
            self.child.close()
            self.child = None

    def _running_child(self) -> MeasuringProcess:
        if self.child is None:
            self.child = MeasuringProcess(self._begin, self._variables, self._stop)
        return self.child

    def _execute(self, task: Task) -> Answer | Failure:
        answer = self._running_child().execute(task, self._watchdog_s)
        if isinstance(answer, Answer):
            self.busy_s += answer.busy_s
            self.skipped_s += answer.skipped_s
        if not answer.usable:
            self.close()
        return answer


def _crashed_records(answer: Answer | Failure, task: MeasureTask) -> list[MeasurementRecord]:
    """Records of the cells that caused it: the one that ran, or the first to fail; all if none is known.

    A rival that stalls is too slow: its library may compile for minutes.
    """
    if isinstance(answer, Failure):
        names = (answer.at,) if answer.at else task.implementations
        slow = RIVALS if answer.stalled and answer.at else ()
        return [
            empty_record(task.problem, name, "too_slow" if name in slow else "crashed", answer.reason)
            for name in names
        ]
    # After an error that stays with the process every later cell fails too. `bmm` is tried first.
    crashed = [record for record in answer.records if record.status == "crashed"]
    return sorted(crashed, key=lambda record: record.implementation != "bmm")[:1] or list(answer.records)
