"""The environment of a run, which must be equal for two runs to be comparable.

Values that change by themselves between two nights (load, temperature, free memory) do not belong here:
equal environments are one row of the store.
"""

from __future__ import annotations

import platform
import socket
import subprocess

from kswatch.db.records import EnvironmentRecord
from kswatch.profiler.devices.discovery import CPU_FOLDER, Target, cpu_threads, read_text
from kswatch.profiler.probes.nvml import board_settings


def environment(target: Target) -> EnvironmentRecord:
    """Host, software and, for a GPU, the settings of driver and board."""
    import numpy
    import torch

    extra: dict[str, object] = {
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "compiler": _compiler(),
    }
    if target.record.simulated:
        return EnvironmentRecord(host=socket.gethostname(), driver="simulated", torch="simulated")
    on_gpu = target.record.kind == "cuda"
    board = board_settings(target.record.uuid) if on_gpu else {}
    if on_gpu:
        extra["vbios"] = board.pop("vbios", None)
    else:
        extra["governor"] = read_text(CPU_FOLDER / "cpu0/cpufreq/scaling_governor")
    return EnvironmentRecord(
        host=socket.gethostname(),
        os=f"{platform.system()} {platform.release()}",
        cuda=torch.version.cuda if on_gpu else None,
        torch=str(torch.__version__),  # its own class: unpickling that would import torch
        threads=cpu_threads(),
        extra={name: value for name, value in extra.items() if value is not None},
        **board,
    )


def _compiler() -> str | None:
    """Name and version of the C++ compiler; None where it is missing or fails."""
    try:
        done = subprocess.run(["c++", "--version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.splitlines()[0] if done.stdout else None
