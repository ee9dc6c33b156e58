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
from kswatch.profiler.backends.canaries import CanaryKernel
from kswatch.profiler.devices.discovery import Target
from kswatch.profiler.devices.simulated_spec import BoardOptions, SimulatedSpec
from kswatch.profiler.empty_records import problem_key
from kswatch.profiler.executors.base import MeasurementSite, MeasureTask
from kswatch.profiler.probes.timing import Launchable
from kswatch.profiler.runs.session import RunContext
from kswatch.profiler.service.server import Server
from kswatch.profiler.signals import Stopped
from kswatch.profiler.simulated.backend import SimulatedBackend, SimulatedWorkload
from kswatch.profiler.simulated.cost_model import Truth
from tests.profiler import scratch_clone


@pytest.fixture(scope="module", autouse=True)
def _restored_threads() -> Iterator[None]:
    """Undo the CPU backend's pinning of the process and setting of torch's threads after each module."""
    threads = torch.get_num_threads()
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    yield
    torch.set_num_threads(threads)
    if cores:
        os.sched_setaffinity(0, cores)


class Named(Implementation):
    """An implementation with a name only."""

    def __init__(self, name: str) -> None:
        self.name = name

    def unsupported(self, problem: Problem, device: torch.device) -> str | None:
        return None

    def prepare(self, problem: Problem, weights: torch.Tensor) -> Product:
        raise AssertionError("a simulated workload prepares nothing")


@dataclass
class Cell(Truth):
    """Behaviour of a simulated cell: its truth, and faults."""

    prepare_error: Exception | None = None
    launch_error: Exception | None = None
    fails_after: int = 0
    """Number of launches before `launch_error` is raised."""
    checks: list[Correctness] = field(default_factory=list)
    """Results of the checks in order; correct after the end of the list."""
    launches: int = 0


class FaultyWorkload(SimulatedWorkload):
    """A simulated problem whose cells have given faults."""

    backend: FaultyBackend

    def __init__(self, backend: FaultyBackend, problem: Problem, seed: int) -> None:
        super().__init__(backend, problem, seed)
        self.backend = backend

    def prepare(self, implementation: Implementation) -> Launchable:
        cell = self.backend.cells[implementation.name]
        if cell.prepare_error:
            raise cell.prepare_error
        launchable = super().prepare(implementation)

        def launch(turn: int) -> None:
            cell.launches += 1
            if cell.launch_error and cell.launches > cell.fails_after:
                raise cell.launch_error
            launchable.launch(turn)

        return replace(launchable, launch=launch)

    def check(self, launchable: Launchable, bmm_error: float | None) -> Correctness:
        checks = self.backend.cells[launchable.name].checks
        return checks.pop(0) if checks else super().check(launchable, bmm_error)

    def close(self) -> None:
        self.backend.closed += 1


class FaultyBackend(SimulatedBackend):
    """A board of the product's simulator with cells of given truth and no canaries."""

    def __init__(self, cells: dict[str, Cell], seed: int = 0, shift: float = 0.0, **options: object) -> None:
        super().__init__(
            SimulatedSpec("sim:h200", "h200", "", BoardOptions(seed=seed, shift=shift, **options))
        )
        self.cells = cells
        self.closed = 0
        self.answers = True

    def truth(self, problem: Problem, implementation: Implementation) -> Truth:
        return self.cells[implementation.name]

    def workload(self, problem: Problem, seed: int) -> FaultyWorkload:
        self.timer.forget()
        return FaultyWorkload(self, problem, seed)

    def canaries(self) -> Iterator[CanaryKernel]:
        yield from ()

    def healthy(self) -> bool:
        return self.answers and super().healthy()


@dataclass(frozen=True)
class Simulated:
    """Classes for simulated devices in tests."""

    Truth = Cell
    backend: Callable[..., FaultyBackend] = FaultyBackend
    implementation: Callable[[str], Implementation] = Named
    target: Target = Target(DeviceRecord("sim-1", "cpu", "simulated", simulated=True), "cpu")


@pytest.fixture
def simulated() -> Simulated:
    return Simulated()


class ScriptedEngine:
    """Measures nothing: gives the same records for any problem, or does what `script` does first."""

    busy_s = 0.0

    def __init__(self, site: MeasurementSite, scripted: Scripted, stop: Event) -> None:
        self._site = site
        self._scripted = scripted
        self._stop = stop

    def site(self) -> MeasurementSite:
        return self._site

    def measure(self, task: MeasureTask) -> list[MeasurementRecord]:
        if self._stop.is_set():
            raise Stopped
        self._scripted.script(task)
        self._scripted.tasks.append(task)
        return [
            MeasurementRecord(
                problem_key(task.problem),
                name,
                self._scripted.status_of.get(name, self._scripted.status),
                reason=self._scripted.reason_of.get(name),
                latency_ms=1.0 + index,
                latency_low_ms=0.9,
                latency_high_ms=9.0,
            )
            for index, name in enumerate(task.implementations)
        ]

    def canaries(self, position: str) -> list[CanaryRecord]:
        return [CanaryRecord(position, "copy", "fp32", 1.0, 1e10)]

    def now_s(self) -> float:
        return time.monotonic() + self._scripted.skipped_s

    def close(self) -> None:
        pass


@dataclass
class Scripted:
    """Contexts of runs on a scripted engine, and the tasks that it was given."""

    script: Callable[[MeasureTask], object] = lambda task: None
    status: str = "ok"
    environment: EnvironmentRecord = EnvironmentRecord(host="here")
    tasks: list[MeasureTask] = field(default_factory=list)
    skipped_s: float = 0.0
    libraries: dict[str, object] = field(default_factory=dict)
    status_of: dict[str, str] = field(default_factory=dict)
    """By implementation, where it is another one than `status`."""
    reason_of: dict[str, str] = field(default_factory=dict)

    def context(self, **options: object) -> RunContext:
        return RunContext(**{"make_engine": self.make_engine} | options)

    def make_engine(self, target: Target, watchdog_s: float, stop: Event) -> ScriptedEngine:
        return ScriptedEngine(MeasurementSite(target.record, self.environment, self.libraries), self, stop)

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


def run_next(server: Server) -> bool:
    """Start the next request and wait for its end, as `serve` does; False when none can be run now."""
    started = server.start_next() is not None
    if started:
        server.finish_runs(None)
    return started


@pytest.fixture
def clone(tmp_path) -> Path:
    """A repository of its own with this work tree's kernels as its one commit."""
    return scratch_clone.make(tmp_path / "clone")
