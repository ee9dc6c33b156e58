"""Hardware counters of one product through NVIDIA's `ncu`, in a process of its own.

The times that ncu reports are never mixed with those of events: it replays kernels one by one.
"""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Mapping, Sequence

from kswatch.db.records import CounterReading
from kswatch.db.request_queue.confirmation import problem_text
from kswatch.kernels.fused.cuda.nvcc import find_tool
from kswatch.kernels.problem import Problem
from kswatch.profiler.child_process import child_environment, python_command
from kswatch.profiler.empty_records import problem_key

TIMEOUT_S = 180.0
DURATION = "gpu__time_duration.sum"
SUMMED = (DURATION, "dram__bytes_read.sum", "dram__bytes_write.sum", "lts__t_sectors.sum")
WEIGHTED = (
    "sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_active",
    "sm__warps_active.avg.pct_of_peak_sustained_active",
)
"""Percentages: the kernels of a product are weighted by how long they run."""
LARGEST = ("launch__registers_per_thread",)
METRICS = (*SUMMED, *WEIGHTED, *LARGEST)
UNITS = {DURATION: "ns", "lts__t_sectors.sum": "sector", LARGEST[0]: "register/thread"}

NO_KERNEL = "ncu profiled no kernel of this product"
PERMISSION = "as root: echo 'options nvidia NVreg_RestrictProfilingToAdminUsers=0' > /etc/modprobe.d/ncu.conf"
REFUSALS: tuple[tuple[str, str], ...] = (
    ("ERR_NVGPUCTRPERM", f"only root may read them (ERR_NVGPUCTRPERM); {PERMISSION}, and reboot"),
    ("LibraryNotLoaded", "ncu cannot load the driver's library (LibraryNotLoaded); update ncu or the driver"),
    ("Failed to find metric", "this ncu does not know the metrics of this GPU; install another version"),
    ("not supported", "this ncu does not support this GPU; install the version made for its generation"),
    ("No kernels were profiled", NO_KERNEL),
)
"""Marks in ncu's output, and the reason with its cure."""
NOT_INSTALLED = "ncu was not found; install NVIDIA Nsight Compute, whose `ncu` must be on the PATH"


class CountersRefused(Exception):  # noqa: N818 (becomes a row with a reason)
    """Counters cannot be read, with the reason."""


def refused(reason: str) -> tuple[CounterReading, ...]:
    """The one row of a cell whose counters cannot be read."""
    return (CounterReading("counters", None, None, f"no counters: {reason}"[:500]),)


def read_counters(
    problem: Problem, implementation: str, seed: int = 0, ncu: str | None = None, timeout_s: float = TIMEOUT_S
) -> tuple[CounterReading, ...]:
    """The counters of one product, all its kernels together; one row with a reason where there are none.

    `seed` is that of the operands; `ncu` is the program, by default the one on the PATH.
    """
    program = ncu or find_tool("ncu")
    if program is None:
        return refused(NOT_INSTALLED)
    try:
        product = (problem_text(problem_key(problem)), implementation, str(seed))
        kernels = parse(_run(program, product, timeout_s))
    except CountersRefused as error:
        return refused(str(error))
    return (*_of_product(kernels), *_against_compulsory(kernels, problem))


def _run(program: str, product: Sequence[str], timeout_s: float) -> str:
    options = ["--csv", "--page", "raw", "--print-units", "base", "--metrics", ",".join(METRICS)]
    return run_ncu(program, options, product, timeout_s)


def run_ncu(
    program: str,
    options: Sequence[str],
    product: Sequence[str],
    timeout_s: float,
    variables: Mapping[str, str] = {},  # noqa: B006  (only read)
) -> str:
    """What ncu prints with these options on one launch of a product: its problem, implementation and seed.

    Raises:
        CountersRefused: ncu refuses, fails or takes too long.
    """
    command = [program, *options, "--clock-control", "none", "--profile-from-start", "off"]
    command += python_command("kswatch.profiler.backends.ncu_target", *product)
    try:
        done = subprocess.run(
            command, env=child_environment(variables), capture_output=True, text=True, timeout=timeout_s
        )
    except subprocess.TimeoutExpired:
        raise CountersRefused(f"ncu took longer than {timeout_s:g} s and was killed") from None
    except OSError as error:
        raise CountersRefused(f"ncu cannot be run: {error}") from error
    text = done.stdout + done.stderr
    for mark, meaning in REFUSALS:
        if mark in text:
            raise CountersRefused(meaning)
    if done.returncode:
        last = (text.strip().splitlines() or ["no message"])[-1]
        raise CountersRefused(f"ncu ended with exit code {done.returncode}: {last}")
    return done.stdout


def parse(text: str) -> list[dict[str, float]]:
    """The metrics of each kernel, from ncu's raw page as CSV: a header, a row of units, a row per kernel.

    Raises:
        CountersRefused: the text has another form.
    """
    lines = text.splitlines()
    start = next((place for place, line in enumerate(lines) if line.startswith('"ID"')), None)
    if start is None:
        raise CountersRefused("ncu printed no table; try it by hand with --csv --page raw")
    header, _, *rows = csv.reader(lines[start:])
    kernels = [
        {name: _number(value) for name, value in zip(header, row, strict=False) if name in METRICS}
        for row in rows
        if len(row) == len(header)
    ]
    if not kernels or not kernels[0]:
        raise CountersRefused(NO_KERNEL)
    return kernels


def _number(text: str) -> float:
    """NaN where ncu could not collect the metric."""
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return float("nan")


def _of_product(kernels: Sequence[dict[str, float]]) -> list[CounterReading]:
    durations = [kernel.get(DURATION, 1.0) for kernel in kernels]
    readings = []
    for name in METRICS:
        values = [kernel[name] for kernel in kernels if name in kernel]
        if len(values) < len(kernels) or any(value != value for value in values):
            readings.append(CounterReading(name, None, None, "ncu did not collect it on this GPU"))
        elif name in WEIGHTED:
            weighted = sum(value * share for value, share in zip(values, durations, strict=True))
            readings.append(CounterReading(name, weighted / sum(durations), "%"))
        else:
            value = sum(values) if name in SUMMED else max(values)
            readings.append(CounterReading(name, value, UNITS.get(name, "byte")))
    return readings


def _against_compulsory(kernels: Sequence[dict[str, float]], problem: Problem) -> list[CounterReading]:
    """The ratio of the bytes moved to and from memory to the compulsory bytes."""
    moved = sum(kernel.get(name, float("nan")) for kernel in kernels for name in SUMMED[1:3])
    if moved != moved:
        return []
    return [CounterReading("dram_bytes_over_compulsory", moved / problem.compulsory_bytes, "ratio")]
