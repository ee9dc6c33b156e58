"""Tuning: measure a problem's candidate tiles like implementations, and keep the fastest correct one.

The measuring loop checks every candidate against float64 before and after timing, interleaves their visits
and gives each median an interval; an incorrect tile is refused like any incorrect result.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import psutil
import torch

from kswatch.db.compiled_code import tuned_tiles
from kswatch.db.compiled_code.tuned_tiles import TunedTileRecord
from kswatch.db.coordination import leases
from kswatch.db.records import COMPARABLE, FUSED, MeasurementRecord
from kswatch.db.store import Store
from kswatch.kernels.fused import tuning
from kswatch.kernels.fused.artifacts import tuned_tiles as tuned
from kswatch.kernels.fused.tuning import Candidate, TiledFused
from kswatch.kernels.problem import Problem
from kswatch.profiler.devices.discovery import Target
from kswatch.profiler.empty_records import problem_key, product_of
from kswatch.profiler.liveness.device_lease import hold_device
from kswatch.profiler.measurement.loop import measure_problem
from kswatch.profiler.planning.budget import TimeBudget
from kswatch.profiler.runs.progress import Progress
from kswatch.profiler.settings import MeasureSettings

LEASE_S = 600.0
"""Lease of the device without a heartbeat: time to compile and measure one problem."""

Candidates = Callable[[Problem, torch.device, int], list[Candidate]]


@dataclass(frozen=True)
class TunedTile:
    """The fastest correct tile of a problem."""

    problem: str
    tile: str
    latency_ms: float
    speedup_over_model: float | None
    """Latency of the cost model's tile over this one's, paired in rounds; 1 for the model's own tile."""
    candidates: int
    refused: int


@dataclass(frozen=True)
class TuningResult:
    """Result of a search."""

    device: str
    architecture: str
    source_hash: str
    found: list[TunedTile] = field(default_factory=list)
    known: int = 0
    """Number of problems that were skipped because the store has their tiles."""
    without: list[str] = field(default_factory=list)
    """Problems without a correct tile that is fast enough, each with the reason."""
    left: int = 0
    """Number of problems that the budget or a signal left for the next search."""


@dataclass(frozen=True)
class TuningLimits:
    """Extent of a search."""

    most: int = 12
    """Maximum number of candidates per problem."""
    settings: MeasureSettings = MeasureSettings()
    candidates: Candidates = tuning.candidates


def tune(
    store: Store,
    target: Target,
    problems: Sequence[Problem],
    *,
    limits: TuningLimits = TuningLimits(),  # noqa: B008 (frozen)
    budget: TimeBudget | None = None,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> TuningResult:
    """Find tiles for the problems that have none in the store, which receives each as soon as it is found.

    Problems that the budget does not hold are left, and those after the current one when `stop` is set.

    Raises:
        MeasurementError: another process holds the device, or the device no longer responds.
        UnsupportedError: the fused product is not available here.
    """
    device = torch.device(target.torch_device)
    result = TuningResult(target.record.uuid, tuning.architecture(device), tuning.source_hash(device))
    known = {record.problem for record in tuned_tiles.of_device(store, result.device, result.source_hash)}
    todo = [problem for problem in problems if problem_key(problem) not in known]
    result = replace(result, known=len(problems) - len(todo), left=len(todo))
    budget, progress = budget or TimeBudget(None), progress or Progress()
    progress.begin(f"tune {result.architecture}", len(todo), len(todo) * limits.most)
    with hold_device(store, target.record.uuid, LEASE_S) as lease:
        for place, problem in enumerate(todo):
            if (stop and stop.is_set()) or not budget.holds(budget.spent_s / place if place else 0.0):
                break
            progress.starting(problem)
            candidates, records = _measure_candidates(problem, target, limits, place)
            result = _with_tile(store, target, result, problem, candidates, records)
            leases.heartbeat(store, lease, LEASE_S)
            progress.recorded(records)
    progress.end(f"{len(result.found)} tiles found, {result.known} known before, {result.left} left")
    return result


def _measure_candidates(
    problem: Problem, target: Target, limits: TuningLimits, seed: int
) -> tuple[list[Candidate], list[MeasurementRecord]]:
    """The candidates with their measurements; all ratios are to the first one, the cost model's."""
    candidates = limits.candidates(problem, torch.device(target.torch_device), limits.most)
    names = [FUSED, *(candidate.name for candidate in candidates[1:])]
    tiled = [TiledFused(candidate, name) for candidate, name in zip(candidates, names, strict=True)]
    records = measure_problem(problem, tiled, target, limits.settings, seed=seed)
    return candidates, records[: len(tiled)]  # further records are hot measurements


def _with_tile(
    store: Store,
    target: Target,
    result: TuningResult,
    problem: Problem,
    candidates: Sequence[Candidate],
    records: Sequence[MeasurementRecord],
) -> TuningResult:
    """The result with this problem's tile, after it was stored."""
    left = result.left - 1
    correct = [pair for pair in zip(candidates, records, strict=True) if pair[1].status in COMPARABLE]
    if not correct:
        return replace(result, left=left, without=[*result.without, f"{problem}: {records[0].reason}"])
    best, measured = fastest(correct)
    assert measured.latency_ms is not None
    found = TunedTileRecord(
        problem=problem_key(problem),
        tile=best.name,
        latency_ms=measured.latency_ms,
        latency_low_ms=measured.latency_low_ms,
        latency_high_ms=measured.latency_high_ms,
        model_latency_ms=_model_ms(best, target),
        candidates=len(correct),
        refused=len(records) - len(correct),
        tuned_at=datetime.now(UTC),
    )
    tuned_tiles.record(store, target.record, result.source_hash, found)
    speedup = 1.0 if measured.implementation == FUSED else None
    if measured.ratio_to_fused:
        speedup = 1 / measured.ratio_to_fused
    tile = TunedTile(str(problem), best.name, found.latency_ms, speedup, found.candidates, found.refused)
    return replace(result, left=left, found=[*result.found, tile])


def fastest(
    correct: Sequence[tuple[Candidate, MeasurementRecord]],
) -> tuple[Candidate, MeasurementRecord]:
    """The fastest candidate; the cost model's tile unless another one is significantly faster."""
    best = min(correct, key=lambda pair: pair[1].latency_ms or float("inf"))
    model = correct[0]
    high = best[1].ratio_to_fused_high
    if model[1].implementation == FUSED and (high is None or high >= 1):
        return model
    return best


def _model_ms(candidate: Candidate, target: Target) -> float | None:
    """The cost model's estimate in ms; None where the clock is unknown."""
    if target.record.kind == "cpu":
        frequency, cores = psutil.cpu_freq(), target.record.multiprocessors or 1
        return candidate.cycles / cores / frequency.current / 1e3 if frequency else None
    khz = getattr(torch.cuda.get_device_properties(target.torch_device), "clock_rate", None)
    return candidate.cycles / khz if khz else None


def export(store: Store, result: TuningResult, path: Path) -> int:
    """Write all tiles of the device and its kernel sources to a table; returns their number.

    Raises:
        UsageError: the file exists and is not a table of tiles.
    """
    found = tuned_tiles.of_device(store, result.device, result.source_hash)
    tiles = {product_of(record.problem): record.tile for record in found}
    return tuned.write(path, result.architecture, tiles)
