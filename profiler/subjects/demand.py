"""What a cell needs: operations and bytes that bound its latency, and the memory that it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kswatch.kernels.problem import ELEMENT_BYTES, Precision, Problem
from kswatch.profiler.subjects.problems import AnyProblem, ModelForward


@dataclass(frozen=True)
class Demand:
    """Operations and bytes that no way to compute a cell can avoid."""

    precision: Precision
    flops: int
    input_bytes: int
    """Input and parameters, each once."""
    output_bytes: int
    parameters: int | None = None
    """Trainable numbers; None for a single product."""

    @property
    def compulsory_bytes(self) -> int:
        """Input and parameters read once, output written once."""
        return self.input_bytes + self.output_bytes

    @property
    def parameter_bytes(self) -> int:
        """Bytes of the parameters as they are stored."""
        return (self.parameters or 0) * ELEMENT_BYTES[self.precision]


def operand_bytes(problem: AnyProblem) -> int:
    """Bytes that are there before any cell is prepared: a product's input and weights, else the input."""
    if isinstance(problem, Problem):
        return problem.input_bytes
    if isinstance(problem, ModelForward):
        return 0  # images and tokens are small beside a model
    return problem.element_bytes * problem.batch * problem.in_features


def demand_of(problem: AnyProblem, cell: Any) -> Demand:  # noqa: ANN401  (an `Implementation`, or what replaces it)
    """What a cell of this problem needs; all implementations of a product need the same."""
    if isinstance(problem, Problem):
        return Demand(problem.precision, problem.flops, problem.input_bytes, problem.output_bytes)
    found: Demand = cell.demand(problem)
    return found
