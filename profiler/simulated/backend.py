"""The backend of a simulated device: the real timer, probes and energy meter on a board of known truth."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kswatch.db.records import IMPLEMENTATIONS, CounterReading
from kswatch.declared.precisions import OUTPUT_ELEMENT_BYTES, SUITE_PRECISIONS
from kswatch.kernels import catalogue
from kswatch.kernels.implementation import Implementation
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from kswatch.kernels.reference import Correctness
from kswatch.profiler.backends.canaries import COPIED_CACHES, CanaryKernel
from kswatch.profiler.backends.gpu import Driver, GpuBackend
from kswatch.profiler.backends.workload import Workload, rotated_sets
from kswatch.profiler.devices.roofline import DATASHEETS
from kswatch.profiler.devices.simulated_spec import SimulatedSpec
from kswatch.profiler.probes.base import Probe
from kswatch.profiler.probes.timing import Launchable, Rotation
from kswatch.profiler.probes.timing_cuda import CudaTimer
from kswatch.profiler.simulated.board import Board
from kswatch.profiler.simulated.cost_model import Truth, truth_of
from kswatch.profiler.simulated.cuda import Launch, SimulatedCuda
from kswatch.profiler.simulated.nvml import SimulatedNvml
from kswatch.profiler.subjects.cells import memory_bytes
from kswatch.profiler.subjects.demand import demand_of
from kswatch.profiler.subjects.problems import AnyProblem, ModelForward

GEMM_SIZE = 8192
AMPERE = 80
"""The compute capability from which on a board has tf32, bf16 and 2:4 sparsity."""
ADA = 89
"""The same for fp8."""
FLOAT64_SHARE = 0.8
"""Share of the fp32 peak that float64 reaches on tensor cores (A100 and newer); half on older boards."""
CHECK_PASSES = 4
"""Passes over the float64 output for one check."""
RIGHT = Correctness(1e-7, 1e-6, True)
WRONG = Correctness(1.0, 1.0, False, "wrong on purpose (simulated)")


class SimulatedBackend(GpuBackend):
    """A simulated GPU of this process; time passes only on its own clock."""

    counter_refusal = "this device is simulated and has no hardware counters"

    def __init__(self, spec: SimulatedSpec) -> None:
        self._spec = spec
        self.board = board = Board(spec.options, spec.model)
        self._simulating_s = 0.0
        self.cuda = SimulatedCuda(board)
        clock = board.clock.read
        timer = CudaTimer(self.cuda.flush, self.cuda, clock, stamps=SimulatedStamps(board))
        driver = Driver(self.cuda, SimulatedNvml(board), "simulated", clock, board.clock.advance)
        super().__init__(driver, board.model.name, timer, board.model.cache_bytes, None)
        self.probes = (VisitLevels(board), *self.probes)

    def truth(self, problem: AnyProblem, implementation: Any) -> Truth:  # noqa: ANN401
        """True latency and power of a cell, from the board's roofline."""
        if isinstance(problem, Problem):
            return truth_of(self._spec, problem, implementation)
        from kswatch.profiler.simulated.structured_costs import structured_truth

        return structured_truth(self._spec, problem, implementation)

    def workload(self, problem: AnyProblem, seed: int) -> Workload:
        """See `Backend`."""
        self.timer.forget()
        return SimulatedWorkload(self, problem, seed)

    def canaries(self) -> Iterator[CanaryKernel]:
        """See `Backend`; a copy and a product per precision, at fixed shares of the datasheet's rates."""
        model = self.board.model
        moved = 2 * COPIED_CACHES * model.cache_bytes
        copy_ms = 1e3 * moved / (0.9 * model.bytes_per_s)
        truth = Truth(copy_ms, noise=self.board.options.noise)
        yield CanaryKernel("copy", "fp32", self._launchable("copy", truth), moved)
        for precision in SUITE_PRECISIONS:
            problem = Problem(Pattern(1, GEMM_SIZE, GEMM_SIZE, 1), GEMM_SIZE, precision, "batch_first")
            if self.unsupported(problem) is None:
                truth = self.truth(problem, catalogue.implementation("dense"))
                yield CanaryKernel("gemm", precision, self._launchable("gemm", truth), problem.flops)

    def _launchable(self, name: str, truth: Truth) -> Launchable:
        return Launchable(name, lambda turn: self.cuda.launch(Launch(name, truth, name, 1 << 40)))

    def unsupported(self, problem: AnyProblem) -> str | None:
        """The reason why the board's generation lacks the precision; None where it has it."""
        if problem.precision in ("tf32", "bf16") and self.board.model.capability < AMPERE:
            return f"{problem.precision} needs an NVIDIA GPU of compute capability 8.0 (Ampere) or newer"
        if problem.precision == "fp8" and self.board.model.capability < ADA:
            return "fp8 needs an NVIDIA GPU of compute capability 8.9 (Ada) or newer"
        return None

    def linear_share(self, problem: AnyProblem, cell: Any) -> float | None:  # noqa: ANN401
        """Share of a model's time in linear layers; None for others."""
        if not isinstance(problem, ModelForward):
            return None
        from kswatch.profiler.simulated.structured_costs import linear_share

        return linear_share(self._spec, problem, cell)

    def peak_bytes(self, problem: AnyProblem, cell: str, seed: int) -> int | None:
        """See `Backend`; of a layer or a model what planning expects, since nothing is allocated."""
        del seed
        return None if isinstance(problem, Problem) else memory_bytes(problem, cell)

    def free_bytes(self) -> int:
        """See `Backend`."""
        return self.board.model.memory_bytes

    @contextmanager
    def busy(self) -> Iterator[None]:
        """See `Backend`; the real time of simulating replaces the device's time and is no overhead."""
        begin_s = time.perf_counter()
        with super().busy():
            yield
        self._simulating_s += time.perf_counter() - begin_s

    @property
    def skipped_s(self) -> float:  # type: ignore[override]
        """See `Backend`; all simulated time minus the real time of simulating."""
        return self.board.clock.now_s - self._simulating_s

    def healthy(self) -> bool:
        """See `Backend`."""
        return not self.board.broken


