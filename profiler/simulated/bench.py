"""The bench of a simulated device: the real timer, probes and energy meter on a board of known truth."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from kernels.implementation import Implementation
from kernels.pattern import Pattern
from kernels.problem import PRECISIONS, Problem
from kernels.reference import Correctness
from profiler.bench import Bench
from profiler.canaries import COPIED_CACHES, Canary
from profiler.probes.clocks import ClockProbe, read_clocks
from profiler.probes.energy import EnergyMeter, Load
from profiler.probes.energy_nvml import nvml_sources
from profiler.probes.graph_load import GraphLoad
from profiler.probes.probe import Probe
from profiler.probes.timing import Work
from profiler.probes.timing_cuda import CudaTimer
from profiler.simulated.board import Board
from profiler.simulated.cuda import Launch, SimulatedCuda
from profiler.simulated.nvml import SimulatedNvml
from profiler.simulated.spec import Options, parse
from profiler.simulated.truth import Operations, Truth, truth_of
from profiler.stage import ROTATED_CACHES, Stage

GEMM_SIZE = 8192
CHECK_SHARE = 0.2
"""Of the fp32 peak, that a product in float64 reaches."""
RIGHT = Correctness(1e-7, 1e-6, True)
WRONG = Correctness(1.0, 1.0, False, "wrong on purpose (simulated)")

TruthOf = Callable[[Problem, Operations], Truth]


class SimulatedBench(Bench):
    """A simulated GPU of this process; time passes only on its own clock."""

    def __init__(self, board: Board, truth_of: TruthOf) -> None:
        """A bench on a board whose cells take what `truth_of` says."""
        self.board = board
        self.truth_of = truth_of
        self.cuda = SimulatedCuda(board)
        clock = board.clock.read
        self.timer = CudaTimer(self.cuda.flush, self.cuda, clock)
        nvml = SimulatedNvml(board)
        self.probes = (VisitLevels(board), ClockProbe(lambda: read_clocks(None, nvml), clock))
        sources = nvml_sources(None, board.model.name, nvml, clock)
        if sources:
            second = sources[1] if len(sources) > 1 else None
            self.energy_meter = EnergyMeter(sources[0], second, clock, board.clock.advance)
        else:
            self.energy_refusal = "no energy: this driver tells neither energy nor power of the board"

    @classmethod
    def of(cls, spec: str) -> SimulatedBench:
        """The bench of `sim:h200` and the like; its truth is the model's roofline."""
        known = parse(spec)
        board = Board(known.options, known.model)
        return cls(board, lambda problem, implementation: truth_of(known, problem, implementation))

    def stage(self, problem: Problem, seed: int) -> Stage:
        """See `Bench`."""
        return SimulatedStage(self, problem, seed)

    def canaries(self) -> Iterator[Canary]:
        """See `Bench`: a copy and a product per precision, at fixed shares of the datasheet."""
        model = self.board.model
        moved = 2 * COPIED_CACHES * model.cache_bytes
        copy_ms = 1e3 * moved / (0.9 * model.bytes_per_s)
        yield Canary(
            "copy", "fp32", self._work("copy", Truth(copy_ms, noise=self.board.options.noise)), moved
        )
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

    def load(self, work: Work, estimate_ms: float) -> Load:
        """See `Bench`."""
        return GraphLoad(work, estimate_ms, self.cuda)

    def free_bytes(self) -> int:
        """See `Bench`."""
        return self.board.model.memory_bytes

    def now_s(self) -> float:
        """See `Bench`."""
        return self.board.clock.now_s

    @property
    def skipped_s(self) -> float:  # type: ignore[override]
        """See `Bench`: all of its time."""
        return self.board.clock.now_s

    def healthy(self) -> bool:
        """See `Bench`."""
        return not self.board.broken


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
        self._sets = 1 + ROTATED_CACHES * bench.board.model.cache_bytes // problem.compulsory_bytes
        self._pass_time(problem)

    def unsupported(self, implementation: Implementation) -> str | None:
        """See `Stage`."""
        return self._bench.unsupported(self._problem)

    def prepare(self, implementation: Implementation) -> Work:
        """See `Stage`."""
        self._mishap(implementation)
        name, problem, cuda = implementation.name, self._problem, self._bench.cuda
        truth = self._bench.truth_of(problem, implementation)
        keys = [f"{name} {problem} {place}" for place in range(self._sets)]

        def launch(turn: int) -> None:
            key = keys[turn % len(keys)]
            cuda.launch(Launch(name, truth, key, problem.compulsory_bytes))

        return Work(name, launch, problem)

    def _number(self, name: str) -> int:
        """Of a cell in the run, counted from 1."""
        from db.records import IMPLEMENTATIONS

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
        self._bench.board.clock.advance(3e-3)
        wrong_at = self._bench.board.options.wrong_at
        return WRONG if wrong_at and self._number(work.name) == wrong_at else RIGHT

    def _pass_time(self, problem: Problem) -> None:
        """Operands are made and copied, and a float64 product is computed."""
        from profiler.roofline import DATASHEETS

        board = self._bench.board
        sheet = next(sheet for name, sheet in DATASHEETS if name in board.model.name)
        seconds = 8 * problem.compulsory_bytes / board.model.bytes_per_s
        board.clock.advance(2e-3 + seconds + problem.flops / (CHECK_SHARE * sheet.fp32_flops_per_s))

    def close(self) -> None:
        """See `Stage`."""
