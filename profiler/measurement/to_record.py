"""Conversion of measured cells to the records of the store."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from kswatch.db.records import COMPARABLE, CounterReading, DeviceRecord, MeasurementRecord
from kswatch.profiler.backends.base import Backend
from kswatch.profiler.devices.roofline import Roofline, implausible_below_ms
from kswatch.profiler.empty_records import problem_key
from kswatch.profiler.measurement.cell import CellMeasurement
from kswatch.profiler.measurement.sample_statistics import modes, quantiles


def to_records(
    cells: Sequence[CellMeasurement], backend: Backend, device: DeviceRecord, roofline: Roofline
) -> list[MeasurementRecord]:
    """One record per cell; a cell without a comparable status keeps no times."""
    for cell in cells:
        _mark_implausible(cell, device)  # all of them first: no ratio to an implausible time of `fused`
    return [_to_record(cell, cells, backend, roofline) for cell in cells]


def _to_record(
    cell: CellMeasurement,
    cells: Sequence[CellMeasurement],
    backend: Backend,
    roofline: Roofline,
) -> MeasurementRecord:
    fields: dict[str, Any] = {}
    if cell.samples_ms and cell.status in (*COMPARABLE, "implausible"):
        fields |= _times(cell, cells, backend.timer.tick_ms)
        fields |= _floor(cell, roofline) | cell.energy
    flags, counters = list(cell.flags), list(cell.counters)
    if cell.active:
        for probe in backend.probes:
            seen = dict(probe.results(cell.probe_key))
            flags += seen.pop("flags", ())
            if cell.mode != "hot":  # counters belong to the cell, whatever its mode
                counters += [
                    CounterReading(name, seen[name], unit)
                    for name, unit in probe.readings.items()
                    if name in seen
                ]
            fields |= {name: value for name, value in seen.items() if name not in probe.readings}
        if cell.peak_bytes is not None:
            fields["memory_peak_bytes"] = cell.peak_bytes
    return MeasurementRecord(
        problem=problem_key(cell.problem),
        implementation=cell.name,
        status=cell.status or "crashed",
        mode=cell.mode,
        counters=tuple(counters),
        reason=cell.reason,
        bytes_moved=cell.demand.compulsory_bytes,
        flops=cell.implementation.flops(cell.problem),
        parameters=cell.demand.parameters,
        code_hash=cell.code_hash,
        tile=cell.tile,
        compile_ms=cell.compile_ms,
        flags=tuple(dict.fromkeys(flags)),
        **_errors(cell),
        **fields,
    )


def _mark_implausible(cell: CellMeasurement, device: DeviceRecord) -> None:
    """Finish a cell as `implausible` whose latency is below the datasheet's limit."""
    limit_ms = implausible_below_ms(cell.demand, device, cell.mode)
    if limit_ms is None or cell.status not in COMPARABLE or cell.estimate_ms >= limit_ms:
        return
    reason = f"{cell.estimate_ms:.4g} ms is less than the datasheet of {device.model} allows"
    cell.finish("implausible", f"{reason} ({limit_ms:.4g} ms)")


def _times(cell: CellMeasurement, cells: Sequence[CellMeasurement], tick_ms: float) -> dict[str, Any]:
    latency = cell.interval(tick_ms)
    p05, p25, p75, p95 = quantiles(cell.samples_ms)
    two = modes(cell.samples_ms)
    if two:
        cell.flag("bimodal")
        reason = f"two modes, {two[0]:.4g} and {two[1]:.4g} ms"
        cell.reason = f"{cell.reason}; {reason}" if cell.reason else reason
    return {
        "latency_ms": latency.median,
        "latency_low_ms": latency.low,
        "latency_high_ms": latency.high,
        "latency_p05_ms": p05,
        "latency_p25_ms": p25,
        "latency_p75_ms": p75,
        "latency_p95_ms": p95,
        "sample_count": len(cell.samples_ms),
        "effective_samples": latency.effective_samples,
        "samples_ms": tuple(cell.samples_ms),
        "cycles": statistics.median(cell.visit_cycles) if cell.visit_cycles else None,
        **_ratio(cell, cells, tick_ms),
    }


def _ratio(cell: CellMeasurement, cells: Sequence[CellMeasurement], tick_ms: float) -> dict[str, float]:
    """The ratio to the reference, paired by rounds; empty where that has no comparable time."""
    reference = next((other for other in cells if other.is_reference), None)
    if reference is None or reference is cell or reference.status not in COMPARABLE:
        return {}
    ratio = cell.ratio_to(reference, tick_ms)
    if ratio is None:
        return {}
    return {
        "ratio_to_fused": ratio.median,
        "ratio_to_fused_low": ratio.low,
        "ratio_to_fused_high": ratio.high,
    }


def _floor(cell: CellMeasurement, roofline: Roofline) -> dict[str, float]:
    floor_ms = roofline.floor_ms(cell.demand)
    if floor_ms is None:
        return {}
    return {"floor_ms": floor_ms, "floor_ratio": floor_ms / cell.estimate_ms}


def _errors(cell: CellMeasurement) -> dict[str, Any]:
    """Errors against float64; None where an error is not finite."""
    found = cell.correctness
    values = (found.relative_error, found.max_error) if found else (None, None)
    relative, largest = (value if value is not None and math.isfinite(value) else None for value in values)
    return {"relative_error": relative, "max_error": largest}
