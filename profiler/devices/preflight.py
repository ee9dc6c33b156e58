"""Checks before a run: conditions that would make its numbers meaningless, and notes for the reader."""

from __future__ import annotations

import os
from dataclasses import dataclass

import psutil
import pynvml

from kswatch.profiler.devices.discovery import Target, cpu_threads
from kswatch.profiler.probes import nvml

HOT_C = 80
BUSY_SHARE = 0.5
SIMULATED = "SIMULATED: this device is simulated; its numbers are not measurements"
BUSY_CURE = "wait for them, or set OMP_NUM_THREADS=1: a single thread is disturbed far less"


@dataclass(frozen=True)
class Preflight:
    """Findings about a device; a metric with a refusal is not measured, for that reason."""

    notes: tuple[str, ...] = ()
    time_refusal: str | None = None
    energy_refusal: str | None = None


def preflight(target: Target) -> Preflight:
    """Check the device without changing it: clocks, power limit, persistence and MIG mode stay untouched."""
    if target.record.kind == "cpu":
        load = os.getloadavg()[0]
        busy = f"other programs are using the CPU (load {load:.1f}): medians may be off; {BUSY_CURE}"
        return Preflight(notes=(busy,) if load > BUSY_SHARE * cpu_threads() else ())
    if target.record.simulated:
        return Preflight(notes=(SIMULATED,))
    return Preflight(_gpu_notes(target), _neighbours(target), energy_refusal(target))


def energy_refusal(target: Target) -> str | None:
    """The reason why the energy of this GPU cannot be measured; None where it can."""
    if nvml.start():
        return "no energy: NVML does not start; install the NVIDIA driver's own libnvidia-ml"
    if target.record.uuid.startswith("MIG-"):
        return "no energy: this is a MIG instance, and the counter covers the whole board"
    gpu = nvml.handle(target.record.uuid)
    if gpu is None:
        return f"no energy: NVML does not know {target.record.uuid}"
    if nvml.value_or_none(lambda: pynvml.nvmlDeviceGetMigMode(gpu)[0]):
        return "no energy: MIG is on, and the counter covers every instance of the board"
    from kswatch.profiler.probes.energy_nvml import NO_SENSOR, nvml_sources

    return None if nvml_sources(gpu, target.record.model) else NO_SENSOR


def _neighbours(target: Target) -> str | None:
    children = psutil.Process().children(recursive=True)
    others = nvml.neighbours(target.record.uuid, {os.getpid(), *(child.pid for child in children)})
    if not others:
        return None
    processes = ", ".join(map(str, others))
    return f"other processes ({processes}) use {target.record.model} {target.record.uuid}; end them or wait"


def _gpu_notes(target: Target) -> tuple[str, ...]:
    gpu = nvml.handle(target.record.uuid)
    if gpu is None:
        return ("NVML does not know this GPU: no clocks, temperature or energy are recorded",)
    notes = []
    temperature_c = nvml.value_or_none(
        lambda: pynvml.nvmlDeviceGetTemperature(gpu, pynvml.NVML_TEMPERATURE_GPU)
    )
    if temperature_c is not None and temperature_c >= HOT_C:
        notes.append(f"the board is already at {temperature_c} °C: it may be throttled")
    width = nvml.value_or_none(lambda: pynvml.nvmlDeviceGetCurrPcieLinkWidth(gpu))
    widest = nvml.value_or_none(lambda: pynvml.nvmlDeviceGetMaxPcieLinkWidth(gpu))
    if width is not None and widest is not None and width < widest:
        notes.append(f"PCIe runs at x{width} of x{widest}")
    return tuple(notes)
