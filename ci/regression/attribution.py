"""What a change is put down to; the machine's state comes before the code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from kswatch.ci.regression.families import Series
from kswatch.ci.regression.history import Evidence
from kswatch.ci.regression.threshold import Ruling
from kswatch.db.records import ProblemKey

Cause = Literal["code", "baseline", "environment", "canary", "throttled", "clock", "same_code", "drift"]

NEVER_TOLD: frozenset[str] = frozenset({"throttled", "clock", "same_code"})
"""Noise of the machine, not news of the code."""
CODE_CAUSES: frozenset[str] = frozenset({"code", "drift"})
"""Causes that fail a check."""

CLOCK_SHARE = 1 / 3
"""Of the change in time: if the cycles changed by less, the clock did it."""

Latencies = Mapping[tuple[ProblemKey, str], float]
"""By problem and implementation, how far the time is from its level."""


def cause_of(evidence: Evidence, index: int, change: float, latencies: Latencies) -> Cause:
    """The likeliest cause of a series' change, which is slower or faster."""
    series = evidence.series[index]
    if evidence.throttled[index]:
        return "throttled"
    if evidence.environment_before is not None:
        return "environment"
    if evidence.canary_change is not None:
        return "canary"
    if series.metric == "latency_ms" and _by_the_clock(evidence.cycles_change[index], change):
        return "clock"
    if series.implementation != "fused":
        return "baseline"
    if series.metric == "speedup" and not _by_fused(series, change, latencies):
        return "baseline"
    return "same_code" if evidence.same_code[index] else "code"


def latency_changes(evidence: Evidence, ruling: Ruling) -> dict[tuple[ProblemKey, str], float]:
    """How far each cell's time is from its level, where it has one."""
    return {
        (series.problem, series.implementation): float(change)
        for series, change in zip(evidence.series, ruling.change, strict=True)
        if series.metric == "latency_ms" and np.isfinite(change)
    }


def _by_the_clock(cycles_change: float, change: float) -> bool:
    """Whether the time changed without its cycles."""
    return bool(np.isfinite(cycles_change)) and abs(cycles_change) < CLOCK_SHARE * abs(change)


def _by_fused(series: Series, change: float, latencies: Latencies) -> bool:
    """Whether fused's own time makes up at least half of a speedup's change."""
    own = 1 / (1 + latencies.get((series.problem, "fused"), 0.0)) - 1
    return own / change >= 0.5
