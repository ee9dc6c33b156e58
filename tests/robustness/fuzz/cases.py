"""The cases of a fuzzer, each with a random generator of its own, and the limits of one case.

The slow run takes new cases each day: those of `KSWATCH_FUZZ_SEED`, or of the date, for `KSWATCH_FUZZ_S`
seconds a door. A fault begins with the name of its case; `KSWATCH_FUZZ_CASE=NAME` runs this one alone.
"""

from __future__ import annotations

import itertools
import os
import random
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

SECONDS = float(os.environ.get("KSWATCH_FUZZ_S", "600"))
"""Of each door in the slow run."""
SEED = os.environ.get("KSWATCH_FUZZ_SEED") or f"{datetime.now(UTC):%Y-%m-%d}"
CPU_LIMIT_S = 5.0
"""Longest time of one case, by the process's own clock: the machine may be busy."""
MOST_FAULTS = 20
"""Faults after which a fuzzer ends: they have one cause, or a few."""

Case = tuple[str, random.Random]
Fault = Callable[[random.Random], str]
"""Runs a case, and gives what went wrong; empty where nothing did."""


def some_cases(number: int) -> Iterator[Case]:
    """So many cases, the same each time."""
    return (_case(f"fast/{at}") for at in range(number))


def cases_for(seconds: float) -> Iterator[Case]:
    """The day's cases, until the time is up; or the only one that was asked for."""
    if name := os.environ.get("KSWATCH_FUZZ_CASE"):
        yield _case(name)
        return
    ends = time.monotonic() + seconds
    for at in itertools.count():
        if time.monotonic() > ends:
            return
        yield _case(f"{SEED}/{at}")


def _case(name: str) -> Case:
    return name, random.Random(name)


def faults_of(cases: Iterator[Case], fault: Fault, count: Callable[[int], object] = bool) -> str:
    """The faults of the cases, each after the name of its case; `count` gets the number of cases."""
    found, number = [], 0
    for name, randomness in cases:
        number += 1
        try:
            with within_cpu_limit():
                wrong = fault(randomness)
        except Hang:
            wrong = f"took more than {CPU_LIMIT_S:g} s of CPU"
        except Exception as error:
            wrong = "".join(traceback.format_exception(error)[-6:])
        found += [f"case {name}: {wrong}"] if wrong else []
        if len(found) >= MOST_FAULTS:
            break
    count(number)
    return "\n".join(found)


class Hang(BaseException):
    """A case took longer than it may."""


@contextmanager
def within_cpu_limit(seconds: float = CPU_LIMIT_S) -> Iterator[None]:
    """Inside, Python code of this process that needs more CPU time is interrupted by `Hang`."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise Hang

    former = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, former)


@contextmanager
def within_memory(megabytes: float) -> Iterator[None]:
    """Fails where this process needed so much more memory inside than before, at any time."""
    if sys.platform != "linux":
        yield
        return
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = peak_mb()
    yield
    grown = peak_mb() - before
    assert grown < megabytes, f"{grown:.0f} MB more than before"


def peak_mb(pid: int | str = "self") -> float:
    """The most memory that a process has needed, in MB.

    Linux's own figure: that of `getrusage` begins with the memory of the process that started this one.
    """
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024
