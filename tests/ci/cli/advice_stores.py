"""Stores with one run of problems whose costs follow a known law."""

from __future__ import annotations

from datetime import UTC, datetime

from kswatch.db.records import DeviceRecord, EnvironmentRecord, MeasurementRecord, ProblemKey, RunRecord
from kswatch.db.store import Store
from tests.kernels.heuristics.sample_problems import bmm_ms, fused_ms, problems

GPU = DeviceRecord("GPU-aaaa", "cuda", "NVIDIA Made-up 80GB")


def record(
    store: Store, device: DeviceRecord = GPU, energy_per_ms: float | None = None, largest_b: int = 128
) -> int:
    """A finished nightly run of the made-up problems, with energies where their factor is given."""
    run = RunRecord(
        "nightly", device, EnvironmentRecord(), None, "nightly", "measured", datetime(2026, 3, 1, tzinfo=UTC)
    )
    run_id = store.begin_run(run)
    rows = []
    for problem in problems():
        if problem.pattern.b > largest_b:
            continue
        key = ProblemKey(*problem.pattern.as_tuple(), problem.batch, problem.precision, problem.layout)
        for name, cost in (("fused", fused_ms), ("bmm", bmm_ms)):
            ms = cost(problem)
            energy = None if energy_per_ms is None else ms * energy_per_ms
            rows.append(MeasurementRecord(key, name, "ok", latency_ms=ms, energy_mj=energy))
    store.record_problem(run_id, rows)
    store.finish_run(run_id, "finished", 1.0, 0.1)
    return run_id
