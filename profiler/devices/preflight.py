"""Looked at before a run: what would make its numbers meaningless, and what a reader should know."""

from __future__ import annotations

import os
from dataclasses import dataclass

import psutil
import pynvml

from kswatch.profiler.devices.discovery import Target, cpu_threads
from kswatch.profiler.probes import nvml

HOT_C = 80
BUSY_SHARE = 0.5
SIMULATED = "SIMULATED: this device is simulated; nothing that it tells was measured"
BUSY_CURE = "wait for them, or set OMP_NUM_THREADS=1: a lone thread is disturbed far less"


@dataclass(frozen=True)
class Preflight:
    """What was found; a refused metric is not measured, and the sentence says why."""

    notes: tuple[str, ...] = ()
    time_refusal: str | None = None
    energy_refusal: str | None = None


def preflight(target: Target) -> Preflight:
    """Look, change nothing: no clock, power limit, persistence or MIG mode is ever touched."""
    if target.record.kind == "cpu":
        return Preflight(notes=_cpu_notes())
    if target.record.simulated:
        return Preflight(notes=(SIMULATED,))
    return Preflight(_gpu_notes(target), _neighbours(target), energy_refusal(target))


def energy_refusal(target: Target) -> str | None:
    """Why energy of this GPU would mean nothing; None where it can be counted."""
    if nvml.start():
        return "no energy: NVML does not start; install the NVIDIA driver's own libnvidia-ml"
    if target.record.uuid.startswith("MIG-"):
        return "no energy: this is a MIG instance, and the counter covers the whole board"
    gpu = nvml.handle(target.record.uuid)
    if gpu is None:
        return f"no energy: NVML does not know {target.record.uuid}"
    if nvml.told(lambda: pynvml.nvmlDeviceGetMigMode(gpu)[0]):
        return "no energy: MIG is on, and the counter covers every instance of the board"
    from kswatch.profiler.probes.energy_nvml import nvml_sources

    if not nvml_sources(gpu, target.record.model):
        return "no energy: this driver tells neither energy nor power of the board"
    return None


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
    temperature_c = nvml.told(lambda: pynvml.nvmlDeviceGetTemperature(gpu, pynvml.NVML_TEMPERATURE_GPU))
    if temperature_c is not None and temperature_c >= HOT_C:
        notes.append(f"the board has {temperature_c} °C already: its clocks may be slowed down")
    width = nvml.told(lambda: pynvml.nvmlDeviceGetCurrPcieLinkWidth(gpu))
    widest = nvml.told(lambda: pynvml.nvmlDeviceGetMaxPcieLinkWidth(gpu))
    if width is not None and widest is not None and width < widest:
        notes.append(f"PCIe runs at x{width} of x{widest}")
    return tuple(notes)


def _cpu_notes() -> tuple[str, ...]:
    load = os.getloadavg()[0]
    if load <= BUSY_SHARE * cpu_threads():
        return ()
    return (f"other programs are computing (load {load:.1f}): medians may be off; {BUSY_CURE}",)
