"""Every metric that is stored, judged or drawn, with its unit and direction of better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kswatch.db.records import ALL, EXPERT


@dataclass(frozen=True)
class Metric:
    """A number that a series follows; `name` is its column in `measurement` or `comparison`."""

    name: str
    label: str
    unit: str
    better: Literal["lower", "higher", "neither"]
    judged: bool = False
    low: str | None = None
    high: str | None = None
    baselines: str | None = None
    """The set of baselines that it compares with."""


METRICS: tuple[Metric, ...] = (
    Metric("latency_ms", "latency", "ms", "lower", True, "latency_low_ms", "latency_high_ms"),
    Metric("energy_mj", "energy per product", "mJ", "lower", True, "energy_low_mj", "energy_high_mj"),
    Metric(
        "speedup", "speedup over the best baseline", "×", "higher", True, "speedup_low", "speedup_high", ALL
    ),
    Metric("energy_ratio", "energy of the best baseline over fused", "×", "higher", baselines=ALL),
    Metric(
        "speedup_expert",
        "speedup over the best of the expert baselines",
        "×",
        "higher",
        True,
        "speedup_expert_low",
        "speedup_expert_high",
        EXPERT,
    ),
    Metric(
        "energy_ratio_expert",
        "energy of the best of the expert baselines over fused",
        "×",
        "higher",
        baselines=EXPERT,
    ),
    Metric("compile_ms", "compile time", "ms", "lower", True),
    Metric("cycles", "SM cycles per product", "cycles", "lower"),
    Metric("floor_ratio", "floor over measured time", "1", "higher"),
    Metric("relative_error", "relative Frobenius error", "1", "lower"),
    Metric("power_w", "power", "W", "lower"),
    Metric("memory_peak_bytes", "peak memory", "bytes", "lower"),
)

SPEEDUPS: frozenset[str] = frozenset({"speedup", "speedup_expert"})
"""Metrics that depend on two implementations: `fused` and the best baseline of a set."""

METRIC_BY_NAME: dict[str, Metric] = {metric.name: metric for metric in METRICS}
