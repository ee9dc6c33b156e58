"""Attribution: the likely cause of a change; the machine's state is considered before the code."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from kswatch.ci.regression.history import JudgingInputs
from kswatch.ci.regression.threshold import ThresholdTest
from kswatch.db.alerts.causes import Cause
from kswatch.db.metrics import SPEEDUPS
from kswatch.db.records import ProblemKey

NEVER_ALERTED: frozenset[str] = frozenset({"throttled", "clock", "same_code", "baseline_set", "library"})
"""Causes that are noise of the machine, or a change of the baselines that is known."""
CODE_CAUSES: frozenset[str] = frozenset({"code", "drift"})
"""Causes that fail a check."""

CLOCK_SHARE = 1 / 3
"""Share of the latency's change below which a change of the cycles means that the clock changed."""

FUSED_SHARE = 0.5
"""Share of a speedup's change that the latency of `fused` must make up, else a baseline has changed."""

Latencies = Mapping[tuple[ProblemKey, str], float]
"""The latency's change from its level, by problem and implementation."""


def likely_cause(inputs: JudgingInputs, index: int, change: float, latencies: Latencies) -> Cause:
    """The likeliest cause of a series that is slower or faster."""
    series = inputs.series[index]
    if inputs.throttled[index]:
        return "throttled"
    if inputs.environment_before is not None:
        return "environment"
    if inputs.canary_change is not None:
        return "canary"
    if index in inputs.baseline_changes:
        return inputs.baseline_changes[index].cause
    cycles_change = inputs.cycles_change[index]  # NaN is no evidence
    if series.metric == "latency_ms" and abs(cycles_change) < CLOCK_SHARE * abs(change):
        return "clock"
    if series.implementation != "fused":
        return "baseline"
    if series.metric in SPEEDUPS:
        by_fused = 1 / (1 + latencies.get((series.problem, "fused"), 0.0)) - 1
        if by_fused / change < FUSED_SHARE:
            return "baseline"
    return "same_code" if inputs.same_code[index] else "code"


def latency_changes(inputs: JudgingInputs, test: ThresholdTest) -> dict[tuple[ProblemKey, str], float]:
    """Each cell's change of latency from its level, where it has one."""
    return {
        (series.problem, series.implementation): float(change)
        for series, change in zip(inputs.series, test.change, strict=True)
        if series.metric == "latency_ms" and np.isfinite(change)
    }