class SimulatedStamps:
    """The board's mean clock between both stamps."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._at_s = [0.0, 0.0]

    def enqueue(self, index: int) -> None:
        """See `ClockStamps`."""
        self._at_s[index] = self._board.done_s

    def sm_clock_mhz(self) -> float | None:
        """See `ClockStamps`."""
        begin_s, end_s = self._at_s
        lost = 1 - 1 / self._board.options.throttle_by
        throttled_s = self._board.throttled_s(end_s) - self._board.throttled_s(begin_s)
        return self._board.model.sm_clock_mhz * (1 - lost * throttled_s / max(end_s - begin_s, 1e-9))


class VisitLevels(Probe):
    """Gives each visit its own level on the board."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def before_visit(self, cell: str) -> None:
        """See `Probe`."""
        self._board.draw_level(cell)


class SimulatedWorkload(Workload):
    """A problem on a simulated board: nothing is computed, but set-up and checks take simulated time."""

    def __init__(self, backend: SimulatedBackend, problem: AnyProblem, seed: int) -> None:
        self._backend = backend
        self._problem = problem
        self._output_bytes: dict[str, int] = {}
        self._cells: dict[str, Any] = {}
        self._plan_index = seed
        """Index in the plan, by which sessions seed problems: so faults hit a fixed cell."""
        # to create and copy operands, and to compute a float64 product
        board = backend.board
        sheet = next(sheet for name, sheet in DATASHEETS if name in board.model.name)
        share = FLOAT64_SHARE if board.model.capability >= AMPERE else FLOAT64_SHARE / 2
        self._float64_flops_per_s = share * sheet.fp32_flops_per_s
        seconds = 2e-3
        if isinstance(problem, Problem):
            seconds += 8 * problem.compulsory_bytes / board.model.bytes_per_s
            seconds += problem.flops / self._float64_flops_per_s
        board.clock.advance(seconds)

    def unsupported(self, implementation: Any) -> str | None:  # noqa: ANN401
        """See `Workload`."""
        lacking = self._backend.unsupported(self._problem)
        if lacking or isinstance(self._problem, Problem):
            return lacking
        reason: str | None = implementation.reason(self._problem, "cuda")
        if reason is None and implementation.name.startswith("two_four") and self._is_before_ampere:
            return "2:4 sparsity needs an NVIDIA GPU of compute capability 8.0 (Ampere) or newer"
        return reason

    @property
    def _is_before_ampere(self) -> bool:
        return self._backend.board.model.capability < AMPERE

    def prepare(self, implementation: Any) -> Launchable:  # noqa: ANN401
        """See `Workload`."""
        self._inject_fault(implementation)
        name, problem, cuda = implementation.name, self._problem, self._backend.cuda
        truth = self._backend.truth(problem, implementation)
        demand = demand_of(problem, implementation)
        sets, complete = rotated_sets(demand, self._backend.cache_bytes, implementation.memory_bytes(problem))
        set_bytes = demand.compulsory_bytes
        self._output_bytes[name], self._cells[name] = demand.output_bytes, implementation
        if not isinstance(problem, Problem):  # each cell has weights and a reference of its own
            self._backend.board.clock.advance(demand.flops / self._float64_flops_per_s)

        def launch(turn: int, place: int = 0) -> None:
            del turn
            cuda.launch(Launch(name, truth, f"{name} {place}", set_bytes))

        def rotate() -> Rotation:
            return Rotation(lambda turn: launch(turn, turn % sets), sets, complete)

        return Launchable(name, launch, problem, rotate)

    def _number(self, name: str) -> int:
        """Number of a product's cell in the run, counted from 1."""
        if name not in IMPLEMENTATIONS:
            return 0
        return 1 + self._plan_index * len(IMPLEMENTATIONS) + IMPLEMENTATIONS.index(name)

    def _inject_fault(self, implementation: Implementation) -> None:
        options = self._backend.board.options
        if not (options.hang_at or options.sticky_at):
            return
        number = self._number(implementation.name)
        if number == options.sticky_at:
            self._backend.board.broken = True
        while number == options.hang_at:
            time.sleep(1.0)

    def code_of(self, implementation: Implementation) -> tuple[str | None, str | None]:
        """See `Workload`; the hash depends on the latency factor of the implementation."""
        factor = self._backend.board.options.slower.get(implementation.name, 1.0)
        return (f"simulated-{factor:g}", None) if implementation.name == "fused" else (None, None)

    def check(self, launchable: Launchable, bmm_error: float | None) -> Correctness:
        """See `Workload`."""
        del bmm_error
        float64_bytes = 8 * self._output_bytes[launchable.name]
        float64_bytes //= OUTPUT_ELEMENT_BYTES[self._problem.precision]
        board = self._backend.board
        board.clock.advance(1e-3 + CHECK_PASSES * float64_bytes / board.model.bytes_per_s)
        wrong_at = board.options.wrong_at
        return WRONG if wrong_at and self._number(launchable.name) == wrong_at else RIGHT

    def figures(self, launchable: Launchable) -> tuple[CounterReading, ...]:
        """See `Workload`."""
        share = self._backend.linear_share(self._problem, self._cells[launchable.name])
        return () if share is None else (CounterReading("linear_share", share, None),)

    def close(self) -> None:
        """See `Workload`."""
