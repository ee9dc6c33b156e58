"""Nights with planted truths, written through the real store."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np

from kswatch.db.records import (
    CanaryRecord,
    DeviceRecord,
    EnvironmentRecord,
    MeasurementRecord,
    ProblemKey,
    RevisionRecord,
    RunRecord,
)
from kswatch.db.store import Store

START = datetime(2026, 1, 1, 2, 0, tzinfo=UTC)
DEVICE = DeviceRecord(uuid="GPU-1111", kind="cuda", model="Tesla Planted")
PROBLEMS = tuple(ProblemKey(a, 48, 48, d, 1024, "fp32", "batch_last") for a in (1, 4) for d in (1, 2, 16))
IMPLEMENTATIONS = ("fused", "bmm", "dense")
BASE_MS = {"fused": 1.0, "bmm": 1.5, "dense": 4.0, "compiled": 1.2, "triton": 2.0}


@dataclass
class Nights:
    """Writes one nightly run after another; what a test plants is an argument of `night`."""

    store: Store
    noise: float = 0.002
    half_width: float = 0.003
    device: DeviceRecord = DEVICE
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))
    count: int = 0

    def quiet(self, nights: int, **planted) -> list[int]:
        return [self.night(**planted) for _ in range(nights)]

    def night(
        self,
        factors=None,
        *,
        problems=PROBLEMS,
        implementations=IMPLEMENTATIONS,
        canary: float = 1.0,
        driver: str = "550.1",
        kind: str = "nightly",
        origin: str = "measured",
        flags: dict | None = None,
        statuses: dict | None = None,
        energy: bool = False,
        state: str = "finished",
        libraries: dict | None = None,
        floor_ms: float | None = None,
    ) -> int:
        """Record one run and give its id.

        Args:
            factors: by implementation, or by (implementation, problem): what its time is multiplied with.
            problems: what is measured.
            implementations: by whom.
            canary: what the canaries' time is multiplied with.
            driver: of the environment.
            kind: of the run.
            origin: of the run.
            flags: by (implementation, problem).
            statuses: by (implementation, problem): another status than ok.
            energy: whether energy is read too; it follows time.
            state: in which the run ends.
            libraries: versions of the libraries of each rival.
            floor_ms: of every problem; None for no floor.
        """
        self.count += 1
        run_id = self.store.begin_run(
            RunRecord(
                suite="nightly",
                device=self.device,
                environment=EnvironmentRecord(host="planted", driver=driver),
                revision=RevisionRecord(commit=f"{self.count:040x}", subject=f"commit {self.count}"),
                kind=kind,
                origin=origin,
                started_at=START + timedelta(days=self.count),
                libraries=libraries or {},
            )
        )
        records = []
        for problem in problems:
            records += self._problem(
                problem, implementations, factors or {}, flags or {}, statuses or {}, energy, floor_ms
            )
        self.store.record_problem(run_id, records)
        self.store.record_canaries(run_id, [self._canary(name, canary) for name in ("copy", "gemm")])
        self.store.finish_run(run_id, state)
        return run_id

    def _problem(self, problem, implementations, factors, flags, statuses, energy, floor_ms):
        records = []
        fused = None
        for name in implementations:
            factor = factors.get((name, problem), factors.get(name, 1.0))
            time = BASE_MS[name] * factor * (1 + self.noise * self.rng.standard_normal())
            fused = time if name == "fused" else fused
            key = (name, problem)
            status = statuses.get(key, "ok")
            ok = status == "ok"
            ratio = time / fused
            spread = self.half_width
            records.append(
                MeasurementRecord(
                    problem=problem,
                    implementation=name,
                    status=status,
                    reason=None if ok else f"planted {status}",
                    latency_ms=time if ok else None,
                    latency_low_ms=time * (1 - spread) if ok else None,
                    latency_high_ms=time * (1 + spread) if ok else None,
                    ratio_to_fused=ratio if ok else None,
                    ratio_to_fused_low=ratio * (1 - spread) if ok else None,
                    ratio_to_fused_high=ratio * (1 + spread) if ok else None,
                    energy_mj=80 * time if ok and energy else None,
                    floor_ms=floor_ms,
                    floor_ratio=floor_ms / time if ok and floor_ms else None,
                    flags=tuple(flags.get(key, ())),
                )
            )
        return records

    def _canary(self, name, factor):
        time = factor * (1 + self.noise * self.rng.standard_normal())
        return CanaryRecord(position="start", name=name, precision="fp32", latency_ms=time, rate=1e9 / time)
