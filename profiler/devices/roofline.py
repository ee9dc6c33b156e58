"""Bounds of a product's latency: the floor from measured rates, the limit from the datasheet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kswatch.db.records import CanaryRecord, DeviceRecord, best_rates
from kswatch.kernels.problem import Problem
from kswatch.profiler.subjects.demand import Demand

IMPLAUSIBLE_SHARE = 0.8


@dataclass(frozen=True)
class Roofline:
    """Rates of the canaries in this run."""

    bytes_per_s: float | None = None
    flops_per_s: Mapping[str, float] = field(default_factory=dict)
    """By precision."""
    launch_ms: float = 0.0

    @classmethod
    def from_canaries(cls, canaries: Iterable[CanaryRecord], launch_ms: float = 0.0) -> Roofline:
        """The best rates of the run: a floor is the latency on an undisturbed machine."""
        return cls(*best_rates(canaries), launch_ms)

    def floor_ms(self, problem: Demand | Problem) -> float | None:
        """Latency of the compulsory bytes or flops, the longer of both; None if a rate is unknown."""
        flops_per_s = self.flops_per_s.get(problem.precision)
        if not self.bytes_per_s or not flops_per_s:
            return None
        seconds = max(problem.compulsory_bytes / self.bytes_per_s, problem.flops / flops_per_s)
        return 1e3 * seconds + self.launch_ms

    def fastest_ms(self, precision: str, flops: int) -> float | None:
        """Latency of that many operations at the measured rate; None where the rate is unknown."""
        flops_per_s = self.flops_per_s.get(precision)
        return 1e3 * flops / flops_per_s if flops_per_s else None


@dataclass(frozen=True)
class Datasheet:
    """The manufacturer's dense peak rates of a board (no sparsity), which no measurement can exceed."""

    bytes_per_s: float
    fp32_flops_per_s: float
    tf32_flops_per_s: float | None
    half_flops_per_s: float

    def flops_per_s(self, precision: str) -> float | None:
        """Peak rate of a precision; for fp32 also by three tf32 products (3xTF32), which can be faster.

        Boards that have fp8 multiply it at twice the rate of 16 bits. Complex numbers are multiplied in fp32;
        no board is faster in fp64 than in fp32.
        """
        if precision == "fp64":
            return self.fp32_flops_per_s
        if precision in ("fp32", "complex64"):
            return max(self.fp32_flops_per_s, (self.tf32_flops_per_s or 0.0) / 3)
        if precision == "fp8":
            return 2 * self.half_flops_per_s
        return self.tf32_flops_per_s if precision == "tf32" else self.half_flops_per_s


DATASHEETS: tuple[tuple[str, Datasheet], ...] = (
    ("B200", Datasheet(8.0e12, 80e12, 1.2e15, 2.5e15)),
    ("H200", Datasheet(4.8e12, 67e12, 494.7e12, 989.4e12)),
    ("H100 PCIe", Datasheet(2.04e12, 51.2e12, 378e12, 756e12)),
    ("H100", Datasheet(3.94e12, 67e12, 494.7e12, 989.4e12)),
    ("L40S", Datasheet(0.864e12, 91.6e12, 183e12, 362e12)),
    ("L4", Datasheet(0.3e12, 30.3e12, 60e12, 121e12)),
    ("A100", Datasheet(2.04e12, 19.5e12, 156e12, 312e12)),
    ("A10", Datasheet(0.6e12, 31.2e12, 62.5e12, 125e12)),
    ("RTX 4090", Datasheet(1.01e12, 82.6e12, 82.6e12, 330.3e12)),
    ("RTX 3090", Datasheet(0.936e12, 35.6e12, 35.6e12, 142e12)),
    ("V100", Datasheet(0.9e12, 15.7e12, None, 125e12)),
    ("T4", Datasheet(0.32e12, 8.1e12, None, 65e12)),
)
"""The first entry whose words are all in the model name applies, with the rates of the fastest variant."""


def datasheet(device: DeviceRecord) -> Datasheet | None:
    """The board's datasheet; None for a CPU or an unknown board, for which no limit applies."""
    if device.kind != "cuda":
        return None
    words = device.model.replace("-", " ").casefold().split()
    for model, sheet in DATASHEETS:
        if all(part in words for part in model.casefold().split()):
            return sheet
    return None


def implausible_below_ms(problem: Demand | Problem, device: DeviceRecord, mode: str = "cold") -> float | None:
    """The latency below which a measurement is implausible; None without a datasheet.

    Bytes that caches can hold are not counted: outputs that fit in L2 need not reach DRAM, and hot inputs
    need not be read from there.
    """
    sheet = datasheet(device)
    flops_per_s = sheet.flops_per_s(problem.precision) if sheet else None
    if sheet is None or flops_per_s is None:
        return None
    cache_bytes = device.cache_bytes or 0
    if mode != "cold":  # hot, or of a protocol that does not control caches
        dram_bytes = max(0, problem.compulsory_bytes - cache_bytes)
    else:
        dram_bytes = problem.input_bytes + max(0, problem.output_bytes - cache_bytes)
    return 1e3 * IMPLAUSIBLE_SHARE * max(dram_bytes / sheet.bytes_per_s, problem.flops / flops_per_s)
