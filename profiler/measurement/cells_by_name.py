"""The cells of a problem by their names."""

from __future__ import annotations

from typing import Any

from kswatch.kernels import catalogue
from kswatch.kernels.problem import Problem
from kswatch.profiler.subjects.problems import AnyProblem


def cell_by_name(problem: AnyProblem, name: str) -> Any:  # noqa: ANN401
    """The implementation of this name, or the cell of a layer or a model in its place.

    Raises:
        UsageError: there is none.
    """
    if isinstance(problem, Problem):
        return catalogue.implementation(name)
    from kswatch.profiler.subjects.cells import structured_cell

    return structured_cell(problem, name)
