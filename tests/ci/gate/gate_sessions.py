"""Two revisions of known truth, as a gate sees them: ratios are drawn, nothing is measured."""

from __future__ import annotations

import math

import numpy as np

from kswatch.db.paired_runs.paired_record import BrokenRevision, PairedReading
from kswatch.db.records import MeasurementRecord, ProblemKey, RevisionRecord

BASE, HEAD = RevisionRecord("a" * 40, subject="base"), RevisionRecord("b" * 40, subject="head")


def problems(count: int) -> list[ProblemKey]:
    return [ProblemKey(1 + number, 48, 48, 1, 1024, "fp32", "batch_first") for number in range(count)]


class SimulatedSession:
    """Cells of `fused`; rounds scatter, processes differ from pair to pair, some rounds are disturbed."""

    def __init__(
        self,
        cells: int = 26,
        *,
        truth: dict[int, float] | None = None,
        rounds: float = 0.02,
        processes: float = 0.005,
        disturbed: float = 0.0,
        statuses: dict[int, str] | None = None,
        cycles: float | None = None,
        seed: int = 0,
    ) -> None:
        self.base, self.head, self.notes = BASE, HEAD, ()
        self.device, self.budget_s = "cpu-drawn", 600.0
        self.runs: dict[str, int] = {}
        self.cells = {problem: ("fused",) for problem in problems(cells)}
        self.broken: BrokenRevision | None = None
        self.requested: list[list[ProblemKey]] = []
        self.closed = 0
        self._truth, self._statuses, self._cycles = truth or {}, statuses or {}, cycles
        self._spread = (rounds, processes, disturbed)
        self._random = np.random.default_rng(seed)

    def readings(self, cells, rounds, swapped=False):
        self.requested.append(list(cells))
        try:
            if self.broken:
                yield self.broken
                return
            for problem in cells:
                yield self._reading(problem, rounds)
        finally:
            self.closed += 1

    def _reading(self, problem: ProblemKey, rounds: int) -> PairedReading:
        number = problem.a - 1
        status = self._statuses.get(number, "ok")
        base = MeasurementRecord(
            problem, "fused", "ok", latency_ms=1.0, cycles=1000.0 if self._cycles else None
        )
        change = self._truth.get(number, 0.0)
        head = MeasurementRecord(
            problem,
            "fused",
            status,
            reason=None if status == "ok" else f"planted {status}",
            latency_ms=1.0 + change,
            cycles=1000.0 * self._cycles if self._cycles else None,
        )
        return PairedReading(
            problem, "fused", base, head, self._ratios(change, rounds) if status == "ok" else ()
        )

    def _ratios(self, change: float, rounds: int) -> tuple[float, ...]:
        scatter, between, disturbed = self._spread
        logs = math.log1p(change) + between * self._random.standard_normal()
        logs = logs + scatter * self._random.standard_normal(rounds)
        hit = self._random.random(rounds) < disturbed
        logs = np.where(hit, self._random.normal(0, 1.0, rounds), logs)
        return tuple(np.exp(logs))
