"""The bench of a simulated device: the real timer, probes and energy meter on a board of known truth."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kswatch.db.records import IMPLEMENTATIONS
from kswatch.kernels.implementation import Implementation
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import PRECISIONS, Problem
from kswatch.kernels.reference import Correctness
from kswatch.profiler.backends.canaries import COPIED_CACHES, Canary
from kswatch.profiler.backends.gpu import Driver, GpuBench
from kswatch.profiler.backends.workload import Stage, rotated_sets
from kswatch.profiler.devices.roofline import DATASHEETS
from kswatch.profiler.devices.simulated_spec import Options, parse
from kswatch.profiler.probes.base import Probe
from kswatch.profiler.probes.timing import Rotation, Work
from kswatch.profiler.probes.timing_cuda import CudaTimer
from kswatch.profiler.simulated.board import Board
from kswatch.profiler.simulated.cost_model import Operations, Truth, truth_of
from kswatch.profiler.simulated.cuda import Launch, SimulatedCuda
from kswatch.profiler.simulated.nvml import SimulatedNvml

GEMM_SIZE = 8192
FLOAT64_SHARE = 0.8
"""Of the peak in float64: as fp32's on tensor cores (A100 and newer), half of it before."""
CHECK_PASSES = 4
"""Over the output in float64, for one check."""
RIGHT = Correctness(1e-7, 1e-6, True)
WRONG = Correctness(1.0, 1.0, False, "wrong on purpose (simulated)")

TruthOf = Callable[[Problem, Operations], Truth]


class SimulatedBench(GpuBench):
    """A simulated GPU of this process; time passes only on its own clock."""

    counter_refusal = "this device is simulated, and has none"

    def __init__(self, board: Board, truth_of: TruthOf) -> None:
        """A bench on a board whose cells take what `truth_of` says."""
        self.board = board
        self._simulating_s = 0.0
        self.truth_of = truth_of
        self.cuda = SimulatedCuda(board)
        clock = board.clock.read
        timer = CudaTimer(self.cuda.flush, self.cuda, clock, stamps=SimulatedStamps(board))
        driver = Driver(self.cuda, SimulatedNvml(board), "simulated", clock, board.clock.advance)
        super().__init__(driver, board.model.name, timer, board.model.cache_bytes, None)
        self.probes = (VisitLevels(board), *self.probes)

    @classmethod
    def of(cls, spec: str) -> SimulatedBench:
        """The bench of `sim:h200` and the like; its truth is the model's roofline."""
        known = parse(spec)
        board = Board(known.options, known.model)
        return cls(board, lambda problem, implementation: truth_of(known, problem, implementation))

    def stage(self, problem: Problem, seed: int) -> Stage:
        """See `Bench`."""
        self.timer.forget()
        return SimulatedStage(self, problem, seed)

    def canaries(self) -> Iterator[Canary]:
        """See `Bench`: a copy and a product per precision, at fixed shares of the datasheet."""
        model = self.board.model
        moved = 2 * COPIED_CACHES * model.cache_bytes
        copy_ms = 1e3 * moved / (0.9 * model.bytes_per_s)
        truth = Truth(copy_ms, noise=self.board.options.noise)
        yield Canary("copy", "fp32", self._work("copy", truth), moved)
        for precision in PRECISIONS:
            problem = Problem(Pattern(1, GEMM_SIZE, GEMM_SIZE, 1), GEMM_SIZE, precision, "batch_first")
            if self.unsupported(problem) is None:
                truth = self.truth_of(problem, _Gemm())
                yield Canary("gemm", precision, self._work("gemm", truth), problem.flops)

    def _work(self, name: str, truth: Truth) -> Work:
        return Work(name, lambda turn: self.cuda.launch(Launch(name, truth, name, 1 << 40)))

    def unsupported(self, problem: Problem) -> str | None:
        """Why the board's generation has no such precision; None where it has."""
        if problem.precision in ("tf32", "bf16") and self.board.model.capability < 80:
            return f"{problem.precision} needs an NVIDIA GPU of compute capability 8.0 (Ampere) or newer"
        return None

    def free_bytes(self) -> int:
        """See `Bench`."""
        return self.board.model.memory_bytes

    @contextmanager
    def busy(self) -> Iterator[None]:
        """See `Bench`; what simulating takes for real stands for the device's time, and is no harness."""
        begin_s = time.perf_counter()
        with super().busy():
            yield
        self._simulating_s += time.perf_counter() - begin_s

    @property
    def skipped_s(self) -> float:  # type: ignore[override]
        """See `Bench`: all of its time, in place of the real time that simulating took."""
        return self.board.clock.now_s - self._simulating_s

    def healthy(self) -> bool:
        """See `Bench`."""
        return not self.board.broken


