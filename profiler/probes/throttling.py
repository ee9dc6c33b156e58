"""How long heat or hardware held a board's clocks back, by the board's own count of time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pynvml

from kswatch.profiler.probes.nvml import told

SLOWDOWN_FIELDS = (269, 270, 271)
"""Nanoseconds of software's and hardware's thermal slowdown and of the power brake (NVML field ids)."""


def slowdown_clock(gpu: Any, nvml: Any = pynvml) -> Callable[[], float | None]:  # noqa: ANN401
    """What tells the seconds of all slowdowns since the driver was loaded; None each time where nobody does.

    Newer drivers count each reason; older ones count violations of the thermal policy. Power capping
    is normal on a loaded board and not counted.
    """

    def by_fields() -> float | None:
        values = told(lambda: nvml.nvmlDeviceGetFieldValues(gpu, list(SLOWDOWN_FIELDS))) or ()
        known = [value.value.ullVal for value in values if value.nvmlReturn == pynvml.NVML_SUCCESS]
        return sum(known) / 1e9 if known else None

    def by_violations() -> float | None:
        policy = pynvml.NVML_PERF_POLICY_THERMAL
        status = told(lambda: nvml.nvmlDeviceGetViolationStatus(gpu, policy))
        return None if status is None else status.violationTime / 1e9

    return next((way for way in (by_fields, by_violations) if way() is not None), lambda: None)
