"""The environment of a run, which must be equal for two runs to be comparable, and the measured commit.

Values that change by themselves between two nights (load, temperature, free memory) do not belong here:
equal environments are one row of the store.
"""

from __future__ import annotations

import platform
import shutil
import socket
import subprocess
from datetime import datetime
from pathlib import Path

from kswatch.db.records import EnvironmentRecord, RevisionRecord
from kswatch.profiler.devices.discovery import CPU_FOLDER, Target, cpu_threads
from kswatch.profiler.probes.nvml import BoardSettings, board_settings


def environment(target: Target) -> EnvironmentRecord:
    """Host, software and, for a GPU, the settings of driver and board."""
    import numpy
    import torch

    extra: dict[str, object] = {
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "compiler": _first_line("c++", "--version"),
    }
    if target.record.simulated:
        return EnvironmentRecord(host=socket.gethostname(), driver="simulated", torch="simulated")
    on_gpu = target.record.kind == "cuda"
    board = board_settings(target.record.uuid) if on_gpu else BoardSettings()
    extra |= {"vbios": board.vbios} if on_gpu else {"governor": _governor()}
    return EnvironmentRecord(
        host=socket.gethostname(),
        os=f"{platform.system()} {platform.release()}",
        driver=board.driver,
        cuda=torch.version.cuda if on_gpu else None,
        torch=str(torch.__version__),  # its own class: unpickling that would import torch
        power_limit_w=board.power_limit_w,
        clock_lock=board.clock_lock,
        ecc=board.ecc,
        mig=board.mig,
        threads=cpu_threads(),
        extra={name: value for name, value in extra.items() if value is not None},
    )


def revision(path: Path) -> RevisionRecord | None:
    """The commit of the work tree that holds `path`; None without git or outside a repository.

    Only changes to tracked files make it dirty: a store or a report beside the code does not.
    """
    shown = _git(path, "show", "--no-patch", "--format=%H%x00%cI%x00%s", "HEAD")
    if shown is None:
        return None
    commit, committed_at, subject = shown.split("\0", 2)
    branch = _git(path, "rev-parse", "--abbrev-ref", "HEAD")
    return RevisionRecord(
        commit=commit,
        committed_at=datetime.fromisoformat(committed_at),
        subject=subject,
        branch=None if branch == "HEAD" else branch,
        dirty=bool(_git(path, "status", "--porcelain", "--untracked-files=no")),
    )


def _git(path: Path, *arguments: str) -> str | None:
    folder = path if path.is_dir() else path.parent
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _first_line(program: str, *arguments: str) -> str | None:
    """The first line of a program's output; None where the program is missing or fails."""
    if shutil.which(program) is None:
        return None
    try:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.splitlines()[0] if done.stdout else None


def _governor() -> str | None:
    try:
        return (CPU_FOLDER / "cpu0/cpufreq/scaling_governor").read_text(encoding="utf-8").strip()
    except OSError:
        return None
