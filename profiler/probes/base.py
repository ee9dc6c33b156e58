"""A probe: hooks around the visits to a cell, and a dict of its readings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kswatch.profiler.subjects.problems import AnyProblem


class Probe:
    """An instrument that reads cells visited in turns; `cell` is the implementation's name.

    A probe overrides the hooks that it needs. `start_problem` clears its readings.
    """

    def start_problem(self, problem: AnyProblem) -> None:
        """Clear the readings of the previous problem."""

    def before_prepare(self, cell: str) -> None:
        """Called before the cell's weights are prepared."""

    def after_prepare(self, cell: str) -> None:
        """Called after the cell's weights are prepared."""

    def before_launch(self, cell: str) -> None:
        """Called before the single launch that estimates the cell's latency; not the cell's first launch."""

    def after_launch(self, cell: str) -> None:
        """Called after the single launch."""

    def before_visit(self, cell: str) -> None:
        """Called right before a visit; must return within tens of microseconds."""

    def after_visit(self, cell: str) -> None:
        """Called right after a visit, when the device is idle again."""

    def results(self, cell: str) -> Mapping[str, Any]:
        """Fields of `MeasurementRecord` by name; the tuple `flags` is appended to the cell's flags."""
        return {}
