"""A store of simulated nights with planted truths, written only through db's public functions.

All of it is marked: devices, runs and revisions are marked simulated. Run as a script it
fills a store to show on the pages:

    python -m tests.dashboard.simulated_store sqlite:///simulated.db --nights 30 --patterns 24
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha1

from kswatch.ci.alerts.explanation import CELLS_LISTED
from kswatch.db.alerts import lifecycle
from kswatch.db.coordination import run_events, run_log
from kswatch.db.queries import basic as queries
from kswatch.db.records import (
    IMPLEMENTATIONS,
    KNOWN_IMPLEMENTATIONS,
    RIVALS,
    CanaryRecord,
    DeviceRecord,
    EnvironmentRecord,
    MeasurementRecord,
    PredictionRecord,
    ProblemKey,
    RevisionRecord,
    RunRecord,
    VerdictRecord,
)
from kswatch.db.store import Store
from kswatch.kernels.heuristics.catalogue import HEURISTICS
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from tests.dashboard.data.structured_cells import layer_cells, model_cells

NASTY = "<b>bold</b> **stars** [link](javascript:alert(1)) <script>window.planted=1</script> :red[x] $x^2$"
"""Planted where people or git write freely: it must appear on the pages exactly like this."""

FIRST_NIGHT = datetime(2026, 1, 5, 2, 0, tzinfo=UTC)
BANDWIDTH = {"sim-b200": 6.5e9, "sim-h200": 4.0e9, "sim-a100": 1.5e9, "sim-v100": 0.8e9}
"""Bytes per ms that the simulated devices move."""

SLOWDOWN: dict[str, float] = {
    "fused": 1.35,
    "bmm": 1.9,
    "bmm_strided": 1.7,
    "bmm_blockdense": 2.1,
    "einsum": 2.6,
    "bsr": 3.4,
    "csr": 9.0,
    "dense": 6.0,
    "compiled": 1.8,
    "lazylinop": 2.4,
    "triton": 1.5,
}
"""Time over the floor, before a pattern's own factor."""

HOT = ("fused", "bmm", "bmm_strided")
"""Implementations that a plan with `hot` measures with hot caches too."""

PATTERNS: tuple[str, ...] = (
    "6,64,64,1",
    "1,192,48,2",
    "2,48,192,1",
    "1,768,192,2",
    "6,64,256,1",
    "1,128,128,3",
    "4,48,48,16",
    "2,96,96,4",
    "1,256,256,8",
    "8,64,64,4",
    "3,128,128,1",
    "1,48,192,64",
)


