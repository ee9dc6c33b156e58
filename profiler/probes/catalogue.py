"""The one explicit list of probes. A new one is a file and a line here (`docs/guides/add_a_probe.md`)."""

from __future__ import annotations

from kswatch.profiler.probes.base import Probe, ProbedDevice
from kswatch.profiler.probes.clocks import ClockProbe
from kswatch.profiler.probes.memory import MemoryProbe

PROBES: tuple[type[Probe], ...] = (
    MemoryProbe,
    ClockProbe,
)


def probes_of(device: ProbedDevice) -> tuple[Probe, ...]:
    """The probes that read this device, in the order of the list."""
    made = (kind.on(device) for kind in PROBES)
    return tuple(probe for probe in made if probe is not None)
