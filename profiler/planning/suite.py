"""A suite: a named rule that yields problems, always the same ones in the same order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import product

from kswatch.db.records import IMPLEMENTATIONS
from kswatch.declared.precisions import SUITE_PRECISIONS
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import LAYOUTS, Precision, Problem
from kswatch.profiler.planning.structured_suites import structured_cells
from kswatch.profiler.subjects.problems import AnyProblem

PAPER_BATCH = 25_088
"""128 images of 196 patches: the paper's batch."""
SMOKE_BATCH = 1_024


@dataclass(frozen=True)
class Suite:
    """A named rule that yields cells: each product by each implementation, layers and models by their own."""

    name: str
    statement: str
    """The rule in one line, as shown on pages and in help texts."""
    problems: Callable[[], tuple[AnyProblem, ...]]
    energy_problems: int | None = None
    """Number of problems, from the start of the stratified order, with an energy pass; None for all."""
    within_s: float | None = None
    """Time limit of a run on a small CPU, in seconds: time caps of cells keep it."""
    implementations: tuple[str, ...] = IMPLEMENTATIONS
    cells: Callable[[AnyProblem], tuple[str, ...]] = structured_cells
    """The cells of a layer or a model."""
    cpu_problems: Callable[[], tuple[AnyProblem, ...]] | None = None
    """The problems on a CPU, where they are others."""
    cpu_cells: Callable[[AnyProblem], tuple[str, ...]] | None = None
    """The cells of a layer or a model on a CPU, where they are others."""
    cpu_budget_s: float | None = None
    """Time budget on a CPU, unless another one is given."""

    def problems_on(self, device_kind: str) -> tuple[AnyProblem, ...]:
        """The problems on devices of this kind."""
        return (self.cpu_problems or self.problems)() if device_kind == "cpu" else self.problems()

    def cells_on(self, device_kind: str, problem: AnyProblem) -> tuple[str, ...]:
        """The cells of a layer or a model on devices of this kind."""
        return (self.cpu_cells or self.cells)(problem) if device_kind == "cpu" else self.cells(problem)


rule = partial(Suite, "", "")
"""A suite whose name and statement are in its line of `kswatch.declared.suites`."""


def cross(
    patterns: Iterable[Pattern],
    batches: Iterable[int] = (PAPER_BATCH,),
    precisions: Iterable[Precision] = SUITE_PRECISIONS,
) -> tuple[Problem, ...]:
    """Each pattern at each batch and precision in both layouts."""
    return tuple(
        Problem(pattern, batch, precision, layout)
        for pattern, batch, precision, layout in product(patterns, batches, precisions, LAYOUTS)
    )
