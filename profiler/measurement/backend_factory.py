"""The backend of a device in this process, made on first use and kept."""

from __future__ import annotations

from kswatch.profiler.backends.base import Backend, CpuBackend
from kswatch.profiler.devices.discovery import Target
from kswatch.profiler.devices.simulated_spec import parse

_backend_of_device: dict[str, Backend] = {}


def backend_for(target: Target) -> Backend:
    """The one backend of the device in this process; it is kept because it holds calibrations."""
    if target.record.uuid not in _backend_of_device:
        _backend_of_device[target.record.uuid] = _make(target)
    return _backend_of_device[target.record.uuid]


def _make(target: Target) -> Backend:
    if target.record.kind == "cpu":
        return CpuBackend(target)
    if target.record.simulated:
        from kswatch.profiler.simulated.backend import SimulatedBackend

        return SimulatedBackend(parse(target.spec))
    from kswatch.profiler.backends.cuda import CudaBackend

    return CudaBackend(target)
