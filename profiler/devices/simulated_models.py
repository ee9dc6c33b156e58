"""Datasheets of the boards that can be simulated."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BoardModel:
    """Datasheet of a board; rates are dense, without sparsity."""

    name: str
    """The model name, marked as simulated."""
    architecture: str
    memory_bytes: int
    cache_bytes: int
    multiprocessors: int
    bytes_per_s: float
    sm_clock_mhz: float
    memory_clock_mhz: float
    idle_w: float
    limit_w: float
    supported: tuple[str, ...]
    """Functions that its NVML supports, of `counter field_83 field_186 event_times power violations`."""
    power_average_s: float
    """Averaging time of nvmlDeviceGetPowerUsage; 0 where it is instantaneous."""

    @property
    def capability(self) -> int:
        """Compute capability, as in `sm_90`."""
        return int(self.architecture.removeprefix("sm_"))


_HOPPER = ("counter", "field_83", "field_186", "event_times", "power", "violations")
_AMPERE = ("counter", "field_83", "power", "violations")
_VOLTA = ("counter", "power", "violations")

MODELS: dict[str, BoardModel] = {
    # NVIDIA H200 datasheet (SXM) and Hopper architecture white paper
    "h200": BoardModel(
        "Simulated H200", "sm_90", 141 * 10**9, 50 << 20, 132, 4.8e12, 1980, 3201, 75, 700, _HOPPER, 1.0
    ),
    # NVIDIA H100 datasheet (SXM)
    "h100": BoardModel(
        "Simulated H100", "sm_90", 80 * 10**9, 50 << 20, 132, 3.35e12, 1980, 2619, 70, 700, _HOPPER, 1.0
    ),
    # NVIDIA A100 datasheet (SXM4 80 GB), Ampere white paper; NVML reference: power is instantaneous on GA100
    "a100": BoardModel(
        "Simulated A100", "sm_80", 80 * 10**9, 40 << 20, 108, 2.039e12, 1410, 1593, 60, 400, _AMPERE, 0.0
    ),
    # NVIDIA V100 datasheet (SXM2 32 GB) and Volta white paper
    "v100": BoardModel(
        "Simulated V100", "sm_70", 32 * 10**9, 6 << 20, 80, 0.9e12, 1530, 877, 40, 300, _VOLTA, 0.0
    ),
}
