"""Simulated nights of a fictitious device with planted regressions, stored with origin `simulated`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from kswatch.ci.simulation import residuals
from kswatch.ci.simulation.season import time_of
from kswatch.db.records import (
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
from kswatch.errors import UsageError

DEVICE = DeviceRecord("SIMULATED-0", "cuda", "Simulated GPU", simulated=True, architecture="sm_90")
ENVIRONMENT = EnvironmentRecord(host="simulated", driver="0.0", cuda="0.0", torch="0.0")
BASE_MS = {"fused": 0.5, "bmm": 0.8, "bmm_strided": 0.9, "dense": 2.0}
"""Latencies of one product; only their changes matter."""
PROBLEMS = tuple(
    ProblemKey(a, b, b, d, 4096, precision, layout)
    for a, b, d in ((1, 48, 1), (2, 64, 4), (4, 96, 2), (8, 32, 32))
    for precision in ("fp32", "bf16")
    for layout in ("batch_first", "batch_last")
)
WITHIN = 0.002
"""Standard error of a median within a run."""
BETWEEN = 0.005
"""Noise unit between nights, the noise being that of real series (`residuals`); half of a night's deviation
persists when it is measured again."""
MACHINE = 0.005
"""Standard deviation of the change that all latencies of a night share."""

_PLANT = re.compile(r"(\w+):([+-]?\d+(?:\.\d+)?)%@(\d+)(?:-(\d+))?(?::(\w+))?")


@dataclass(frozen=True)
class Plant:
    """A planted change of an implementation's latencies from a first night to a last one."""

    implementation: str
    change: float
    first: int
    last: int | None
    precision: str | None

    @classmethod
    def parse(cls, text: str) -> Plant:
        """`IMPLEMENTATION:CHANGE%@FIRST[-LAST][:PRECISION]`, as in fused:+5%@20-40 or fused:+2%@30:bf16.

        Raises:
            UsageError: the text is malformed, or the implementation is not simulated.
        """
        found = _PLANT.fullmatch(text)
        if found is None:
            raise UsageError(
                f"{text!r} is not a planted change; write IMPLEMENTATION:CHANGE%@FIRST-LAST, "
                "as in fused:+5%@20-40"
            )
        name, change, first, last, precision = found.groups()
        if name not in BASE_MS:
            raise UsageError(f"{name!r} is not simulated; choose from {', '.join(BASE_MS)}")
        if precision not in (None, *(problem.precision for problem in PROBLEMS)):
            raise UsageError(f"{precision!r} is not simulated; choose from fp32, bf16")
        return cls(name, float(change) / 100, int(first), int(last) if last else None, precision)

    def factor(self, night: int, implementation: str, problem: ProblemKey) -> float:
        """The factor of a latency on this night."""
        active = self.first <= night <= (self.last if self.last is not None else night)
        affected = implementation == self.implementation and self.precision in (None, problem.precision)
        return 1 + self.change if active and affected else 1.0


class NightSimulator:
    """Records one night after another, and confirming runs of the same night; a `NightRecorder`."""

    def __init__(self, store: Store, plants: Sequence[Plant], seed: int, nights: int) -> None:
        self._store = store
        self._plants = plants
        self._rng = np.random.default_rng(seed)
        noise = residuals.draw(self._rng, len(PROBLEMS) * len(BASE_MS), nights)
        cells = ((problem, name) for problem in PROBLEMS for name in BASE_MS)
        self._own = dict(zip(cells, BETWEEN * noise, strict=True))
        self._machine = 0.0

    def record_night(self, night: int) -> int:
        """Record a whole night; returns its run id."""
        self._machine = 0.7 * self._machine + MACHINE * np.sqrt(1 - 0.7**2) * self._rng.standard_normal()
        return self._run(night, PROBLEMS, "nightly", None)

    def record_confirmation(self, night: int, wanted: ConfirmationRequest, request_id: int) -> int:
        """Record the flagged problems, measured again on the same night; returns the run id."""
        return self._run(night, wanted.problem, "confirm", request_id)

    def _run(self, night: int, problems: Sequence[ProblemKey], kind: RunKind, request_id: int | None) -> int:
        at = time_of(night)
        commit = hashlib.sha1(f"simulated night {night}".encode()).hexdigest()
        revision = RevisionRecord(commit, at, f"simulated revision of night {night}", "simulated")
        run_id = self._store.begin_run(
            RunRecord(
                "simulated",
                DEVICE,
                ENVIRONMENT,
                revision,
                kind,
                "simulated",
                at,
                seed=night,
                request_id=request_id,
            )
        )
        records = []
        for problem in problems:
            times = {name: self._time_ms(night, problem, name, kind) for name in BASE_MS}
            records += [self._record(night, problem, name, times) for name in BASE_MS]
        self._store.record_problem(run_id, records)
        self._store.record_canaries(run_id, self._canaries())
        self._store.finish_run(run_id, "finished", 60.0, 1.0, at + timedelta(minutes=1))
        return run_id

    def _time_ms(self, night: int, problem: ProblemKey, name: str, kind: RunKind) -> float:
        own = float(self._own[problem, name][night])
        if kind == "confirm":
            own = 0.5 * own + BETWEEN * np.sqrt(0.75) * self._rng.standard_normal()
        planted = np.prod([plant.factor(night, name, problem) for plant in self._plants])
        noise = own + self._machine + WITHIN * self._rng.standard_normal()
        return float(BASE_MS[name] * planted * np.exp(noise))

    def _record(
        self, night: int, problem: ProblemKey, name: str, times: dict[str, float]
    ) -> MeasurementRecord:
        time_ms, ratio = times[name], times[name] / times["fused"]
        half = Z_95 * WITHIN
        code = [plant.factor(night, name, problem) for plant in self._plants] if name == "fused" else None
        return MeasurementRecord(
            problem,
            name,
            "ok",
            latency_ms=time_ms,
            latency_low_ms=time_ms * (1 - half),
            latency_high_ms=time_ms * (1 + half),
            ratio_to_fused=ratio,
            ratio_to_fused_low=ratio * (1 - half),
            ratio_to_fused_high=ratio * (1 + half),
            sm_clock_mhz=1700.0,
            temperature_c=60.0,
            code_hash=hashlib.sha256(f"{problem}{code}".encode()).hexdigest() if code else None,
        )

    def _canaries(self) -> list[CanaryRecord]:
        times = [float(np.exp(self._machine + WITHIN * self._rng.standard_normal())) for _ in range(2)]
        return [
            CanaryRecord("start", "copy", "fp32", times[0], 1e9 / times[0]),
            CanaryRecord("start", "gemm", "fp32", times[1], 1e9 / times[1]),
        ]
