"""Start-up of each command: processor time of its help, beside that of another checkout if one is named.

    python -m tests.benchmarks.startup [OTHER]

All processes are run in turn, so that a busy machine disturbs all alike. Of OTHER, an older checkout of this
repository, ratios are printed; below 1 means that this checkout starts faster.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROUNDS = 11
MAIN = (
    "import kswatch; getattr(kswatch, 'main', None) or exec('from kswatch.cli import main'); "
    "(getattr(kswatch, 'main', None) or main)()"
)
"""Starts the command line of this checkout, and of one in which `kswatch` was a module."""


def processor_seconds(command: Sequence[str], folder: Path) -> float:
    """User and system time of a process that must succeed."""
    variables = os.environ | {"PYTHONPATH": str(folder)}
    process = subprocess.Popen(command, cwd=folder, env=variables, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} exited with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def medians(commands: Mapping[str, tuple[Sequence[str], Path]]) -> dict[str, float]:
    """Median processor time of each command, all run in turn."""
    return {name: statistics.median(times) for name, times in times_of(commands).items()}


def times_of(commands: Mapping[str, tuple[Sequence[str], Path]]) -> dict[str, list[float]]:
    """Processor times of each command, all run in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, (command, folder) in commands.items():
            seconds[name].append(processor_seconds(command, folder))
    return seconds


def help_seconds() -> float:
    """Least processor time of `kswatch --help` over that of bare Python; a shared core only adds to it."""
    found = times_of({"bare": ([sys.executable, "-c", "pass"], ROOT), "help": (command_line("--help"), ROOT)})
    return min(found["help"]) - min(found["bare"])


def command_line(*arguments: str) -> list[str]:
    """A process that runs the command line of the checkout in which it is started."""
    return [sys.executable, "-c", MAIN, *arguments]


def main() -> None:
    """Print the time of every command's help, with its ratio to another checkout where one is named."""
    from typer.main import get_command

    from kswatch.cli import app

    other = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else None
    for name in ["", *get_command(app).commands]:  # type: ignore[attr-defined]
        command = command_line(*filter(None, [name]), "--help")
        runs = {"here": (command, ROOT)} | ({"there": (command, other)} if other else {})
        found = medians(runs)
        ratio = f"  ratio {found['here'] / found['there']:.3f}" if other else ""
        print(f"kswatch {name:<12}{found['here']:.3f} s{ratio}", flush=True)


if __name__ == "__main__":
    main()
