"""NVML readings of a GPU, identified by its UUID; None for readings that driver or board do not support.

NVML numbers GPUs differently from CUDA, so indices of one are never used with the other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, TypeVar

import pynvml

Value = TypeVar("Value")


def start() -> str | None:
    """Load the library; returns the reason for a failure, or None. Cheap to call again."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return str(error)
    return None


def value_or_none(read: Callable[[], Value]) -> Value | None:
    """The value of an NVML call; None where it fails."""
    try:
        return read()
    except pynvml.NVMLError:
        return None


def handle(uuid: str) -> Any:  # noqa: ANN401  (an opaque pointer of pynvml's)
    """NVML's handle of the GPU; None without a driver or where NVML does not know the UUID."""
    return None if start() else value_or_none(lambda: pynvml.nvmlDeviceGetHandleByUUID(uuid))


def board_settings(uuid: str) -> dict[str, Any]:
    """Settings of driver and board: `vbios`, and fields of `EnvironmentRecord`; empty for an unknown GPU."""
    gpu = handle(uuid)
    if gpu is None:
        return {}
    limit_mw = value_or_none(lambda: pynvml.nvmlDeviceGetEnforcedPowerLimit(gpu))
    return dict(
        driver=value_or_none(pynvml.nvmlSystemGetDriverVersion),
        power_limit_w=None if limit_mw is None else limit_mw / 1e3,
        clock_lock=_clock_lock(gpu),
        ecc=_switch(value_or_none(lambda: pynvml.nvmlDeviceGetEccMode(gpu)[0])),
        mig=_switch(value_or_none(lambda: pynvml.nvmlDeviceGetMigMode(gpu)[0])),
        vbios=value_or_none(lambda: pynvml.nvmlDeviceGetVbiosVersion(gpu)),
    )


def neighbours(uuid: str, own: Collection[int]) -> tuple[int, ...] | None:
    """Ids of processes other than `own` with a context on the GPU; None where NVML does not support it."""
    gpu = handle(uuid)
    if gpu is None:
        return None
    found = value_or_none(lambda: pynvml.nvmlDeviceGetComputeRunningProcesses(gpu))
    return None if found is None else tuple(p.pid for p in found if p.pid not in own)


def _clock_lock(gpu: Any) -> str | None:  # noqa: ANN401
    """Application clocks where they differ from the default; a lock by `nvidia-smi -lgc` cannot be read."""
    now = value_or_none(lambda: pynvml.nvmlDeviceGetApplicationsClock(gpu, pynvml.NVML_CLOCK_SM))
    default = value_or_none(lambda: pynvml.nvmlDeviceGetDefaultApplicationsClock(gpu, pynvml.NVML_CLOCK_SM))
    if now is None or default is None:
        return None
    return "none" if now == default else f"applications {now} MHz"


def _switch(state: int | None) -> str | None:
    return None if state is None else ("on" if state else "off")
