"""The parent's side of a child process: start it, ask it, notice that it died or hangs."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from kswatch.errors import MeasurementError
from kswatch.profiler.child_environment import child_environment
from kswatch.profiler.executors.base import MeasureTask, Place
from kswatch.profiler.executors.protocol import Answer, Begin, Failure, Task
from kswatch.profiler.executors.watchdog_page import Whereabouts
from kswatch.profiler.signals import Stopped

_LOOK_EVERY_S = 0.2
_START_TIMEOUT_S = 120.0


class ChildProcess:
    """One child with its pipe and its page of whereabouts; used by one thread."""

    def __init__(self, begin: Begin, variables: Mapping[str, str], stop: threading.Event) -> None:
        """Start the child and wait until it has its device.

        Raises:
            MeasurementError: it died or could not find its device.
            Stopped: the run was asked to stop meanwhile.
        """
        self._stop = stop
        self.whereabouts = Whereabouts()
        self._connection, theirs = Pipe()
        self._process = _start(theirs, self.whereabouts, variables)
        theirs.close()
        self._connection.send(begin)
        answer = self._receive(_START_TIMEOUT_S)
        if isinstance(answer, Failure) or answer.place is None:
            self.close()
            reason = answer.reason if isinstance(answer, Failure) else "it told no place"
            raise MeasurementError(f"device {begin.device} cannot be used: {reason}; try `kswatch doctor`")
        self.place: Place = answer.place

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def ask(self, task: Task, timeout_s: float) -> Answer | Failure:
        """The answer to a task; a failure when the child died, or took no step for `timeout_s`.

        Raises:
            Stopped: the run was asked to stop meanwhile; the child is gone.
        """
        try:
            self._connection.send(task)
        except OSError:
            return Failure(self._epitaph())
        answer = self._receive(timeout_s)
        if isinstance(answer, Answer) or answer.at or not isinstance(task, MeasureTask):
            return answer
        place = self.whereabouts.place
        at = task.implementations[place] if place >= 0 else None
        return Failure(answer.reason, at, answer.usable)

    def close(self) -> None:
        """End the child, and give pipe and page back."""
        self._process.kill()
        self._process.wait()
        self._connection.close()
        self.whereabouts.close()

    def _receive(self, timeout_s: float) -> Answer | Failure:
        steps, since_s = self.whereabouts.steps, time.monotonic()
        while not self._connection.poll(_LOOK_EVERY_S):
            if self._stop.is_set():
                self._process.kill()
                raise Stopped
            if self.whereabouts.steps != steps:
                steps, since_s = self.whereabouts.steps, time.monotonic()
            if time.monotonic() - since_s > timeout_s:
                self._process.kill()
                return Failure(f"the measuring process took no step for {timeout_s:.0f} s and was ended")
        try:
            answer: Answer | Failure = self._connection.recv()
        except (EOFError, OSError):
            return Failure(self._epitaph())
        return answer

    def _epitaph(self) -> str:
        code = self._process.wait()
        if code < 0:
            return f"the measuring process was ended by {signal.Signals(-code).name}"
        return f"the measuring process ended by itself with exit code {code}"


def _start(
    theirs: Connection, whereabouts: Whereabouts, variables: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "kswatch.profiler.executors.process_main",
            str(theirs.fileno()),
            str(whereabouts.descriptor),
        ],
        env=child_environment(variables),
        pass_fds=(theirs.fileno(), whereabouts.descriptor),
        stdout=sys.__stderr__.fileno() if sys.__stderr__ else subprocess.DEVNULL,
        # Out of reach of Ctrl-C: the parent decides what becomes of the problem under way.
        start_new_session=True,
    )
