"""Warm-up of a board until clock and temperature are stable under load."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from kswatch.profiler.probes.clocks import ClockReading
from kswatch.profiler.probes.energy import SustainedLoad

READ_EVERY_S = 0.5
FLAT_READINGS = 4
FLAT_CLOCK = 0.01
FLAT_C = 1.0


def warm_up_until_stable(
    load: SustainedLoad,
    read: Callable[[], ClockReading],
    clock: Callable[[], float],
    pause: Callable[[float], None],
    limit_s: float,
) -> bool:
    """Run the load until two seconds of readings are stable; returns whether that was within `limit_s`."""
    begin_s = read_s = clock()
    readings: deque[ClockReading] = deque(maxlen=FLAT_READINGS)
    while clock() - begin_s < limit_s:
        load.top_up()
        pause(load.keeps_busy_s)
        if clock() - read_s >= READ_EVERY_S:
            read_s = clock()
            readings.append(read())
            if len(readings) == FLAT_READINGS and _flat(readings):
                return True
    return False


def _flat(readings: deque[ClockReading]) -> bool:
    clocks = [reading.sm_clock_mhz for reading in readings if reading.sm_clock_mhz is not None]
    degrees = [reading.temperature_c for reading in readings if reading.temperature_c is not None]
    return _spread(clocks) <= FLAT_CLOCK * max(clocks, default=0.0) and _spread(degrees) <= FLAT_C


def _spread(values: list[float]) -> float:
    return max(values, default=0.0) - min(values, default=0.0)