@dataclass(frozen=True)
class Plan:
    """How much to simulate; a planted regression slows `fused` from its night on."""

    devices: tuple[str, ...] = ("sim-h200", "sim-a100")
    """Keys of `BANDWIDTH`; those of many such devices go on, as `sim-h200-07`."""
    nights: int = 6
    patterns: int = 6
    precisions: tuple[str, ...] = ("fp32", "bf16")
    layouts: tuple[str, ...] = ("batch_first", "batch_last")
    energy: bool = True
    regression_night: int | None = None
    new_driver_night: int | None = None
    samples: int = 40
    hot: bool = False
    """Whether some implementations are measured with hot caches too."""
    layers: bool = False
    """Whether a layer and a model are measured, too."""
    seed: int = 7
    first_night: datetime = FIRST_NIGHT
    host: str = "simulated-host"
    rivals: tuple[str, ...] = ()
    """Rivals that are installed; with any, the others are recorded as not installed."""
    new_library_night: int | None = None
    """From which on the libraries of the rivals have another version."""
    is_measured: bool = False
    """Whether runs count as measured, as for tests of what is kept from simulated ones."""

    @classmethod
    def until_now(cls, nights: int, **others: int) -> Plan:
        """Nights that end with the last one, with a new driver halfway and a regression last night."""
        last = datetime.now(UTC).replace(hour=2, minute=0, second=0, microsecond=0)
        first = last - timedelta(days=nights - 1)
        half = nights // 2
        return cls(
            nights=nights,
            first_night=first,
            regression_night=nights - 1,
            new_driver_night=half,
            hot=True,
            layers=True,
            **others,  # type: ignore[arg-type]
        )

    @property
    def implementations(self) -> tuple[str, ...]:
        """The implementations that every night measures."""
        return KNOWN_IMPLEMENTATIONS if self.rivals else IMPLEMENTATIONS

    def problems(self) -> list[ProblemKey]:
        """Patterns by precision by layout; beyond the known patterns, a grows."""
        texts = [PATTERNS[i % len(PATTERNS)] for i in range(self.patterns)]
        keys = []
        for index, text in enumerate(texts):
            pattern = Pattern.parse(text)
            grown = replace(pattern, a=pattern.a + index // len(PATTERNS))
            for precision in self.precisions:
                keys += [ProblemKey(*grown.as_tuple(), 1024, precision, layout) for layout in self.layouts]
        return keys


def fill(store: Store, plan: Plan) -> list[int]:
    """Write the plan's nights and give their run ids, oldest first."""
    return [
        _write_night(store, plan, device, night) for night in range(plan.nights) for device in plan.devices
    ]


def _write_night(store: Store, plan: Plan, device: str, night: int) -> int:
    noise = random.Random(f"{plan.seed} {device} {night}")
    started = plan.first_night + timedelta(days=night)
    run_id = store.begin_run(_run_record(plan, device, night, started))
    problems = plan.problems()
    store.record_canaries(run_id, list(_canaries(device, noise)))
    cells = [record for key in problems for record in _cells(plan, device, night, key, noise)]
    store.record_problem(run_id, cells)
    if plan.layers:
        store.record_problem(run_id, list(layer_cells(BANDWIDTH[device[:8]], NASTY, noise)))
        store.record_problem(run_id, list(model_cells(BANDWIDTH[device[:8]], NASTY, noise)))
    facts = queries.find_device(store, f"{device}-0000")
    store.record_predictions(run_id, list(_predictions(problems, {**facts.facts, **asdict(facts)})))
    run_log.log(store, run_id, [("info", f"simulated night {night} {NASTY}")])
    store.finish_run(run_id, "finished", 900.0, 90.0, started + timedelta(minutes=15))
    store.record_verdicts(run_id, list(_verdicts(plan, night, problems)))
    if night == plan.regression_night:
        fused_ms = {
            one.problem: one.latency_ms
            for one in cells
            if (one.implementation, one.mode) == ("fused", "cold")
        }
        _open_alert(store, run_id, fused_ms)
    return run_id


def _run_record(plan: Plan, device: str, night: int, started: datetime) -> RunRecord:
    new_driver = plan.new_driver_night is not None and night >= plan.new_driver_night
    return RunRecord(
        suite="nightly",
        device=DeviceRecord(
            uuid=f"{device}-0000",
            kind="cuda",
            model=f"Simulated {device.removeprefix('sim-').upper()}",
            simulated=not plan.is_measured,
            architecture="sm_90",
            memory_bytes=80 << 30,
        ),
        environment=EnvironmentRecord(
            host=plan.host, driver="590.10" if new_driver else "580.65", cuda="13.0", torch="2.13.0"
        ),
        revision=RevisionRecord(
            commit=sha1(f"simulated {night}".encode()).hexdigest(),
            committed_at=started,
            subject=f"simulated change {night} {NASTY}",
        ),
        kind="nightly",
        origin="measured" if plan.is_measured else "simulated",
        started_at=started,
        planned_cells=len(plan.problems()) * len(plan.implementations),
        libraries=_libraries(plan, night),
    )


def _libraries(plan: Plan, night: int) -> dict[str, object]:
    is_new = plan.new_library_night is not None and night >= plan.new_library_night
    return {name: {f"{name}-library": "2.0" if is_new else "1.0"} for name in plan.rivals}


def _canaries(device: str, noise: random.Random) -> Iterator[CanaryRecord]:
    for position in ("start", "middle", "end"):
        for name, rate in (("copy", BANDWIDTH[device[:8]] * 1e3), ("gemm", 6e14)):
            drift = noise.gauss(1, 0.004)
            yield CanaryRecord(position, name, "fp32", 1.0 / drift, rate * drift, 1980.0, 51.0)  # type: ignore[arg-type]


def _cells(
    plan: Plan, device: str, night: int, key: ProblemKey, noise: random.Random
) -> Iterator[MeasurementRecord]:
    problem = Problem(Pattern(key.a, key.b, key.c, key.d), key.batch, key.precision, key.layout)  # type: ignore[arg-type]
    floor_ms = problem.compulsory_bytes / BANDWIDTH[device[:8]]
    had = [name for name in plan.implementations if name not in RIVALS or name in plan.rivals]
    times = {name: _time_ms(plan, key, name, night, floor_ms, noise) for name in had}
    for name in plan.implementations:
        if name not in had:
            yield MeasurementRecord(key, name, "unsupported", reason=f"not installed: pip install x {NASTY}")
            continue
        cold = _cell(plan, key, name, times, floor_ms, problem, noise)
        yield cold
        if plan.hot and name in HOT and cold.latency_ms:
            yield _hot(cold)


def _hot(cold: MeasurementRecord) -> MeasurementRecord:
    """The same cell with its operands still in the cache: a fifth faster, no energy."""
    shares = {"latency_ms": 0.8, "latency_low_ms": 0.798, "latency_high_ms": 0.802}
    times = {name: share * (cold.latency_ms or 0.0) for name, share in shares.items()}
    no_energy = dict.fromkeys(("energy_mj", "energy_low_mj", "energy_high_mj", "energy_source", "power_w"))
    return replace(cold, mode="hot", samples_ms=(), **times, **no_energy)  # type: ignore[arg-type]


def _time_ms(
    plan: Plan, key: ProblemKey, name: str, night: int, floor_ms: float, noise: random.Random
) -> float:
    own = random.Random(f"{key.pattern} {key.layout} {name}").uniform(0.7, 1.5)
    slower = 1.12 if name == "fused" and plan.regression_night is not None else 1.0
    slower = slower if plan.regression_night is not None and night >= plan.regression_night else 1.0
    return floor_ms * SLOWDOWN[name] * own * slower * noise.gauss(1, 0.006)


def _cell(
    plan: Plan,
    key: ProblemKey,
    name: str,
    times: dict[str, float],
    floor_ms: float,
    problem: Problem,
    noise: random.Random,
) -> MeasurementRecord:
    if name == "bsr" and key.layout == "batch_last":
        return MeasurementRecord(key, name, "unsupported", reason=f"bsr has no batch_last {NASTY}")
    time, ratio = times[name], times[name] / times["fused"]
    power = 400.0 + 60 * noise.random()
    return MeasurementRecord(
        key,
        name,
        "ok",
        latency_ms=time,
        latency_low_ms=time * 0.995,
        latency_high_ms=time * 1.005,
        latency_p25_ms=time * 0.99,
        latency_p75_ms=time * 1.01,
        sample_count=plan.samples,
        ratio_to_fused=ratio,
        ratio_to_fused_low=ratio * 0.99,
        ratio_to_fused_high=ratio * 1.01,
        energy_mj=power * time if plan.energy else None,
        energy_low_mj=power * time * 0.98 if plan.energy else None,
        energy_high_mj=power * time * 1.02 if plan.energy else None,
        energy_source="simulated" if plan.energy else None,
        energy_reason=None if plan.energy else f"no counter on this device {NASTY}",
        power_w=power if plan.energy else None,
        second_power_w=power * noise.gauss(1, 0.01) if plan.energy else None,
        energy_tick_ms=20.0 if plan.energy else None,
        sm_clock_mhz=1980.0,
        temperature_c=55.0,
        event_reasons="sw_power_cap" if power > 455 else None,
        bytes_moved=problem.compulsory_bytes,
        flops=problem.flops,
        floor_ms=floor_ms,
        floor_ratio=floor_ms / time,
        relative_error=1e-6,
        code_hash="simulated" if name == "fused" else None,
        tile="64x64x32" if name == "fused" else None,
        samples_ms=tuple(time * noise.gauss(1, 0.01) for _ in range(plan.samples)),
    )


def _predictions(problems: list[ProblemKey], facts: dict[str, object]) -> Iterator[PredictionRecord]:
    for key in problems:
        problem = Problem(Pattern(key.a, key.b, key.c, key.d), key.batch, key.precision, key.layout)  # type: ignore[arg-type]
        for heuristic in HEURISTICS:
            prediction = heuristic.predict(problem, facts)
            yield PredictionRecord(
                key,
                heuristic.name,
                heuristic.version,
                prediction.predicts_fused,
                prediction.predicted_speedup,
            )


def _verdicts(plan: Plan, night: int, problems: list[ProblemKey]) -> Iterator[VerdictRecord]:
    """On the night of the planted regression every fused cell is slower, the others are the same."""
    for key in problems:
        for name in IMPLEMENTATIONS:
            slower = name == "fused" and night == plan.regression_night
            yield VerdictRecord(
                key,
                name,
                "latency_ms",
                verdict="slower" if slower else "same",
                value=1.12 if slower else 1.0,
                cause="code" if slower else None,
                level=1.0,
                change=0.12 if slower else 0.001,
                change_low=0.11 if slower else -0.004,
                change_high=0.13 if slower else 0.006,
                comparable_runs=night,
                reason=f"planted {NASTY}" if slower else None,
            )


def _open_alert(store: Store, run_id: int, problems: dict[ProblemKey, float]) -> None:
    """The alert that judging would open on the planted regression, and a note."""
    run = queries.run(store, run_id)
    cells = [
        vars(key)
        | {"pattern": key.pattern, "implementation": "fused", "metric": "latency_ms"}
        | {"level": ms / 1.12, "value": ms, "change": 0.12, "change_low": 0.11, "change_high": 0.13}
        for key, ms in list(problems.items())[:CELLS_LISTED]
    ]
    shown = ("pattern", "batch", "precision", "layout", "implementation", "metric")
    shown += ("level", "value", "change", "change_low", "change_high")
    lifecycle.open_alert(
        store,
        lifecycle.NewAlert(
            device_id=run.device_id,
            run_id=run_id,
            verdict="slower",
            cause="code",
            metric="latency_ms",
            implementation="fused",
            title=f"fused slower: {len(problems)} problems, worst +12.0 % {NASTY}",
            worst_change=0.12,
            explanation={
                "problems": len(problems),
                "cells": [{name: cell[name] for name in shown} for cell in cells],
                "first_bad_run": run_id,
                "last_good_run": max(run_id - 2, 1),
                "revisions": {"good": "a" * 9, "bad": run.revision.commit[:9] if run.revision else None},
                "environment_changes": [],
                "canary_change": None,
                "differences": {
                    "readings": [{"name": "sm_clock_mhz", "before": 1980.0, "after": 1905.0}],
                    "code": {
                        "cells_known": len(problems),
                        "cells_changed": len(problems),
                        "resources": [{"kernel": NASTY, "name": "registers", "before": 128, "after": 168}],
                    },
                    "counters": [],
                },
            },
            confirmed=True,
        ),
    )
    run_events.add_run_event(store, run_id, "note", "a user", f"the cooling was serviced {NASTY}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Fill a store with simulated nights.")
    parser.add_argument("url")
    parser.add_argument("--nights", type=int, default=30)
    parser.add_argument("--patterns", type=int, default=12)
    parser.add_argument("--samples", type=int, default=40)
    given = parser.parse_args()
    plan = Plan.until_now(given.nights, patterns=given.patterns, samples=given.samples)
    store = Store.open(given.url)
    fill(store, plan)


if __name__ == "__main__":
    main()
