"""Simulated devices whose cells have a given truth, and engines that measure nothing."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event

import pytest
import torch

from kswatch.db.records import CanaryRecord, DeviceRecord, EnvironmentRecord, MeasurementRecord
from kswatch.db.store import Store
from kswatch.kernels.implementation import Implementation, Product
from kswatch.kernels.problem import Problem
from kswatch.kernels.reference import Correctness
from kswatch.profiler.backends.canaries import Canary
from kswatch.profiler.devices.discovery import Target
from kswatch.profiler.devices.simulated_spec import Options
from kswatch.profiler.empty_records import problem_key
from kswatch.profiler.executors.base import MeasureTask, Place
from kswatch.profiler.probes.timing import Work
from kswatch.profiler.runs.session import Surroundings
from kswatch.profiler.signals import Stopped
from kswatch.profiler.simulated.backend import SimulatedBench, SimulatedStage
from kswatch.profiler.simulated.board import Board
from kswatch.profiler.simulated.cost_model import Truth
from tests.profiler import scratch_clone


@pytest.fixture(scope="module", autouse=True)
def _as_it_was() -> Iterator[None]:
    """A CPU bench pins its process and sets torch's threads: not for the tests that come after it."""
    threads = torch.get_num_threads()
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    yield
    torch.set_num_threads(threads)
    if cores:
        os.sched_setaffinity(0, cores)


class Named(Implementation):
    """An implementation that nobody computes."""

    def __init__(self, name: str) -> None:
        self.name = name

    def unsupported(self, problem: Problem, device: torch.device) -> str | None:
        return None

    def prepare(self, problem: Problem, weights: torch.Tensor) -> Product:
        raise AssertionError("a simulated stage prepares nothing")


@dataclass
class Cell(Truth):
    """What a simulated cell does: its truth, and mishaps."""

    prepare_error: Exception | None = None
    launch_error: Exception | None = None
    fails_after: int = 0
    """Launches that go well before `launch_error` is raised."""
    checks: list[Correctness] = field(default_factory=list)
    """What the checks say, in turn; right when the list is used up."""
    launches: int = 0


class MishapStage(SimulatedStage):
    """A simulated problem whose cells fail as they were told to."""

    bench: MishapBench

    def __init__(self, bench: MishapBench, problem: Problem, seed: int) -> None:
        super().__init__(bench, problem, seed)
        self.bench = bench

    def prepare(self, implementation: Implementation) -> Work:
        cell = self.bench.cells[implementation.name]
        if cell.prepare_error:
            raise cell.prepare_error
        work = super().prepare(implementation)

        def launch(turn: int) -> None:
            cell.launches += 1
            if cell.launch_error and cell.launches > cell.fails_after:
                raise cell.launch_error
            work.launch(turn)

        return replace(work, launch=launch)

    def check(self, work: Work, bmm_error: float | None) -> Correctness:
        checks = self.bench.cells[work.name].checks
        return checks.pop(0) if checks else super().check(work, bmm_error)

    def close(self) -> None:
        self.bench.closed += 1


class MishapBench(SimulatedBench):
    """A board of the product's simulator with cells of given truth and no canaries."""

    def __init__(self, cells: dict[str, Cell], seed: int = 0, shift: float = 0.0, **options: object) -> None:
        board = Board(Options(seed=seed, shift=shift, **options))
        super().__init__(board, lambda problem, implementation: cells[implementation.name])
        self.cells = cells
        self.closed = 0
        self.answers = True

    def stage(self, problem: Problem, seed: int) -> MishapStage:
        self.timer.forget()
        return MishapStage(self, problem, seed)

    def canaries(self) -> Iterator[Canary]:
        yield from ()

    def healthy(self) -> bool:
        return self.answers and super().healthy()


@dataclass(frozen=True)
class Simulated:
    """What tests make simulated devices of."""

    Truth = Cell
    bench: Callable[..., MishapBench] = MishapBench
    implementation: Callable[[str], Implementation] = Named
    target: Target = Target(DeviceRecord("sim-1", "cpu", "simulated", simulated=True), "cpu")


@pytest.fixture
def simulated() -> Simulated:
    return Simulated()


class ScriptedEngine:
    """Measures nothing: gives the same records for any problem, or does what `script` does first."""

    busy_s = 0.0

    def __init__(self, place: Place, scripted: Scripted, stop: Event) -> None:
        self._place = place
        self._scripted = scripted
        self._stop = stop

    def place(self) -> Place:
        return self._place

    def measure(self, task: MeasureTask) -> list[MeasurementRecord]:
        if self._stop.is_set():
            raise Stopped
        self._scripted.script(task)
        self._scripted.tasks.append(task)
        return [
            MeasurementRecord(
                problem_key(task.problem),
                name,
                self._scripted.status,
                latency_ms=1.0 + place,
                latency_low_ms=0.9,
                latency_high_ms=9.0,
            )
            for place, name in enumerate(task.implementations)
        ]

    def canaries(self, position: str) -> list[CanaryRecord]:
        return [CanaryRecord(position, "copy", "fp32", 1.0, 1e10)]

    def now_s(self) -> float:
        return time.monotonic() + self._scripted.skipped_s

    def close(self) -> None:
        pass


@dataclass
class Scripted:
    """Surroundings of runs on a scripted engine, and the tasks that it was given."""

    script: Callable[[MeasureTask], object] = lambda task: None
    status: str = "ok"
    environment: EnvironmentRecord = EnvironmentRecord(host="here")
    tasks: list[MeasureTask] = field(default_factory=list)
    skipped_s: float = 0.0

    def surroundings(self, **options: object) -> Surroundings:
        return Surroundings(**{"make_engine": self.make_engine} | options)

    def make_engine(self, target: Target, watchdog_s: float, stop: Event) -> ScriptedEngine:
        return ScriptedEngine(Place(target.record, self.environment), self, stop)

    def slow(self, seconds: float) -> None:
        """Every problem takes so long by the engine's clock, and no time at all."""

        def skip(task: MeasureTask) -> None:
            self.skipped_s += seconds

        self.script = skip


@pytest.fixture
def scripted() -> Scripted:
    return Scripted()


@pytest.fixture
def store(tmp_path, empty_file) -> Iterator[Store]:
    shutil.copy(empty_file, tmp_path / "kswatch.db")
    opened = Store.open(f"sqlite:///{tmp_path / 'kswatch.db'}")
    yield opened
    opened.close()


@pytest.fixture
def clone(tmp_path) -> Path:
    """A repository of its own with this work tree's kernels as its one commit."""
    return scratch_clone.make(tmp_path / "clone")
