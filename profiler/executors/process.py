"""A measuring process as its parent sees it: one device, one task at a time."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace

from kswatch.errors import MeasurementError
from kswatch.profiler.child_process import ChildLostError, ChildProcess, ChildStalledError
from kswatch.profiler.executors.base import Answer, Begin, Failure, MeasurementSite, MeasureTask, Task
from kswatch.profiler.executors.watchdog_page import WatchdogPage

_MODULE = "kswatch.profiler.executors.process_main"
_START_TIMEOUT_S = 120.0


class MeasuringProcess(ChildProcess):
    """One child process with its watchdog page; used by one thread."""

    def __init__(self, begin: Begin, variables: Mapping[str, str], stop: threading.Event) -> None:
        """Start the child and wait until it has its device.

        Raises:
            MeasurementError: it died or cannot use its device.
            Stopped: the run was asked to stop meanwhile.
        """
        self.page = WatchdogPage()
        page = self.page.descriptor
        super().__init__(_MODULE, (str(page),), stop, variables=variables, descriptors=(page,))
        answer = self._exchange(begin, _START_TIMEOUT_S)
        if isinstance(answer, Failure) or answer.site is None:
            self.close()
            reason = answer.reason if isinstance(answer, Failure) else "its process did not describe it"
            device = begin.target.spec
            raise MeasurementError(f"device {device} cannot be used: {reason}; try `kswatch doctor`")
        self.site: MeasurementSite = answer.site

    def execute(self, task: Task, timeout_s: float) -> Answer | Failure:
        """The result of a task; a failure when the child died, or made no progress for `timeout_s`.

        Raises:
            Stopped: the run was asked to stop meanwhile; the child has ended.
        """
        self.page.set_current(-1)
        answer = self._exchange(task, timeout_s)
        if isinstance(answer, Answer) or answer.at or not isinstance(task, MeasureTask):
            return answer
        current = self.page.current
        at = task.implementations[current] if current >= 0 else None
        return replace(answer, at=at)

    def close(self) -> None:
        """End the child, and give pipe and page back."""
        super().close()
        self.page.close()

    def _exchange(self, message: Begin | Task, timeout_s: float) -> Answer | Failure:
        try:
            self.send(message)
            answer: Answer | Failure = self.receive(timeout_s, progress=lambda: self.page.steps)
        except ChildLostError as error:
            return Failure(str(error), stalled=isinstance(error, ChildStalledError))
        return answer
