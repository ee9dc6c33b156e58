"""The order in which a layer tries implementations, from the problem and the device alone."""

from __future__ import annotations

from kswatch.kernels.heuristics.base import DeviceFacts
from kswatch.kernels.heuristics.learned import estimate_costs
from kswatch.kernels.heuristics.model_file import learned_sections
from kswatch.kernels.heuristics.rules import PERMUTATION
from kswatch.kernels.problem import Problem

NEAR = 1.0
"""Sections at this distance or more belong to another model, precision or layout."""


def ranked(problem: Problem, facts: DeviceFacts) -> tuple[str, ...]:
    """Implementations by predicted latency, the best first.

    The model file is used where the latency of this project's own kernel was measured on the same device
    model, in the same precision and layout. Elsewhere the rule d > 1 is no worse (README.md), and does not
    depend on which kernel was measured.

    Raises:
        ConfigurationError: the model file in use cannot be read.
    """
    own = [section for section in learned_sections() if not section.is_imported]
    estimate = estimate_costs(problem, facts, ("latency",), own)
    if estimate is not None and estimate.distance < NEAR:
        return tuple(estimate.costs)
    return ("fused", "bmm") if PERMUTATION.predict(problem, facts).predicts_fused else ("bmm", "fused")
