"""The child process of one revision: its own `kswatch.kernels`, all else from the running kswatch.

Its parent drives two of these alternately, so that never both of them compute.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from kswatch.errors import KswatchError
from kswatch.profiler.ab_runs.protocol import Broken, MakeVisit, RevisionAnswer, RevisionCommand
from kswatch.profiler.child_process import exit_with_parent
from kswatch.profiler.revisions.revision_kernels import load_kernels, require_own_kernels

if TYPE_CHECKING:
    from kswatch.profiler.ab_runs.worker_cells import RevisionCells
    from kswatch.profiler.executors.base import MeasurementSite

LOG_LINES = 40


@exit_with_parent()
def main() -> None:
    """Execute commands until the parent has ended; arguments: pipe, folder, device, implementations."""
    connection, folder, device = Connection(int(sys.argv[1])), Path(sys.argv[2]), sys.argv[3]
    threading.Thread(target=_watch_parent, args=(os.getppid(),), daemon=True).start()
    ready = _prepare(folder, device, builds="fused" in sys.argv[4].split(","))
    if isinstance(ready, Broken):
        connection.send(ready)
        return
    site, cells = ready
    connection.send(site)
    while True:
        command: RevisionCommand = connection.recv()
        connection.send(_execute(command, cells, folder))


def _watch_parent(parent: int) -> None:
    """End with a parent that was killed, even in the middle of a visit."""
    pause = threading.Event()
    while os.getppid() == parent:
        pause.wait(1.0)
    os._exit(0)


def _prepare(folder: Path, device: str, builds: bool) -> tuple[MeasurementSite, RevisionCells] | Broken:
    """Import and build the revision's kernels, and find the device."""
    try:
        load_kernels(folder)
        if builds and device.startswith("cpu"):
            from kswatch.kernels.fused.cpu_twin import build as twin_build

            twin_build.library()  # ahead of its first use: a compiler's whole log is at hand only now
        from kswatch.profiler.ab_runs.worker_cells import RevisionCells
        from kswatch.profiler.devices import discovery as devices
        from kswatch.profiler.devices.environment import environment
        from kswatch.profiler.executors.base import MeasurementSite

        target = devices.find(device)
        site, cells = MeasurementSite(target.record, environment(target)), RevisionCells(target)
        require_own_kernels(folder)
        return site, cells
    except KswatchError as error:
        return Broken(str(error), _compiler_log(error))
    except Exception as error:  # whatever a revision raises when it is imported
        return Broken(f"{type(error).__name__}: {error}", traceback.format_exc())


def _execute(command: RevisionCommand, cells: RevisionCells, folder: Path) -> RevisionAnswer:
    """The answer; kernels import modules late, so that all are checked again where none is being timed."""
    answer = cells.execute(command)
    if not isinstance(command, MakeVisit):
        try:
            require_own_kernels(folder)
        except KswatchError as error:
            return Broken(str(error))
    return answer


def _compiler_log(error: BaseException) -> str:
    """The last lines of the compiler's output, where the error has it as its cause."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, subprocess.CalledProcessError):
            output = str(cause.stderr or cause.stdout or "")
            return "\n".join(output.strip().splitlines()[-LOG_LINES:])
        cause = cause.__cause__
    return ""


if __name__ == "__main__":
    main()
