"""The child process that holds one revision's kernels: sets problems up, makes visits when told to, checks.

`kernels` is the revision's own, everything else is of the kswatch that runs. The parent drives two of
these in turns, so that never both of them compute.
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
from kswatch.profiler.ab_runs.protocol import Asked, Broken
from kswatch.profiler.revisions.revision_kernels import load_kernels, require_own_kernels

if TYPE_CHECKING:
    from kswatch.profiler.ab_runs.worker_cells import Revision
    from kswatch.profiler.executors.base import Place

LOG_LINES = 40


def main() -> None:
    """Answer until the parent is gone; pipe, folder, device and implementations are the arguments."""
    connection, folder, device = Connection(int(sys.argv[1])), Path(sys.argv[2]), sys.argv[3]
    threading.Thread(target=_watch_parent, args=(os.getppid(),), daemon=True).start()
    begun = _begin(folder, device, builds="fused" in sys.argv[4].split(","))
    if isinstance(begun, Broken):
        connection.send(begun)
        return
    place, revision = begun
    connection.send(place)
    while True:
        try:
            asked: Asked = connection.recv()
        except (EOFError, OSError):
            return
        connection.send(revision.answer(asked))


def _watch_parent(parent: int) -> None:
    """End with a parent that was killed, even in the middle of a visit."""
    pause = threading.Event()
    while os.getppid() == parent:
        pause.wait(1.0)
    os._exit(0)


def _begin(folder: Path, device: str, builds: bool) -> tuple[Place, Revision] | Broken:
    """Import and build the revision's kernels, and find the device."""
    try:
        load_kernels(folder)
        if builds and device.startswith("cpu"):
            _build_twin()
        from kswatch.profiler.ab_runs.worker_cells import Revision
        from kswatch.profiler.devices import discovery as devices
        from kswatch.profiler.devices.environment import environment
        from kswatch.profiler.executors.base import Place

        target = devices.find(device)
        place, revision = Place(target.record, environment(target)), Revision(target)
        require_own_kernels(folder)
        return place, revision
    except KswatchError as error:
        return Broken(str(error), _log_of(error), "build")
    except Exception as error:  # whatever a revision does when it is imported
        return Broken(f"{type(error).__name__}: {error}", traceback.format_exc(), "build")


def _build_twin() -> None:
    """Build it ahead of its first use: only then a failing compiler tells all that it said."""
    from kswatch.kernels.fused.cpu_twin import build as twin_build

    twin_build.library()


def _log_of(error: BaseException) -> str:
    """What the compiler said, where one is behind the error."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, subprocess.CalledProcessError):
            said = str(cause.stderr or cause.stdout or "")
            return "\n".join(said.strip().splitlines()[-LOG_LINES:])
        cause = cause.__cause__
    return ""


if __name__ == "__main__":
    main()
