"""Which implementations to try first where there is nothing to ask but the problem and the device."""

from __future__ import annotations

from kswatch.kernels.heuristics.base import DeviceFacts
from kswatch.kernels.heuristics.learned import estimate
from kswatch.kernels.heuristics.model_file import learned_sections
from kswatch.kernels.heuristics.rules import PERMUTATION
from kswatch.kernels.problem import Problem

NEAR = 1.0
"""Sections further away than this are of another model, precision or layout."""


def ranked(problem: Problem, facts: DeviceFacts) -> tuple[str, ...]:
    """Implementations by predicted time, the best first.

    What was learned counts where this project's own code was measured on the same model of device, in
    time, precision and layout; elsewhere the rule d > 1 is as good as anything (README.md) and does
    not depend on whose kernel was measured.

    Raises:
        ConfigurationError: the model file in use cannot be read.
    """
    own = [section for section in learned_sections() if not section.is_imported]
    said = estimate(problem, facts, ("latency",), own)
    if said is not None and said.distance < NEAR:
        return tuple(said.costs)
    return ("fused", "bmm") if PERMUTATION.predict(problem, facts).predicts_fused else ("bmm", "fused")
