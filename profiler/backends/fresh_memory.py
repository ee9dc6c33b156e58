"""Peak memory of a layer or a model on a CPU: growth of the resident memory of a process of its own.

The process is forked from a server that has imported torch and run nothing, since neither other cells' memory
nor torch's import may count, and importing torch for each cell would take seconds.
"""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

PRELOADED = ("torch", "kswatch.kernels.linear", "kswatch.profiler.backends.structured_modules")
LONGEST_S = 120.0
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


def peak_growth_bytes(run: Callable[..., object], *arguments: Any) -> int | None:  # noqa: ANN401
    """Bytes by which `run(*arguments)` grows a fresh process at most; None where that did not end well.

    `run` and its arguments must pickle.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(there, run, arguments), daemon=True)
    process.start()
    there.close()
    try:
        return here.recv() if here.poll(LONGEST_S) else None
    except (EOFError, OSError):  # it was killed, as Linux does where memory is short
        return None
    finally:
        process.kill()
        process.join()
        here.close()


def _measure(connection: Connection, run: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    before = _bytes("VmRSS")
    with suppress(OSError):
        _CLEAR.write_text(_RESET_PEAK)
    try:
        run(*arguments)
    except Exception:  # whatever it is, the cell's own record names it
        connection.send(None)
        return
    connection.send(max(0, _bytes("VmHWM") - before))


def _bytes(field: str) -> int:
    """A field of the process's status; elsewhere than on Linux the peak of its life."""
    try:
        line = next(one for one in _STATUS.read_text().splitlines() if one.startswith(f"{field}:"))
    except (OSError, StopIteration):
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return 1024 * int(line.split()[1])
