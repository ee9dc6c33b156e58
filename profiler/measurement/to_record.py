"""From a cell that was measured to the record that the store keeps."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from kswatch.db.records import COMPARABLE, DeviceRecord, MeasurementRecord
from kswatch.profiler.backends.base import Bench
from kswatch.profiler.devices.roofline import Roofline, implausible_below_ms
from kswatch.profiler.empty_records import problem_key
from kswatch.profiler.measurement.cell import REFERENCE, Contender
from kswatch.profiler.measurement.sample_statistics import modes, quantiles


def to_records(
    contenders: Sequence[Contender], bench: Bench, device: DeviceRecord, roofline: Roofline
) -> list[MeasurementRecord]:
    """One record per cell; a cell without a comparable status keeps no times."""
    for contender in contenders:
        _believe(contender, device)  # all of them first: no ratio to a fused time that is not believed
    return [_to_record(contender, contenders, bench, roofline) for contender in contenders]


def _to_record(
    contender: Contender,
    contenders: Sequence[Contender],
    bench: Bench,
    roofline: Roofline,
) -> MeasurementRecord:
    problem = contender.problem
    fields: dict[str, Any] = {}
    if contender.samples_ms and contender.status in (*COMPARABLE, "implausible"):
        fields |= _times(contender, contenders, bench.timer.tick_ms)
        fields |= _floor(contender, roofline) | contender.energy
    flags = list(contender.flags)
    if contender.racing:
        for probe in bench.probes:
            seen = dict(probe.results(contender.cell))
            flags += seen.pop("flags", ())
            fields |= seen
    return MeasurementRecord(
        problem=problem_key(problem),
        implementation=contender.name,
        status=contender.status or "crashed",
        mode=contender.mode,
        counters=contender.counters,
        reason=contender.reason,
        bytes_moved=problem.compulsory_bytes,
        flops=contender.implementation.flops(problem),
        code_hash=contender.code_hash,
        tile=contender.tile,
        flags=tuple(dict.fromkeys(flags)),
        **_errors(contender),
        **fields,
    )


def _believe(contender: Contender, device: DeviceRecord) -> None:
    """End a cell as `implausible` that is faster than the board can be."""
    limit_ms = implausible_below_ms(contender.problem, device, contender.mode)
    if limit_ms is None or contender.status not in COMPARABLE or contender.estimate_ms >= limit_ms:
        return
    told = f"{contender.estimate_ms:.4g} ms is less than the datasheet of {device.model} allows"
    contender.ends("implausible", f"{told} ({limit_ms:.4g} ms)")


def _times(contender: Contender, contenders: Sequence[Contender], tick_ms: float) -> dict[str, Any]:
    latency = contender.interval(tick_ms)
    p05, p25, p75, p95 = quantiles(contender.samples_ms)
    two = modes(contender.samples_ms)
    if two:
        contender.flag("bimodal")
        told = f"two modes, {two[0]:.4g} and {two[1]:.4g} ms"
        contender.reason = f"{contender.reason}; {told}" if contender.reason else told
    return {
        "latency_ms": latency.median,
        "latency_low_ms": latency.low,
        "latency_high_ms": latency.high,
        "latency_p05_ms": p05,
        "latency_p25_ms": p25,
        "latency_p75_ms": p75,
        "latency_p95_ms": p95,
        "sample_count": len(contender.samples_ms),
        "effective_samples": latency.effective_samples,
        "samples_ms": tuple(contender.samples_ms),
        "cycles": statistics.median(contender.visit_cycles) if contender.visit_cycles else None,
        **_ratio(contender, contenders, tick_ms),
    }


def _ratio(contender: Contender, contenders: Sequence[Contender], tick_ms: float) -> dict[str, float]:
    """Paired with `fused`, where that is comparable itself."""
    fused = next((each for each in contenders if each.name == REFERENCE), None)
    if fused is None or fused is contender or fused.status not in COMPARABLE:
        return {}
    ratio = contender.ratio_to(fused, tick_ms)
    if ratio is None:
        return {}
    return {
        "ratio_to_fused": ratio.median,
        "ratio_to_fused_low": ratio.low,
        "ratio_to_fused_high": ratio.high,
    }


def _floor(contender: Contender, roofline: Roofline) -> dict[str, float]:
    floor_ms = roofline.floor_ms(contender.problem)
    if floor_ms is None:
        return {}
    return {"floor_ms": floor_ms, "floor_ratio": floor_ms / contender.estimate_ms}


def _errors(contender: Contender) -> dict[str, Any]:
    """How far from float64; what is not finite is not known."""
    found = contender.correctness
    values = (found.relative_error, found.max_error) if found else (None, None)
    relative, largest = (value if value is not None and math.isfinite(value) else None for value in values)
    return {"relative_error": relative, "max_error": largest}
