"""The OpenCL of this CPU: a pocl that compiles for it, on a given number of threads.

A machine may have two, the system's (Debian's `pocl-opencl-icd`) and that of the extra `rivals`. Each brings
its own compiler, which may not know CPUs that are newer than itself: the newest one that works is taken.
"""

from __future__ import annotations

import os
import re
from functools import cache
from typing import Any

from kswatch.errors import UnsupportedError

NAME = "Portable Computing Language"
THREADS_VARIABLE = "POCL_MAX_PTHREAD_COUNT"
"""Read by pocl when it is loaded; a later change has no effect."""
CURE = "install another one: apt install pocl-opencl-icd, or pip install pocl-binary-distribution"


@cache
def working_pocl(threads: int) -> tuple[Any, Any]:
    """The platform and the device of the newest pocl that computes on this CPU, on so many threads.

    Raises:
        UnsupportedError: there is none; the message has the reason of each, and the cure.
    """
    os.environ.setdefault(THREADS_VARIABLE, str(threads))
    refusals = []
    for platform in sorted(_platforms(), key=_release, reverse=True):
        (device,) = platform.get_devices()
        reason = _refusal(device, threads)
        if reason is None:
            return platform, device
        refusals.append(f"pocl {'.'.join(map(str, _release(platform)))}: {reason}")
    raise UnsupportedError("; ".join([*(refusals or ["no pocl is found"]), CURE]))


def _platforms() -> list[Any]:
    import pyopencl

    try:
        return [one for one in pyopencl.get_platforms() if one.name == NAME]
    except pyopencl.Error:  # there is no OpenCL at all
        return []


def _release(platform: Any) -> tuple[int, ...]:  # noqa: ANN401
    """(3, 1) of `OpenCL 3.0 PoCL 3.1+debian …`."""
    release = re.search(r"PoCL (\d+)\.(\d+)", platform.version)
    return tuple(map(int, release.groups())) if release else (0,)


def _refusal(device: Any, threads: int) -> str | None:  # noqa: ANN401
    """Why the device is of no use; None where it computes on so many threads."""
    if device.max_compute_units != threads:
        return f"it computes on {device.max_compute_units} threads instead of {threads}"
    try:
        _compute(device)
    except Exception as error:  # pyopencl's errors, and those of the compiler inside pocl
        return compiler_line(error)
    return None


def _compute(device: Any) -> None:  # noqa: ANN401
    """The smallest of programs."""
    import pyopencl

    context = pyopencl.Context([device])
    queue = pyopencl.CommandQueue(context)
    program = pyopencl.Program(context, "__kernel void nothing() {}").build()
    program.nothing(queue, (1,), None)
    queue.finish()


def compiler_line(error: Exception) -> str:
    """The compiler's line of an error, if it has one; pocl's is between lines about itself."""
    lines = str(error).strip().splitlines() or [""]
    line = next((one for one in lines if one.startswith("error:")), lines[0])
    return f"{type(error).__name__}: {line}"
