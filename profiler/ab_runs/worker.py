"""The coordinator's side of one revision's child: start it, ask it, notice that it died or hangs."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from kswatch.profiler.ab_runs.protocol import Asked, Broken
from kswatch.profiler.child_environment import child_environment
from kswatch.profiler.executors.base import Place
from kswatch.profiler.signals import Stopped

BUILD_TIMEOUT_S = 1200.0
"""Longest wait for a revision to be built: a compiler that others keep from computing is not a broken
revision. Its own limit is shorter (kernels/fused/cpu_twin/build.py), so that it is what is told."""
_LOOK_EVERY_S = 0.2


class RevisionProcess:
    """One revision's kernels in a process of their own; used by one thread."""

    def __init__(
        self,
        folder: Path,
        device: str,
        implementations: Sequence[str],
        timeout_s: float,
        stop: threading.Event,
        variables: Mapping[str, str],
    ) -> None:
        """Start it; `begun` waits for it.

        Args:
            folder: What holds the revision's `kernels/`.
            device: As `kswatch.profiler.devices.discovery.find` takes it.
            implementations: What will be asked of it: `fused` is built ahead.
            timeout_s: After so long without an answer it is ended.
            stop: Ends it when set.
            variables: Of its environment, beside what is inherited.
        """
        self._stop = stop
        self._timeout_s = timeout_s
        self._connection, theirs = Pipe()
        # -P: the folder that kswatch was called from must not come before the revision's.
        command = [
            sys.executable,
            "-P",
            "-B",
            "-m",
            "kswatch.profiler.ab_runs.worker_main",
            str(theirs.fileno()),
        ]
        self._process = subprocess.Popen(
            [*command, str(folder), device, ",".join(implementations)],
            env=child_environment(variables),
            pass_fds=(theirs.fileno(),),
            stdout=sys.__stderr__.fileno() if sys.__stderr__ else subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()

    def begun(self) -> Place | Broken:
        """Where it measures, or why its revision cannot be used.

        Raises:
            Stopped: the gate was asked to stop meanwhile.
        """
        answer: Place | Broken = self._receive(max(self._timeout_s, BUILD_TIMEOUT_S), stage="build")
        return answer

    def ask(self, asked: Asked) -> Any:  # noqa: ANN401  (what gate_messages says of each)
        """The answer, or `Broken` where the process died, hung or raised.

        Raises:
            Stopped: the gate was asked to stop meanwhile.
        """
        try:
            self._connection.send(asked)
        except OSError:
            return Broken(self._epitaph())
        return self._receive(self._timeout_s)

    @property
    def alive(self) -> bool:
        """Whether it can be asked at all."""
        return self._process.poll() is None

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._connection.close()

    def _receive(self, timeout_s: float, stage: Any = "measure") -> Any:  # noqa: ANN401
        since_s = time.monotonic()
        while not self._connection.poll(_LOOK_EVERY_S):
            if self._stop.is_set():
                raise Stopped
            if time.monotonic() - since_s > timeout_s:
                self._process.kill()
                return Broken(f"no answer for {timeout_s:.0f} s, so the process was ended", stage=stage)
        try:
            return self._connection.recv()
        except (EOFError, OSError):
            return Broken(self._epitaph(), stage=stage)

    def _epitaph(self) -> str:
        code = self._process.wait()
        if code < 0:
            return f"its process was ended by {signal.Signals(-code).name}"
        return f"its process ended by itself with exit code {code}; see above"
