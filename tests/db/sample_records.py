"""Made-up runs with a known truth, for the tests of the store."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from uuid import uuid4

from kswatch.db.interchange.ingest import FileRow, ImportResult, RunHeader, record_content
from kswatch.db.queries import basic as queries
from kswatch.db.queries import regression_inputs
from kswatch.db.records import (
    DeviceRecord,
    EnvironmentRecord,
    MeasurementRecord,
    ProblemKey,
    RevisionRecord,
    RunRecord,
)
from kswatch.db.store import Store

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CPU = DeviceRecord("cpu-made-up", "cpu", "Made-up CPU", facts={"sockets": 1})
GPU = DeviceRecord("GPU-11112222", "cuda", "Made-up GPU 80GB", architecture="sm_90", memory_bytes=80 * 2**30)


def problem(d: int = 1, precision: str = "fp32", layout: str = "batch_last") -> ProblemKey:
    return ProblemKey(2, 48, 192, d, 1024, precision, layout)


def run_record(**changes) -> RunRecord:
    values = {
        "suite": "smoke",
        "device": CPU,
        "environment": EnvironmentRecord(host="made-up", torch="2.13.0", threads=2),
        "revision": RevisionRecord("abc123", NOON, "Make it so", "main"),
        "kind": "nightly",
        "origin": "measured",
        "started_at": NOON,
        "seed": 7,
        "planned_cells": 4,
        "arguments": {"precision": ["fp32"]},
    }
    return RunRecord(**(values | changes))


def measured(
    key: ProblemKey, implementation: str, latency_ms: float | None = None, **changes
) -> MeasurementRecord:
    values = {"problem": key, "implementation": implementation, "status": "ok", "latency_ms": latency_ms}
    return MeasurementRecord(**(values | changes))


def import_run(store: Store, records: list[MeasurementRecord], **changes) -> int:
    """Record a whole finished run as an import does, and give its id."""
    tally = ImportResult()
    header = RunHeader(run_record(**changes), identity=uuid4().hex, finished_at=NOON)
    record_content(store, header, [FileRow(1, (record,)) for record in records], tally)
    return tally.run_ids[0]


def stored_tails(
    store: Store, metrics: Collection[str] = ("latency_ms",), device_id: int | None = None
) -> dict[tuple[ProblemKey, str, str], list[tuple[int, float]]]:
    """(run id, value) of a device's tails, by problem, implementation and metric, as `check` reads them."""
    everything = queries.measurements(store, kinds=None, origins=None)
    cells = {
        row.cell_id: (ProblemKey(row.a, row.b, row.c, row.d, row.batch, row.precision, row.layout), row)
        for row in everything
    }
    found = {}
    device_id = device_id or queries.find_device(store, None).id
    tails = regression_inputs.tails(store, device_id, metrics, since_run_id=1)
    begin = 0
    for (cell_id, metric), length in zip(tails.keys, tails.lengths, strict=True):
        points = tails.points[begin : begin + length]
        begin += length
        key, row = cells[cell_id]
        found[key, row.implementation, metric] = [
            (int(run_id), float(value))
            for run_id, value in zip(points["run_id"], points["value"], strict=True)
        ]
    return found


def night(store: Store, times_ms: dict[str, float], key: ProblemKey | None = None, **changes) -> int:
    """Record a finished run of one problem with these times, and give its id."""
    run_id = store.begin_run(run_record(**changes))
    store.record_problem(run_id, [measured(key or problem(), name, time) for name, time in times_ms.items()])
    store.finish_run(run_id, "finished", 1.0, 0.1)
    return run_id
