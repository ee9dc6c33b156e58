"""The search for tiles: a problem's candidates race as implementations do, and the fastest right one is kept.

The measuring loop checks every candidate against float64 before it is timed and after, visits them in
turns and gives each median an interval: a wrong tile is refused like any wrong result.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import torch

from kswatch.db.compiled_code import tuned_tiles
from kswatch.db.compiled_code.tuned_tiles import TunedTileRecord
from kswatch.db.coordination import leases
from kswatch.db.records import COMPARABLE, MeasurementRecord, ProblemKey
from kswatch.db.store import Store
from kswatch.kernels.fused import tuning
from kswatch.kernels.fused.artifacts import tuned_tiles as tuned
from kswatch.kernels.fused.tuning import Candidate, TiledFused
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from kswatch.profiler.backends.base import Bench
from kswatch.profiler.devices.discovery import Target
from kswatch.profiler.empty_records import problem_key
from kswatch.profiler.liveness.device_lease import holding
from kswatch.profiler.measurement.cell import REFERENCE
from kswatch.profiler.measurement.loop import measure_problem
from kswatch.profiler.planning.budget import Budget
from kswatch.profiler.runs.progress import Progress
from kswatch.profiler.settings import MeasureSettings

SILENT_S = 600.0
"""How long the device is held without a sign: one problem's compiling and measuring."""

Candidates = Callable[[Problem, torch.device, int], list[Candidate]]


@dataclass(frozen=True)
class Found:
    """The fastest right tile of a problem."""

    problem: str
    tile: str
    latency_ms: float
    speedup_over_model: float | None
    """The time of the tile that goes by the model over this one's, paired in rounds; 1 where it stays."""
    candidates: int
    refused: int


@dataclass(frozen=True)
class Search:
    """What a search did."""

    device: str
    architecture: str
    source_hash: str
    found: list[Found] = field(default_factory=list)
    known: int = 0
    """Problems passed over, since the store has their tiles."""
    without: list[str] = field(default_factory=list)
    """Problems that no tile was right and fast enough for."""
    left: int = 0
    """Problems that the budget or a signal left for the next time."""


@dataclass(frozen=True)
class Rules:
    """How far a search goes."""

    most: int = 12
    """Candidates of a problem."""
    settings: MeasureSettings = MeasureSettings()
    candidates: Candidates = tuning.candidates


def tune(
    store: Store,
    target: Target,
    problems: Sequence[Problem],
    *,
    rules: Rules = Rules(),  # noqa: B008 (frozen)
    budget: Budget | None = None,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
    bench: Bench | None = None,
) -> Search:
    """Search tiles for the problems that the store has none of, problem by problem.

    Args:
        store: Where each tile is kept as soon as it is found.
        target: The device to search on; nobody else may be measuring there.
        problems: In the order of the search.
        rules: How far it goes.
        budget: After it what is left is left.
        progress: Told what happens.
        stop: When set, the search ends after the problem under way.
        bench: The device as the loop sees it; made from `target` unless given.

    Raises:
        MeasurementError: somebody else holds the device, or it no longer answers.
        UnsupportedError: there is no fused product to be had here.
    """
    device = torch.device(target.torch_device)
    search = Search(target.record.uuid, tuning.architecture(device), tuning.source_hash(device))
    known = {one.problem for one in tuned_tiles.of_device(store, search.device, search.source_hash)}
    todo = [problem for problem in problems if problem_key(problem) not in known]
    search = replace(search, known=len(problems) - len(todo), left=len(todo))
    budget, progress = budget or Budget(None), progress or Progress()
    progress.begin(f"tune {search.architecture}", len(todo), len(todo) * rules.most)
    with holding(store, target.record.uuid, SILENT_S) as held:
        for place, problem in enumerate(todo):
            if (stop and stop.is_set()) or not budget.holds(budget.spent_s / place if place else 0.0):
                break
            progress.starting(problem)
            tried, records = _race(problem, target, rules, place, bench)
            search = _kept(store, target, search, problem, tried, records)
            leases.heartbeat(store, held, SILENT_S)
            progress.recorded(records)
    progress.end(f"{len(search.found)} tiles found, {search.known} were known, {search.left} are left")
    return search


