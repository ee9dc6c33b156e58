"""NVML's energy sources, best first: the energy counter, the same as a field, power integrated over time."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pynvml

from kswatch.errors import MeasurementError
from kswatch.profiler.probes.energy import EnergySource, PowerTrapezoid

FIELD_ENERGY = 83
FIELD_INSTANT_POWER = 186
FIELD_MEMBERS = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
"""Members of nvmlValue_t, indexed by nvmlValueType_t."""
MODULE_BOARDS = ("GH200", "GB200", "Grace")
"""Boards whose counter covers CPU and GPU together."""
NO_SENSOR = "no energy: this driver reports neither energy nor power of the board"


class NvmlCount(EnergySource):
    """NVML's count of millijoules since the driver was loaded."""

    def __init__(self, name: str, scope: str, read: Callable[[], float]) -> None:
        self.name, self.scope = name, scope
        self._read = read

    def read_mj(self) -> float:
        """See `EnergySource`."""
        return _read(self.name, self._read)


def nvml_sources(
    gpu: Any,  # noqa: ANN401  (an opaque pointer of pynvml's)
    model: str,
    nvml: Any = pynvml,  # noqa: ANN401  (the module, or a simulated one)
    clock: Callable[[], float] = time.perf_counter,
) -> list[EnergySource]:
    """The available sources, best first: at most one counter and one integral of power."""
    scope = "module" if any(board in model for board in MODULE_BOARDS) else "board"
    counters = [
        NvmlCount("nvml_counter", scope, lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(gpu)),
        NvmlCount("nvml_field_83", scope, lambda: _field(nvml, gpu, FIELD_ENERGY)),
    ]
    powers = [
        PowerTrapezoid(name, scope, partial(_read, name, read_w), clock)
        for name, read_w in (
            ("nvml_power_instant", lambda: _field(nvml, gpu, FIELD_INSTANT_POWER) / 1e3),
            ("nvml_power_average", lambda: nvml.nvmlDeviceGetPowerUsage(gpu) / 1e3),
        )
    ]
    return [*_first_available(counters), *_first_available(powers)]


def _read(name: str, read: Callable[[], float]) -> float:
    try:
        return float(read())
    except pynvml.NVMLError as error:
        raise MeasurementError(f"{name} cannot be read: {error}") from error


def _first_available(sources: list[Any]) -> list[EnergySource]:
    for source in sources:
        try:
            source.read_mj()
        except MeasurementError:
            continue
        return [source]
    return []


def _field(nvml: Any, gpu: Any, field: int) -> float:  # noqa: ANN401
    """The value of one field; the call succeeds even for an unsupported field, which has its own status."""
    value = nvml.nvmlDeviceGetFieldValues(gpu, [field])[0]
    if value.nvmlReturn != pynvml.NVML_SUCCESS:
        raise pynvml.NVMLError(value.nvmlReturn)
    return float(getattr(value.value, FIELD_MEMBERS[value.valueType]))
