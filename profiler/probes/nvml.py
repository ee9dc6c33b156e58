"""What NVML says of one GPU, known by its UUID; None for what this driver or board does not tell.

NVML counts GPUs differently from CUDA, so an index never crosses from one to the other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, TypeVar

import pynvml

Value = TypeVar("Value")


@dataclass(frozen=True)
class BoardSettings:
    """How the driver and the board are set: what a comparable night must share."""

    driver: str | None = None
    power_limit_w: float | None = None
    clock_lock: str | None = None
    ecc: str | None = None
    mig: str | None = None
    vbios: str | None = None


def start() -> str | None:
    """Load the library; why it does not start, or None where it does. Cheap to ask again."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return str(error)
    return None


def told(read: Callable[[], Value]) -> Value | None:
    """What NVML answers; None where it refuses."""
    try:
        return read()
    except pynvml.NVMLError:
        return None


def handle(uuid: str) -> Any:  # noqa: ANN401  (an opaque pointer of pynvml's)
    """NVML's handle of the GPU; None without a driver or where NVML does not know the UUID."""
    return None if start() else told(lambda: pynvml.nvmlDeviceGetHandleByUUID(uuid))


def board_settings(uuid: str) -> BoardSettings:
    """Read once per run."""
    gpu = handle(uuid)
    if gpu is None:
        return BoardSettings()
    limit_mw = told(lambda: pynvml.nvmlDeviceGetEnforcedPowerLimit(gpu))
    return BoardSettings(
        driver=_text(told(pynvml.nvmlSystemGetDriverVersion)),
        power_limit_w=None if limit_mw is None else limit_mw / 1e3,
        clock_lock=_clock_lock(gpu),
        ecc=_switch(told(lambda: pynvml.nvmlDeviceGetEccMode(gpu)[0])),
        mig=_switch(told(lambda: pynvml.nvmlDeviceGetMigMode(gpu)[0])),
        vbios=_text(told(lambda: pynvml.nvmlDeviceGetVbiosVersion(gpu))),
    )


def neighbours(uuid: str, own: Collection[int]) -> tuple[int, ...] | None:
    """Process ids of others than `own` that hold a context on the GPU; None where NVML does not say."""
    gpu = handle(uuid)
    if gpu is None:
        return None
    found = told(lambda: pynvml.nvmlDeviceGetComputeRunningProcesses(gpu))
    return None if found is None else tuple(p.pid for p in found if p.pid not in own)


def _clock_lock(gpu: Any) -> str | None:  # noqa: ANN401
    """Application clocks where they differ from the board's own; a lock by -lgc cannot be read."""
    now = told(lambda: pynvml.nvmlDeviceGetApplicationsClock(gpu, pynvml.NVML_CLOCK_SM))
    default = told(lambda: pynvml.nvmlDeviceGetDefaultApplicationsClock(gpu, pynvml.NVML_CLOCK_SM))
    if now is None or default is None:
        return None
    return "none" if now == default else f"applications {now} MHz"


def _switch(state: int | None) -> str | None:
    return None if state is None else ("on" if state else "off")


def _text(value: str | bytes | None) -> str | None:
    return value.decode() if isinstance(value, bytes) else value