def _race(
    problem: Problem, target: Target, rules: Rules, seed: int, bench: Bench | None
) -> tuple[list[Candidate], list[MeasurementRecord]]:
    """The candidates with their measurements; the first one is the model's, to which all are paired."""
    tried = rules.candidates(problem, torch.device(target.torch_device), rules.most)
    names = [REFERENCE, *(candidate.name for candidate in tried[1:])]
    racers = [TiledFused(candidate, name) for candidate, name in zip(tried, names, strict=True)]
    records = measure_problem(problem, racers, target, rules.settings, seed=seed, bench=bench)
    return tried, records[: len(racers)]  # beyond them: what was timed hot too


def _kept(
    store: Store,
    target: Target,
    search: Search,
    problem: Problem,
    tried: Sequence[Candidate],
    records: Sequence[MeasurementRecord],
) -> Search:
    """The search with this problem's tile, which is in the store by then."""
    left = search.left - 1
    right = [pair for pair in zip(tried, records, strict=True) if pair[1].status in COMPARABLE]
    if not right:
        return replace(search, left=left, without=[*search.without, f"{problem}: {records[0].reason}"])
    best, measured = fastest(right)
    assert measured.latency_ms is not None
    found = TunedTileRecord(
        problem=problem_key(problem),
        tile=best.name,
        latency_ms=measured.latency_ms,
        latency_low_ms=measured.latency_low_ms,
        latency_high_ms=measured.latency_high_ms,
        model_latency_ms=_model_ms(best, target),
        candidates=len(right),
        refused=len(records) - len(right),
        tuned_at=tuned_tiles.now(),
    )
    tuned_tiles.record(store, target.record, search.source_hash, found)
    speedup = 1.0 if measured.implementation == REFERENCE else None
    if measured.ratio_to_fused:
        speedup = 1 / measured.ratio_to_fused
    told = Found(str(problem), best.name, found.latency_ms, speedup, found.candidates, found.refused)
    return replace(search, left=left, found=[*search.found, told])


def fastest(
    right: Sequence[tuple[Candidate, MeasurementRecord]],
) -> tuple[Candidate, MeasurementRecord]:
    """The fastest; the model's own tile, where it is right and the other is not surely faster."""
    best = min(right, key=lambda pair: pair[1].latency_ms or float("inf"))
    model = right[0]
    high = best[1].ratio_to_fused_high
    if model[1].implementation == REFERENCE and (high is None or high >= 1):
        return model
    return best


def _model_ms(candidate: Candidate, target: Target) -> float | None:
    """The estimate as time, where the clock is known."""
    mhz = _clock_mhz(target)
    cores = (target.record.multiprocessors or 1) if target.record.kind == "cpu" else 1
    return candidate.cycles / cores / mhz / 1e3 if mhz else None


def _clock_mhz(target: Target) -> float | None:
    if target.record.kind == "cpu":
        frequency = psutil.cpu_freq()
        return frequency.current if frequency else None
    khz = getattr(torch.cuda.get_device_properties(target.torch_device), "clock_rate", None)
    return khz / 1e3 if khz else None


def export(store: Store, search: Search, path: Path) -> int:
    """Write all tiles that the store has of the device and its sources to a table; gives how many it holds.

    Raises:
        UsageError: the file is there and is no table.
    """
    found = tuned_tiles.of_device(store, search.device, search.source_hash)
    tiles = {_problem(one.problem): one.tile for one in found}
    return tuned.write(path, search.architecture, tiles)


def _problem(key: ProblemKey) -> Problem:
    pattern = Pattern(key.a, key.b, key.c, key.d)
    return Problem(pattern, key.batch, key.precision, key.layout)  # type: ignore[arg-type]
