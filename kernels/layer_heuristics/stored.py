"""Measured products and layers as the heuristics take them, from rows of any store with the named columns."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from kswatch.kernels.families.base import LayerShape
from kswatch.kernels.families.transforms import TransformFamily
from kswatch.kernels.heuristics.base import DeviceFacts
from kswatch.kernels.heuristics.measured import MeasuredProblem
from kswatch.kernels.layer_heuristics.rates import LayerCell, MeasuredCell
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem

FACTS = ("model", "kind", "architecture", "memory_bytes", "cache_bytes", "multiprocessors")


def device_facts(device: Any) -> DeviceFacts:  # noqa: ANN401  (a row of the caller's store)
    """The facts of a device that heuristics may use.

    Args:
        device: with `uuid`, `facts` and each of `FACTS`.
    """
    origin = "imported" if device.uuid.startswith("imported:") else "measured"
    return {**device.facts, **{name: getattr(device, name) for name in FACTS}, "origin": origin}


def measured_problems(found: Iterable[Any], column: str, usable: Collection[str]) -> list[MeasuredProblem]:
    """Every product with its valid measurements.

    Args:
        found: with `problem`, `measured` (rows by implementation) and `outcome.speedup`.
        column: of the rows, in ms or mJ.
        usable: statuses that carry a number.
    """
    problems = []
    for one in found:
        key = one.problem
        problem = Problem(Pattern(key.a, key.b, key.c, key.d), key.batch, key.precision, key.layout)
        costs = {
            name: getattr(row, column)
            for name, row in one.measured.items()
            if row.status in usable and getattr(row, column) is not None
        }
        problems.append(MeasuredProblem(problem, costs, one.outcome.speedup))
    return problems


def measured_layers(
    rows: Iterable[Any], columns: Mapping[str, str], usable: Collection[str]
) -> dict[str, list[MeasuredCell]]:
    """The newest cost of each layer's cell by metric.

    Args:
        rows: the oldest first, with inputs `c`, outputs `b`, `batch`, `precision`, `layout`,
            `implementation`, `status` and the columns.
        columns: of the rows by metric, in ms or mJ.
        usable: statuses that carry a number.
    """
    newest: dict[str, dict[LayerCell, float]] = {metric: {} for metric in columns}
    for row in rows:
        if row.status not in usable:
            continue
        shape = LayerShape(row.c, row.b, row.batch, row.precision, row.layout)
        cell = LayerCell.parse(shape, row.implementation)
        if isinstance(cell.structure.family, TransformFamily):
            continue  # a fixed matrix replaces no layer
        for metric, column in columns.items():
            value = getattr(row, column)
            if value is not None:
                newest[metric][cell] = value
    return {metric: [MeasuredCell(*one) for one in found.items()] for metric, found in newest.items()}
