"""A simulated device behind the interfaces of the real ones: it knows the true time of every cell."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from threading import Event

import numpy as np
import pytest
import torch

from db.records import CanaryRecord, DeviceRecord, EnvironmentRecord, MeasurementRecord
from db.store import Store
from kernels.implementation import Implementation, Product
from kernels.problem import Problem
from kernels.reference import Correctness
from profiler.bench import Bench
from profiler.canaries import Canary
from profiler.devices import Target
from profiler.engines.engine import MeasureTask, Place
from profiler.interruption import Stopped
from profiler.probes.energy import Load
from profiler.probes.timing import Timer, Visit, Work
from profiler.session import Surroundings
from profiler.stage import Stage
from profiler.unmeasured import problem_key

OVERHEAD_S = 20e-6
RIGHT = Correctness(1e-7, 1e-6, True)


class Named(Implementation):
    """An implementation that nobody computes."""

    def __init__(self, name: str) -> None:
        self.name = name

    def unsupported(self, problem: Problem, device: torch.device) -> str | None:
        return None

    def prepare(self, problem: Problem, weights: torch.Tensor) -> Product:
        raise AssertionError("a simulated stage prepares nothing")


@dataclass
class Truth:
    """What a simulated cell does: true median in ms, noise, drift of the machine, mishaps."""

    time_ms: float = 1.0
    noise: float = 0.01
    second_mode: float | None = None
    prepare_error: Exception | None = None
    launch_error: Exception | None = None
    fails_after: int = 0
    """Launches that go well before `launch_error` is raised."""
    checks: list[Correctness] = field(default_factory=list)
    """What the checks say, in turn; right when the list is used up."""
    launches: int = 0


class SimulatedTimer(Timer):
    tick_ms = 0.0

    def __init__(self, bench: SimulatedBench) -> None:
        self._bench = bench

    def visit(self, work: Work, launches: int) -> Visit:
        return Visit(tuple(self._bench.sample_ms(work.name) for _ in range(launches)))


class SimulatedStage(Stage):
    def __init__(self, bench: SimulatedBench, problem: Problem) -> None:
        self._bench = bench
        self._problem = problem

    def unsupported(self, implementation: Implementation) -> str | None:
        return None

    def prepare(self, implementation: Implementation) -> Work:
        truth = self._bench.truths[implementation.name]
        if truth.prepare_error:
            raise truth.prepare_error
        return Work(implementation.name, lambda turn: None, self._problem)

    def code_of(self, implementation: Implementation) -> tuple[str | None, str | None]:
        return f"hash of {implementation.name}", None

    def check(self, work: Work, bmm_error: float | None) -> Correctness:
        checks = self._bench.truths[work.name].checks
        return checks.pop(0) if checks else RIGHT

    def close(self) -> None:
        self._bench.closed += 1


class SimulatedBench(Bench):
    """A device of known truth; time passes only while it works."""

    def __init__(self, truths: dict[str, Truth], seed: int = 0, drift_per_s: float = 0.0) -> None:
        self.truths = truths
        self.timer = SimulatedTimer(self)
        self.time_s = 0.0
        self.closed = 0
        self.answers = True
        self._drift_per_s = drift_per_s
        self._noise = np.random.default_rng(seed)

    def sample_ms(self, name: str) -> float:
        truth = self.truths[name]
        truth.launches += 1
        if truth.launch_error and truth.launches > truth.fails_after:
            raise truth.launch_error
        level = truth.time_ms
        if truth.second_mode and self._noise.random() < 0.5:
            level = truth.second_mode
        level *= 1 + self._drift_per_s * self.time_s
        sample_ms = level * (1 + truth.noise * self._noise.standard_normal())
        self.time_s += sample_ms / 1e3 + OVERHEAD_S
        return float(sample_ms)

    def stage(self, problem: Problem, seed: int) -> Stage:
        return SimulatedStage(self, problem)

    def canaries(self) -> Iterator[Canary]:
        yield from ()

    def load(self, work: Work, estimate_ms: float) -> Load:
        raise NotImplementedError

    def free_bytes(self) -> int:
        return 1 << 40

    def now_s(self) -> float:
        return self.time_s

    def healthy(self) -> bool:
        return self.answers


@dataclass(frozen=True)
class Simulated:
    """What tests make simulated devices of."""

    Truth = Truth
    bench: Callable[..., SimulatedBench] = SimulatedBench
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
        return time.monotonic()

    def close(self) -> None:
        pass


@dataclass
class Scripted:
    """Surroundings of runs on a scripted engine, and the tasks that it was given."""

    script: Callable[[MeasureTask], object] = lambda task: None
    status: str = "ok"
    environment: EnvironmentRecord = EnvironmentRecord(host="here")
    tasks: list[MeasureTask] = field(default_factory=list)

    def surroundings(self, **options: object) -> Surroundings:
        return Surroundings(**{"make_engine": self.make_engine} | options)

    def make_engine(self, target: Target, watchdog_s: float, stop: Event) -> ScriptedEngine:
        return ScriptedEngine(Place(target.record, self.environment), self, stop)

    def slow(self, seconds: float) -> None:
        """Every problem takes so long."""
        self.script = lambda task: time.sleep(seconds)


@pytest.fixture
def scripted() -> Scripted:
    return Scripted()


@pytest.fixture
def store(tmp_path) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path / 'kswatch.db'}")
    yield opened
    opened.close()
