"""The store's problems, devices and measurements as types of `kswatch.kernels.heuristics`."""

from __future__ import annotations

from dataclasses import asdict

from kswatch.db.queries.headline import DeviceComparison
from kswatch.db.queries.rows import DeviceRow
from kswatch.db.records import COMPARABLE, ProblemKey
from kswatch.db.writes.speedup import COMPARED_METRICS
from kswatch.kernels.heuristics.base import DeviceFacts
from kswatch.kernels.heuristics.measured import MeasuredProblem
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem

KEPT_FACTS = ("model", "kind", "architecture", "memory_bytes", "cache_bytes", "multiprocessors")


def as_problem(key: ProblemKey) -> Problem:
    """The problem that the store names so.

    Raises:
        UsageError: it is none.
    """
    pattern = Pattern(key.a, key.b, key.c, key.d)
    return Problem(pattern, key.batch, key.precision, key.layout)  # type: ignore[arg-type]


def device_facts(device: DeviceRow) -> DeviceFacts:
    """The facts of a device that heuristics may use."""
    values = asdict(device)
    origin = "imported" if device.uuid.startswith("imported:") else "measured"
    return {**device.facts, **{name: values[name] for name in KEPT_FACTS}, "origin": origin}


def measured_problems(found: DeviceComparison, metric: str) -> list[MeasuredProblem]:
    """Every problem with its valid measurements of the metric."""
    column = COMPARED_METRICS[metric]
    return [
        MeasuredProblem(
            as_problem(one.problem),
            {
                name: getattr(row, column)
                for name, row in one.measured.items()
                if row.status in COMPARABLE and getattr(row, column) is not None
            },
            one.outcome.speedup,
        )
        for one in found.problems
    ]
