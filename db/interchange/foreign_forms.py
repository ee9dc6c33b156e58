"""Exports for other tools: Bencher Metric Format (bencher.dev), and OpenMetrics text (version 1.0.0)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TextIO

from kswatch.db.interchange.ingest import RunHeader
from kswatch.db.machine_reads.prometheus import labels_text
from kswatch.db.records import COMPARABLE, MeasurementRecord

RunContent = Iterator[tuple[RunHeader, list[MeasurementRecord]]]


def write_bmf(file: TextIO, runs: RunContent) -> int:
    """Write one metric for each cell, of the newest of these runs that measured it; returns their number.

    Latencies are in nanoseconds, as Bencher's measure `latency` is.
    """
    found = {}
    for header, records in runs:
        for record in _measured(records):
            mode = "" if record.mode == "cold" else f" {record.mode}"
            name = f"{header.record.device.uuid} {record.implementation} {record.problem.words}{mode}"
            ends = {"value": record.latency_ms, "lower_value": record.latency_low_ms}
            ends |= {"upper_value": record.latency_high_ms}
            found[name] = {"latency": {key: 1e6 * ms for key, ms in ends.items() if ms is not None}}
    json.dump(found, file, indent=1, allow_nan=False)
    file.write("\n")
    return len(found)


def write_openmetrics(file: TextIO, runs: RunContent) -> int:
    """Write one sample for each measured cell of each run, with the run's time; returns their number."""
    file.write("# HELP kswatch_latency_seconds Median latency of one product.\n")
    file.write("# TYPE kswatch_latency_seconds gauge\n# UNIT kswatch_latency_seconds seconds\n")
    samples = {
        (labels_text(_labels(header, record)), header.record.started_at.timestamp(), record.latency_ms)
        for header, records in runs
        for record in _measured(records)
    }
    for labels, at, latency_ms in sorted(samples, key=lambda sample: sample[:2]):
        file.write(f"kswatch_latency_seconds{{{labels}}} {(latency_ms or 0.0) / 1000!r} {at:.3f}\n")
    file.write("# EOF\n")
    return len(samples)


def _measured(records: list[MeasurementRecord]) -> Iterator[MeasurementRecord]:
    return (one for one in records if one.status in COMPARABLE and one.latency_ms is not None)


def _labels(header: RunHeader, record: MeasurementRecord) -> dict[str, str]:
    run, problem = header.record, record.problem
    return {
        "device": run.device.uuid,
        "model": run.device.model,
        "origin": run.origin,
        "revision": run.revision.commit if run.revision else "",
        "implementation": record.implementation,
        "pattern": problem.pattern,
        "batch": str(problem.batch),
        "precision": problem.precision,
        "layout": problem.layout,
        "mode": record.mode,
    }
