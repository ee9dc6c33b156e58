"""Every metric that is stored, judged or drawn, with its unit and direction of better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


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


METRICS: tuple[Metric, ...] = (
    Metric("latency_ms", "latency", "ms", "lower", True, "latency_low_ms", "latency_high_ms"),
    Metric("energy_mj", "energy per product", "mJ", "lower", True, "energy_low_mj", "energy_high_mj"),
    Metric("speedup", "speedup over the best baseline", "×", "higher", True, "speedup_low", "speedup_high"),
    Metric("energy_ratio", "energy of the best baseline over fused", "×", "higher"),
    Metric("cycles", "SM cycles per product", "cycles", "lower"),
    Metric("floor_ratio", "floor over measured time", "1", "higher"),
    Metric("relative_error", "relative Frobenius error", "1", "lower"),
    Metric("power_w", "power", "W", "lower"),
    Metric("memory_peak_bytes", "peak memory", "bytes", "lower"),
)

METRIC_BY_NAME: dict[str, Metric] = {metric.name: metric for metric in METRICS}
