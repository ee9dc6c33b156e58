"""Total time of throttling by heat or hardware, from the board's own counters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pynvml

from kswatch.profiler.probes.nvml import value_or_none

SLOWDOWN_FIELDS = (269, 270, 271)
"""Nanoseconds of software's and hardware's thermal slowdown and of the power brake (NVML field ids)."""


def slowdown_clock(gpu: Any, nvml: Any = pynvml) -> Callable[[], float | None]:  # noqa: ANN401
    """A function that returns the seconds of throttling since the driver was loaded, or None if unsupported.

    Newer drivers count each reason; older ones count violations of the thermal policy. Power capping is
    normal on a loaded board and not included.
    """

    def by_fields() -> float | None:
        values = value_or_none(lambda: nvml.nvmlDeviceGetFieldValues(gpu, list(SLOWDOWN_FIELDS))) or ()
        known = [value.value.ullVal for value in values if value.nvmlReturn == pynvml.NVML_SUCCESS]
        return sum(known) / 1e9 if known else None

    def by_violations() -> float | None:
        policy = pynvml.NVML_PERF_POLICY_THERMAL
        status = value_or_none(lambda: nvml.nvmlDeviceGetViolationStatus(gpu, policy))
        return None if status is None else status.violationTime / 1e9

    return next((way for way in (by_fields, by_violations) if way() is not None), lambda: None)
