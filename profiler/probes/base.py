"""A probe: four hooks around the visits to a cell, and a dict of what it saw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kswatch.kernels.problem import Problem


class Probe:
    """Watches cells that are visited in turns; `cell` is the implementation's name.

    A probe overrides the hooks it needs. What it keeps per cell starts anew with `problem_begins`.
    """

    def problem_begins(self, problem: Problem) -> None:
        """Forget the cells of the problem before."""

    def prepare_begins(self, cell: str) -> None:
        """Called before the cell's weights are re-laid."""

    def prepare_ends(self, cell: str) -> None:
        """Called after that."""

    def launch_begins(self, cell: str) -> None:
        """Called before the one launch that says how long the cell takes about; it was launched before."""

    def launch_ends(self, cell: str) -> None:
        """Called after that."""

    def visit_begins(self, cell: str) -> None:
        """Called right before a visit; must return within tens of microseconds."""

    def visit_ends(self, cell: str) -> None:
        """Called right after a visit, the device being idle again."""

    def results(self, cell: str) -> Mapping[str, Any]:
        """Fields of `MeasurementRecord` by name; `flags` is a tuple that is added to the cell's."""
        return {}
