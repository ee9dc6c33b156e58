"""A store with 25,000 series of 365 nights, and the time and memory that judging its newest night takes.

python -m tests.benchmarks.judging_load build STORE.db
python -m tests.benchmarks.judging_load judge STORE.db   # prints series, seconds, GiB
"""

from __future__ import annotations

import json
import resource
import sys
import time
from datetime import timedelta

import numpy as np
from sqlalchemy import select

from kswatch.ci.check import judge
from kswatch.ci.config import CiConfig
from kswatch.db.backend.bulk_insert import insert_rows
from kswatch.db.backend.codecs import split_tail
from kswatch.db.queries.regression_inputs import POINT_DTYPE
from kswatch.db.records import EnvironmentRecord, MeasurementRecord, ProblemKey, RevisionRecord, RunRecord
from kswatch.db.schema.tables import Cell, SeriesTail
from kswatch.db.store import Store
from tests.ci.nights import DEVICE, START

NIGHTS = 365
IMPLEMENTATIONS = ("fused", "bmm", "bmm_strided", "bmm_blockdense", "einsum", "bsr", "csr", "dense")
PATTERNS = tuple((a, 16 * b, 16 * b, d) for a in (1, 2, 4, 8, 16) for b in range(1, 11) for d in (1, 2, 4, 8))
PROBLEMS = tuple(
    ProblemKey(*pattern, batch, "fp32", layout)
    for pattern in PATTERNS
    for batch in (256, 1024, 4096, 16384)
    for layout in ("batch_first", "batch_last")
)[:1471]


def build(store: Store) -> None:
    """Write the runs, the newest night's measurements, and the tails of all nights before it."""
    runs = [_begin(store, night) for night in range(NIGHTS)]
    for run_id in runs[:-1]:
        store.finish_run(run_id)
    rng = np.random.default_rng(0)
    for first in range(0, len(PROBLEMS), 200):
        records = [one for problem in PROBLEMS[first : first + 200] for one in _records(problem, rng)]
        store.record_problem(runs[-1], records)
    store.finish_run(runs[-1])
    _write_tails(store, runs[:-1], rng)


def _begin(store: Store, night: int) -> int:
    revision = RevisionRecord(f"{night:040x}", subject=f"night {night}")
    at = START + timedelta(days=night)
    environment = EnvironmentRecord(host="load")
    return store.begin_run(RunRecord("nightly", DEVICE, environment, revision, "nightly", "measured", at))


def _records(problem: ProblemKey, rng: np.random.Generator) -> list[MeasurementRecord]:
    records, fused = [], 1.0
    for place, name in enumerate(IMPLEMENTATIONS):
        value = (1 + place) * (1 + 0.005 * rng.standard_normal())
        fused = value if name == "fused" else fused
        ends = (value * 0.996, value * 1.004)
        ratio = value / fused
        records.append(
            MeasurementRecord(
                problem, name, "ok", latency_ms=value, latency_low_ms=ends[0], latency_high_ms=ends[1],
                energy_mj=80 * value, energy_low_mj=80 * ends[0], energy_high_mj=80 * ends[1],
                ratio_to_fused=ratio, ratio_to_fused_low=0.996 * ratio, ratio_to_fused_high=1.004 * ratio,
                code_hash="0" * 64 if name == "fused" else None,
            )
        )  # fmt: skip
    return records


def _write_tails(store: Store, runs: list[int], rng: np.random.Generator) -> None:
    """The history of every series that the newest night has a point of, before that point."""
    with store.writing() as session:
        names = {row.id: row.implementation for row in session.execute(select(Cell.id, Cell.implementation))}
        query = select(SeriesTail.device_id, SeriesTail.cell_id, SeriesTail.metric, SeriesTail.newest_run_id)
        tails = session.execute(query.add_columns(SeriesTail.points)).all()
        rows = []
        for device_id, cell_id, metric, newest_run_id, packed in tails:
            base = IMPLEMENTATIONS.index(names[cell_id]) + 1
            level = {"latency_ms": base, "energy_mj": 80 * base}.get(metric, 2.0)
            points = np.zeros(len(runs) + 1, dtype=POINT_DTYPE)
            points["run_id"][:-1] = runs
            points["value"][:-1] = level * (1 + 0.005 * rng.standard_normal(len(runs)))
            points["low"], points["high"] = 0.996 * points["value"], 1.004 * points["value"]
            points[-1] = np.frombuffer(packed, dtype=POINT_DTYPE)[-1]
            recent, older = split_tail(points.tobytes())
            key = {"device_id": device_id, "cell_id": cell_id, "metric": metric}
            rows.append(key | {"newest_run_id": newest_run_id, "points": recent, "older": older})
        insert_rows(session, SeriesTail, rows, replace=True)


def main() -> None:
    what, path = sys.argv[1:]
    store = Store.open(f"sqlite:///{path}")
    if what == "build":
        build(store)
        return
    started, cpu = time.perf_counter(), time.process_time()
    (judgement,) = judge(store, None, CiConfig(), now=START).judgements
    seconds = time.perf_counter() - started
    gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    cpu_seconds = time.process_time() - cpu
    judged = sum(one.comparable_runs > 0 for one in judgement.verdicts)
    print(json.dumps({"series": judged, "seconds": seconds, "cpu_seconds": cpu_seconds, "gib": gib}))


if __name__ == "__main__":
    main()
