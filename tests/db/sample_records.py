"""Made-up runs with a known truth, for the tests of the store."""

from __future__ import annotations

from datetime import UTC, datetime

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


def night(store: Store, times_ms: dict[str, float], key: ProblemKey | None = None, **changes) -> int:
    """Record a finished run of one problem with these times, and give its id."""
    run_id = store.begin_run(run_record(**changes))
    store.record_problem(run_id, [measured(key or problem(), name, time) for name, time in times_ms.items()])
    store.finish_run(run_id, "finished", 1.0, 0.1)
    return run_id
