"""A simulated year, recorded night by night as a real machine's would be, confirmations included."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from hashlib import sha1

import numpy as np

from kswatch.ci.simulation.season import time_of
from kswatch.db.paired_runs import ratios
from kswatch.db.paired_runs.paired_record import BASE, HEAD, SIDE, PairedReading
from kswatch.db.records import (
    CONFIRM,
    CanaryRecord,
    DeviceRecord,
    EnvironmentRecord,
    MeasurementRecord,
    ProblemKey,
    RevisionRecord,
    RunKind,
    RunRecord,
)
from kswatch.db.request_queue.confirmation import ConfirmationRequest
from kswatch.db.statistics import Z_95
from kswatch.db.store import Store
from tests.benchmarks.simulation.year import CELLS, COUNT, PROBLEMS, Year

DEVICE = DeviceRecord("SIMULATED-YEAR", "cuda", "Simulated GPU", simulated=True, architecture="sm_90")
ROWS = {cell: row for row, cell in enumerate(CELLS)}


class YearRecorder:
    """Records the nights of a year; a `NightRecorder`."""

    def __init__(self, store: Store, year: Year) -> None:
        self._store, self._year = store, year
        self.nights: dict[int, int] = {}
        """The night of each nightly run."""
        self._night_of_commit: dict[str, int] = {}

    def record_night(self, night: int) -> int:
        """Record every cell; returns the run id."""
        of = self._year
        run_id = self._begin(night, "nightly")
        self._store.record_problem(run_id, list(self._records(night, PROBLEMS, of.times_ms, of.throttled)))
        self._finish(run_id, night)
        self.nights[run_id] = night
        return run_id

    def record_confirmation(self, night: int, wanted: ConfirmationRequest, request_id: int) -> int | None:
        """Record the flagged cells again: in pairs with the last good revision, or alone."""
        if self._year.assumptions.interleaved:
            good = self._night_of_commit.get(wanted.good_revision or "")
            return None if good is None else self._record_pairs(night, good, wanted, request_id)
        run_id = self._begin(night, CONFIRM, request_id)
        records = self._records(
            night, wanted.problem, self._year.again_ms, np.zeros_like(self._year.throttled)
        )
        self._store.record_problem(run_id, list(records))
        self._finish(run_id, night)
        return run_id

    def _record_pairs(self, night: int, good: int, wanted: ConfirmationRequest, request_id: int) -> int:
        of, runs = self._year, {}
        cells = [(problem, name) for problem in wanted.problem for name in wanted.flagged]
        for pair in range(of.assumptions.pairs):
            runs = {side: self._begin(night, CONFIRM, request_id, side) for side in (BASE, HEAD)}
            readings = []
            for problem, name in cells:
                row = ROWS[problem, name]
                truth = of.planted[row, night] - of.planted[row, good]
                ratio = float(np.exp(truth + of.between_processes[pair, row, night]))
                base = MeasurementRecord(problem, name, "ok", latency_ms=float(of.again_ms[row, night]))
                head = MeasurementRecord(
                    problem, name, "ok", latency_ms=ratio * float(of.again_ms[row, night])
                )
                readings.append(PairedReading(problem, name, base, head, (ratio,)))
            self._store.record_problem(runs[BASE], [one.base for one in readings])
            self._store.record_problem(runs[HEAD], [one.head for one in readings])
            ratios.record(self._store, runs[HEAD], runs[BASE], readings)
            for run_id in runs.values():
                self._finish(run_id, night)
        return runs[HEAD]

    def _begin(
        self, night: int, kind: RunKind, request_id: int | None = None, side: str | None = None
    ) -> int:
        at = time_of(night)
        commit = sha1(f"simulated night {night}".encode()).hexdigest()
        self._night_of_commit[commit] = night
        environment = EnvironmentRecord(host="simulated", driver=str(self._year.segment[night]))
        revision = RevisionRecord(commit, at, f"simulated revision of night {night}", "simulated")
        arguments = {} if side is None else {SIDE: side}
        record = RunRecord(
            "simulated", DEVICE, environment, revision, kind, "simulated", at,
            seed=night, request_id=request_id, arguments=arguments,
        )  # fmt: skip
        return self._store.begin_run(record)

    def _finish(self, run_id: int, night: int) -> None:
        times = [float(self._year.canary_ms[night])] * 2
        canaries = [
            CanaryRecord("start", name, "fp32", time_ms, 1e9 / time_ms)
            for name, time_ms in zip(("copy", "gemm"), times, strict=True)
        ]
        self._store.record_canaries(run_id, canaries)
        self._store.finish_run(run_id, "finished", 60.0, 1.0, time_of(night) + timedelta(minutes=1))

    def _records(
        self, night: int, problems: Sequence[ProblemKey], times_ms: np.ndarray, throttled: np.ndarray
    ) -> Iterator[MeasurementRecord]:
        half = Z_95 * self._year.assumptions.within
        code = f"code {self._year.code[night]}"
        for problem in problems:
            place = PROBLEMS.index(problem)
            fused_ms = float(times_ms[place, night])
            for row in range(place, len(CELLS), COUNT):
                time_ms = float(times_ms[row, night])
                ratio = time_ms / fused_ms
                yield MeasurementRecord(
                    problem,
                    CELLS[row][1],
                    "ok",
                    latency_ms=time_ms,
                    latency_low_ms=time_ms * (1 - half),
                    latency_high_ms=time_ms * (1 + half),
                    ratio_to_fused=ratio,
                    ratio_to_fused_low=ratio * (1 - half),
                    ratio_to_fused_high=ratio * (1 + half),
                    flags=("thermal_slowdown",) if throttled[row, night] else (),
                    code_hash=code if row < COUNT else None,
                )
