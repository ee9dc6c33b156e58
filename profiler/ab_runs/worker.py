"""The process of one revision as the coordinator of an A/B run sees it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kswatch.profiler.ab_runs.protocol import Broken, RevisionCommand
from kswatch.profiler.child_process import ChildLostError, ChildProcess
from kswatch.profiler.executors.base import MeasurementSite

BUILD_TIMEOUT_S = 1200.0
"""Longest wait for a revision to be built: a compiler that competes for the CPU is no broken revision. The
compiler's own limit is shorter (kernels/fused/cpu_twin/build.py), so that its message is the one reported."""
_MODULE = "kswatch.profiler.ab_runs.worker_main"


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
        """Start it; `wait_until_ready` waits for it.

        Args:
            folder: Holds the revision's `kernels/`.
            device: As `kswatch.profiler.devices.discovery.find` takes it.
            implementations: Those that it will measure: `fused` is built ahead.
            timeout_s: After so long without an answer it is ended.
            stop: Ends it when set.
            variables: Of its environment, beside the inherited ones.
        """
        self._timeout_s = timeout_s
        arguments = (str(folder), device, ",".join(implementations))
        self._child = ChildProcess(_MODULE, arguments, stop, variables=variables, options=("-B",))

    def wait_until_ready(self) -> MeasurementSite | Broken:
        """The device and its environment, or why the revision cannot be used.

        Raises:
            Stopped: the A/B run was asked to stop meanwhile.
        """
        answer: MeasurementSite | Broken = self._receive(max(self._timeout_s, BUILD_TIMEOUT_S))
        return answer

    def execute(self, command: RevisionCommand) -> Any:  # noqa: ANN401  (the answer that protocol.py names)
        """The answer to a command, or `Broken` where the process died, hung or raised.

        Raises:
            Stopped: the A/B run was asked to stop meanwhile.
        """
        try:
            self._child.send(command)
        except ChildLostError as error:
            return Broken(str(error))
        return self._receive(self._timeout_s)

    @property
    def is_running(self) -> bool:
        """Whether it can take a command at all."""
        return self._child.is_running

    def close(self) -> None:
        """End it."""
        self._child.close()

    def _receive(self, timeout_s: float) -> Any:  # noqa: ANN401
        try:
            return self._child.receive(timeout_s)
        except ChildLostError as error:
            return Broken(str(error))