class SimulatedStamps:
    """The clock that the board had on the way between both stamps."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._at_s = [0.0, 0.0]

    def enqueue(self, which: int) -> None:
        """See `ClockStamps`."""
        self._at_s[which] = self._board.begin_s()

    def sm_clock_mhz(self) -> float | None:
        """See `ClockStamps`."""
        begin_s, end_s = self._at_s
        lost = 1 - 1 / self._board.options.throttle_by
        throttled_s = self._board.throttled_s(end_s) - self._board.throttled_s(begin_s)
        return self._board.model.sm_clock_mhz * (1 - lost * throttled_s / max(end_s - begin_s, 1e-9))


class _Gemm:
    """The canary's product, which is dense."""

    name = "dense"

    def flops(self, problem: Problem) -> int:
        return problem.flops


class VisitLevels(Probe):
    """Lets the board know that a visit begins, so that it can give it a level of its own."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def visit_begins(self, cell: str) -> None:
        """See `Probe`."""
        self._board.visit_begins(cell)


class SimulatedStage(Stage):
    """A problem on a simulated board: nothing is computed, setting up and checking take their time."""

    def __init__(self, bench: SimulatedBench, problem: Problem, seed: int) -> None:
        self._bench = bench
        self._problem = problem
        self._place = seed
        """Sessions seed problems by their place in the plan: so mishaps have a fixed cell."""
        self._pass_time(problem)

    def unsupported(self, implementation: Implementation) -> str | None:
        """See `Stage`."""
        return self._bench.unsupported(self._problem)

    def prepare(self, implementation: Implementation) -> Work:
        """See `Stage`."""
        self._mishap(implementation)
        name, problem, cuda = implementation.name, self._problem, self._bench.cuda
        truth = self._bench.truth_of(problem, implementation)
        sets, complete = rotated_sets(problem, self._bench.cache_bytes, implementation.memory_bytes(problem))
        set_bytes = problem.compulsory_bytes

        def launch(turn: int, place: int = 0) -> None:
            del turn
            cuda.launch(Launch(name, truth, f"{name} {place}", set_bytes))

        def rotate() -> Rotation:
            return Rotation(lambda turn: launch(turn, turn % sets), sets, complete)

        return Work(name, launch, problem, rotate)

    def _number(self, name: str) -> int:
        """Of a cell in the run, counted from 1."""
        return 1 + self._place * len(IMPLEMENTATIONS) + IMPLEMENTATIONS.index(name)

    def _mishap(self, implementation: Implementation) -> None:
        options: Options = self._bench.board.options
        if not (options.hang_at or options.sticky_at):
            return
        number = self._number(implementation.name)
        if number == options.sticky_at:
            self._bench.board.broken = True
        while number == options.hang_at:
            time.sleep(1.0)

    def code_of(self, implementation: Implementation) -> tuple[str | None, str | None]:
        """See `Stage`: the hash changes with what makes the implementation slower."""
        factor = self._bench.board.options.slower.get(implementation.name, 1.0)
        return (f"simulated-{factor:g}", None) if implementation.name == "fused" else (None, None)

    def check(self, work: Work, bmm_error: float | None) -> Correctness:
        """See `Stage`."""
        del bmm_error
        float64_bytes = 8 * self._problem.output_bytes // self._problem.element_bytes
        board = self._bench.board
        board.clock.advance(1e-3 + CHECK_PASSES * float64_bytes / board.model.bytes_per_s)
        wrong_at = self._bench.board.options.wrong_at
        return WRONG if wrong_at and self._number(work.name) == wrong_at else RIGHT

    def _pass_time(self, problem: Problem) -> None:
        """Operands are made and copied, and a float64 product is computed."""
        board = self._bench.board
        sheet = next(sheet for name, sheet in DATASHEETS if name in board.model.name)
        seconds = 8 * problem.compulsory_bytes / board.model.bytes_per_s
        share = FLOAT64_SHARE if board.model.capability >= 80 else FLOAT64_SHARE / 2
        board.clock.advance(2e-3 + seconds + problem.flops / (share * sheet.fp32_flops_per_s))

    def close(self) -> None:
        """See `Stage`."""
