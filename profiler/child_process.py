"""A child process as its parent sees it: start it, exchange messages, notice that it died or hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import kswatch
from kswatch.errors import MeasurementError
from kswatch.profiler.signals import Stopped

IMPORT_ROOT = Path(kswatch.__file__).parents[1]
"""The folder on `sys.path` that holds the package: a checkout's root, or site-packages."""
_POLL_S = 0.2


class ChildLostError(MeasurementError):
    """The child process died, or made no progress and was ended; the message is the reason."""


class ChildStalledError(ChildLostError):
    """It made no progress and was ended."""


@contextmanager
def exit_with_parent() -> Iterator[None]:
    """Of the child's main function: leave without a traceback where the parent was killed."""
    try:
        yield
    except (EOFError, BrokenPipeError, ConnectionResetError):
        os._exit(0)


def python_command(module: str, *arguments: str, options: Sequence[str] = ()) -> list[str]:
    """The command that runs a module of this kswatch, whatever packages lie in the working directory."""
    return [sys.executable, "-P", *options, "-m", module, *arguments]


def child_environment(variables: Mapping[str, str] = {}) -> dict[str, str]:  # noqa: B006 (never written to)
    """This process's environment and `variables`; a child imports the same kswatch as its parent."""
    path = [os.environ.get("PYTHONPATH", "")]
    if str(IMPORT_ROOT) not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        path.insert(0, str(IMPORT_ROOT))  # site-packages in this place would come before the standard library
    joined = os.pathsep.join(filter(None, path))
    return {**os.environ, **({"PYTHONPATH": joined} if joined else {}), **variables}


class ChildProcess:
    """A child process and the pipe to it, whose file descriptor is its first argument; used by one thread."""

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        stop: threading.Event,
        *,
        variables: Mapping[str, str] = {},  # noqa: B006 (never written to)
        options: Sequence[str] = (),
        descriptors: Sequence[int] = (),
    ) -> None:
        """Run a module with the pipe's descriptor and these arguments; `stop` ends it when set.

        It inherits these file descriptors beside the pipe's, and these environment variables beside all
        others; `options` are those of the Python interpreter.
        """
        self._stop = stop
        self._connection, child_end = Pipe()
        self._process = subprocess.Popen(
            python_command(module, str(child_end.fileno()), *arguments, options=options),
            env=child_environment(variables),
            pass_fds=(child_end.fileno(), *descriptors),
            stdout=sys.__stderr__.fileno() if sys.__stderr__ else subprocess.DEVNULL,
            # Out of reach of Ctrl-C: the parent decides what becomes of the problem in progress.
            start_new_session=True,
        )
        child_end.close()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def send(self, message: object) -> None:
        """Send a message, which must pickle.

        Raises:
            ChildLostError: the child has ended.
        """
        try:
            self._connection.send(message)
        except OSError:
            raise ChildLostError(self._exit_reason()) from None

    def receive(self, timeout_s: float, progress: Callable[[], int] = lambda: 0) -> Any:  # noqa: ANN401
        """The child's next message.

        Args:
            timeout_s: The child is ended if `progress` stays the same for so long.
            progress: A counter that the child advances.

        Raises:
            ChildLostError: the child died or was ended.
            Stopped: the stop event was set meanwhile; the child was ended.
        """
        seen, since_s = progress(), time.monotonic()
        while not self._connection.poll(_POLL_S):
            if self._stop.is_set():
                self._process.kill()
                raise Stopped
            if progress() != seen:
                seen, since_s = progress(), time.monotonic()
            if time.monotonic() - since_s > timeout_s:
                self._process.kill()
                raise ChildStalledError(f"the process made no progress for {timeout_s:.0f} s and was ended")
        try:
            return self._connection.recv()
        except (EOFError, OSError):
            raise ChildLostError(self._exit_reason()) from None

    def close(self) -> None:
        """End the child and close the pipe."""
        self._process.kill()
        self._process.wait()
        self._connection.close()

    def _exit_reason(self) -> str:
        code = self._process.wait()
        if code < 0:
            return f"the process was ended by {signal.Signals(-code).name}"
        return f"the process ended by itself with exit code {code}; see its output above"
