"""Write speed of the store: `python -m tests.benchmarks.store_times FOLDER [MEASUREMENTS]`.

Simulated nights of the size of `nightly` are recorded problem by problem, as a run does, and in bulk, as an
import does. Prints one JSON object; run it in a process of its own, since it reports its peak memory. Times
are wall time, which a busy machine prolongs.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from kswatch.db.interchange.ingest import FileRow, ImportResult, RunHeader, record_content
from kswatch.db.records import (
    IMPLEMENTATIONS,
    DeviceRecord,
    EnvironmentRecord,
    MeasurementRecord,
    ProblemKey,
    RunRecord,
)
from kswatch.db.store import Store

DEVICE = DeviceRecord("sim-store", "cuda", "Simulated board", simulated=True)
FIRST_NIGHT = datetime(2026, 1, 1, 2, tzinfo=UTC)
PROBLEMS = 960
"""Of one night: eight implementations of each make 7,680 cells, as many as `nightly` has."""
SAMPLES = tuple(1.0 + place / 1000 for place in range(60))


def problems() -> list[ProblemKey]:
    """The night's problems."""
    return [
        ProblemKey(a, 48, 192, d, 25_088, precision, layout)
        for a in range(1, 11)
        for d in range(1, 13)
        for precision in ("fp32", "tf32", "bf16", "fp16")
        for layout in ("batch_first", "batch_last")
    ]


def records(key: ProblemKey, night: int, samples_ms: tuple[float, ...]) -> list[MeasurementRecord]:
    """Every field that a measured cell has."""
    return [
        MeasurementRecord(
            key,
            name,
            "ok",
            latency_ms=1.0 + place + night / 1000,
            latency_low_ms=0.99 + place,
            latency_high_ms=1.01 + place,
            latency_p05_ms=0.97,
            latency_p25_ms=0.99,
            latency_p75_ms=1.01,
            latency_p95_ms=1.03,
            sample_count=60,
            effective_samples=55.0,
            cycles=1.98e6,
            ratio_to_fused=1.0 + place,
            ratio_to_fused_low=0.99 + place,
            ratio_to_fused_high=1.01 + place,
            sm_clock_mhz=1980.0,
            temperature_c=55.0,
            bytes_moved=10**9,
            flops=10**10,
            floor_ms=0.5,
            floor_ratio=0.5,
            relative_error=1e-6,
            code_hash="0" * 64,
            samples_ms=samples_ms,
        )
        for place, name in enumerate(IMPLEMENTATIONS)
    ]


def run_of(night: int) -> RunRecord:
    """A night's run."""
    return RunRecord(
        suite="nightly",
        device=DEVICE,
        environment=EnvironmentRecord(host="simulated-host"),
        revision=None,
        kind="nightly",
        origin="simulated",
        started_at=FIRST_NIGHT + timedelta(days=night),
        planned_cells=PROBLEMS * len(IMPLEMENTATIONS),
    )


def one_by_one(store: Store, night: int, count: int = 240) -> Iterator[float]:
    """Seconds that recording each problem of a night takes, with its samples, comparisons and tails."""
    run_id = store.begin_run(run_of(night))
    for key in problems()[:count]:
        batch = records(key, night, SAMPLES)
        began_s = time.perf_counter()
        store.record_problem(run_id, batch)
        yield time.perf_counter() - began_s
    store.finish_run(run_id, "finished", 900.0, 90.0)


def in_bulk(store: Store, measurements: int) -> float:
    """Seconds that importing so many measurements takes, a night in each transaction, parsing left out."""
    nights = -(-measurements // (PROBLEMS * len(IMPLEMENTATIONS)))
    seconds = 0.0
    for night in range(nights):
        batch = [record for key in problems() for record in records(key, night, ())]
        began_s = time.perf_counter()
        header = RunHeader(run_of(night), f"night {night}", seconds=900.0, harness_seconds=90.0)
        record_content(store, header, [FileRow(1, (record,)) for record in batch], ImportResult())
        seconds += time.perf_counter() - began_s
    return seconds * measurements / (nights * PROBLEMS * len(IMPLEMENTATIONS))


def main(folder: str, measurements: str = "1000000") -> None:
    """Print the figures."""
    store = Store.open(f"sqlite:///{Path(folder) / 'store.db'}")
    bulk_s = in_bulk(store, int(measurements))
    each_s = sorted(one_by_one(store, 1000))
    store.close()
    peak_bytes = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures = {
        "measurements": int(measurements),
        "bulk_s": bulk_s,
        "cpu_s": time.process_time(),
        "problem_ms": 1e3 * statistics.median(each_s),
        "problem_p95_ms": 1e3 * each_s[int(0.95 * len(each_s))],
        "peak_mb": peak_bytes / 1e6,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
