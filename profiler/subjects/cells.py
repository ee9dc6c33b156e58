"""The cells of layers and models by their names."""

from __future__ import annotations

from typing import TypeAlias

from kswatch.db.records import DENSE_FAIR, DENSE_LAYER
from kswatch.kernels.families.base import LayerShape
from kswatch.kernels.problem import Problem
from kswatch.profiler.subjects.demand import Demand, demand_of
from kswatch.profiler.subjects.layer_cells import LayerCell
from kswatch.profiler.subjects.model_cells import ModelCell
from kswatch.profiler.subjects.problems import AnyProblem, ModelForward

StructuredProblem: TypeAlias = LayerShape | ModelForward
StructuredCell: TypeAlias = LayerCell | ModelCell


def structured_cell(problem: StructuredProblem, name: str) -> StructuredCell:
    """The cell of this name.

    Raises:
        UsageError: there is none.
    """
    return ModelCell.parse(problem, name) if isinstance(problem, ModelForward) else LayerCell.parse(name)


def dense_demand(problem: AnyProblem) -> Demand:
    """What a product needs, or the dense cell of a layer or a model: the most that its other cells need."""
    if isinstance(problem, Problem):
        return demand_of(problem, None)
    name = DENSE_FAIR if isinstance(problem, ModelForward) else DENSE_LAYER
    return structured_cell(problem, name).demand(problem)  # type: ignore[arg-type]


def memory_bytes(problem: AnyProblem, name: str) -> int:
    """Approximate peak memory of a cell; of a product twice its operands, whatever the implementation."""
    if isinstance(problem, Problem):
        return 2 * problem.compulsory_bytes
    return structured_cell(problem, name).memory_bytes(problem)  # type: ignore[arg-type]
