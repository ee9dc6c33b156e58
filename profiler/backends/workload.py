"""A problem set up on a device: operands, rotated input sets, the float64 reference, the checks."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch

from kswatch.db.records import CounterReading
from kswatch.declared.precisions import OUTPUT_ELEMENT_BYTES
from kswatch.kernels.implementation import Implementation, Product
from kswatch.kernels.precision import precision_scope
from kswatch.kernels.problem import Problem
from kswatch.kernels.reference import Correctness, check, make_operands, reference
from kswatch.profiler.backends.tampering import Originals
from kswatch.profiler.backends.timed_launches import ChangedInputs, TimedLaunches, defect_of
from kswatch.profiler.probes.timing import Launchable, Rotation
from kswatch.profiler.subjects.demand import Demand

ROTATED_CACHES = 2
"""Size of all input sets in units of the last cache, so that no launch finds its input cached."""
GRAPH_CACHES = 4
"""The same for sets of operands in a graph, where no flush comes in between."""
MAX_SETS = 1024
SETS_BYTES = 8 << 30
"""Limit of the memory of all sets of one cell, including allocations of its products."""

FEW_FLOPS = 4_000_000_000


class Workload(ABC):
    """A problem that is set up for the measuring loop."""

    @abstractmethod
    def unsupported(self, implementation: Implementation) -> str | None:
        """The reason why the implementation does not support this problem here; None where it does."""

    @abstractmethod
    def prepare(self, implementation: Implementation) -> Launchable:
        """Prepare the weights in the implementation's layout, untimed.

        Raises:
            UnsupportedError: the implementation does not support this problem here.
        """

    @abstractmethod
    def code_of(self, implementation: Implementation) -> tuple[str | None, str | None]:
        """Hash of the executed machine code, and the chosen tile; both None for libraries."""

    def compile_ms(self, implementation: Implementation) -> float | None:
        """Time that preparing it spent compiling; None where nothing is compiled."""
        del implementation
        return None

    def caveats(self, implementation: Implementation) -> tuple[str, ...]:
        """Flags of what its time includes besides the product."""
        del implementation
        return ()

    @abstractmethod
    def check(self, launchable: Launchable, bmm_error: float | None) -> Correctness:
        """Launch once into an output full of NaN; compare with float64; operands must be unchanged."""

    def figures(self, launchable: Launchable) -> tuple[CounterReading, ...]:
        """What else is known of the cell, from passes of their own."""
        del launchable
        return ()

    @abstractmethod
    def close(self) -> None:
        """Release the memory."""


def rotated_sets(needed: Demand | Problem, cache_bytes: int, set_bytes: int) -> tuple[int, bool]:
    """Number of operand sets of a graph, and whether together they exceed four times the last cache.

    A set is input, weights and output; `set_bytes` is its memory with all allocations of a product.
    """
    wanted = 1 + GRAPH_CACHES * cache_bytes // needed.compulsory_bytes
    count = max(1, min(wanted, MAX_SETS, SETS_BYTES // set_bytes))
    return count, count == wanted


class TorchWorkload(Workload):
    """A problem on a torch device.

    `cache_bytes` is the cache that rotating sets of input and output must exceed; 0 where the timer
    flushes it. The input sets are copies: fresh memory with equal values. Weights do not rotate: every
    launch uses the same ones, as in any layer that is called repeatedly. Where the timer flushes a cache
    of `flushed_cache_bytes`, launches too short for that run over sets of input, weights and output.
    """

    def __init__(
        self,
        problem: Problem,
        device: torch.device,
        seed: int,
        cache_bytes: int = 0,
        flushed_cache_bytes: int = 0,
    ) -> None:
        self.problem = problem
        self._seed = seed
        self._flushed_cache_bytes = flushed_cache_bytes
        self._rotations: dict[str, Rotation] = {}
        self._copies: list[torch.Tensor] = []
        self._device = device
        with ExitStack() as scope:
            scope.enter_context(torch.inference_mode())
            scope.enter_context(precision_scope(problem))
            with _few_threads(problem):
                self._weights, self._x = make_operands(problem, device, seed)
                self._truth = reference(problem, self._weights, self._x)
                self._pristine = (self._weights.clone(), self._x.clone())
                count = 1 + ROTATED_CACHES * cache_bytes // (self._x.nbytes + problem.output_bytes)
                self._inputs = [self._x, *(self._x.clone() for _ in range(count - 1))]
            self._scope = scope.pop_all()
        self._outputs: list[torch.Tensor | None] = [None] * count
        self._products: dict[str, Product] = {}
        self._changed = ChangedInputs(problem, self._inputs, seed)
        self._launches: dict[str, TimedLaunches] = {}
        self._checked: set[str] = set()
        self._originals = Originals()

    @staticmethod
    def memory_bytes(problem: Problem, cache_bytes: int) -> int:
        """Approximate memory of a problem: operands twice, rotated sets, a float64 reference."""
        truth_bytes = 8 * problem.output_bytes // OUTPUT_ELEMENT_BYTES[problem.precision]
        return 2 * problem.input_bytes + ROTATED_CACHES * cache_bytes + truth_bytes

    def unsupported(self, implementation: Implementation) -> str | None:
        """See `Workload`."""
        return implementation.unsupported(self.problem, self._device)

    def prepare(self, implementation: Implementation) -> Launchable:
        """See `Workload`."""
        with nullcontext() if implementation.fixes_threads else _few_threads(self.problem):
            product = implementation.prepare(self.problem, self._weights)
        self._products[implementation.name] = product
        inputs, outputs, count = self._inputs, self._outputs, len(self._inputs)

        def launch(turn: int) -> None:
            # The output is kept until its set is used again, so that outputs rotate through memory too.
            outputs[turn % count] = product(inputs[turn % count])

        rotate = partial(self._rotation, implementation) if self._flushed_cache_bytes else None
        timed = TimedLaunches(self.problem, self._changed, outputs, self._seed)
        self._launches[implementation.name] = timed
        # On a GPU launches are queued, so that nothing can be looked at in between.
        hooks = (timed.before, timed.after) if self._device.type == "cpu" else (None, None)
        return Launchable(implementation.name, launch, self.problem, rotate, *hooks)

    def _rotation(self, implementation: Implementation) -> Rotation:
        """Copies of the input, shared by all cells, and as many products with their own weights."""
        if implementation.name not in self._rotations:
            count, complete = rotated_sets(
                self.problem, self._flushed_cache_bytes, implementation.memory_bytes(self.problem)
            )
            self._copies += [self._x.clone() for _ in range(count - len(self._copies))]
            products = [implementation.prepare(self.problem, self._weights.clone()) for _ in range(count)]
            outputs: list[torch.Tensor | None] = [None] * count

            def launch(turn: int) -> None:
                place = turn % count
                outputs[place] = products[place](self._copies[place])

            self._rotations[implementation.name] = Rotation(launch, count, complete)
        return self._rotations[implementation.name]

    def code_of(self, implementation: Implementation) -> tuple[str | None, str | None]:
        """See `Workload`."""
        arguments = (self.problem, self._device)
        return implementation.code_hash(*arguments), implementation.tile(*arguments)

    def compile_ms(self, implementation: Implementation) -> float | None:
        """See `Workload`."""
        return implementation.compile_ms(self.problem, self._device)

    def caveats(self, implementation: Implementation) -> tuple[str, ...]:
        """See `Workload`."""
        return implementation.caveats(self.problem, self._device)

    def check(self, launchable: Launchable, bmm_error: float | None) -> Correctness:
        """See `Workload`."""
        self._changed.undo()
        y = self._products[launchable.name](self._x, empty=_poisoned)
        with _few_threads(self.problem):
            if replaced := self._originals.replaced():
                return _incorrect(f"it replaced {', '.join(replaced)}")
            defect = defect_of(y, self.problem)
            found = _incorrect(defect) if defect else check(self.problem, y, self._truth, bmm_error)
        is_timed = launchable.name in self._checked
        self._checked.add(launchable.name)
        found = self._check_operands(found, self._inputs if is_timed else self._inputs[:1])
        if not found.ok or not is_timed:
            return found
        return self._check_operands(self._check_timed(launchable, bmm_error) or found, self._inputs)

    def _check_timed(self, launchable: Launchable, bmm_error: float | None) -> Correctness | None:
        """What timed launches computed, and one launch in every way like them; None where both are right."""
        timed = self._launches[launchable.name]
        turn = timed.any_turn()
        timed.before(turn)
        launchable.launch(turn)
        timed.after(turn)
        with _few_threads(self.problem):
            whole = timed.check_whole(turn, self._weights, self._truth, bmm_error)
            kept = timed.check(self._weights, bmm_error)
        self._changed.undo()
        return next((one for one in (kept, whole) if one is not None and not one.ok), None)

    def _check_operands(self, correctness: Correctness, inputs: Sequence[torch.Tensor]) -> Correctness:
        """Incorrect where an operand was changed, whatever the output; changed operands are restored."""
        weights, x = self._pristine
        operands = [("weights", self._weights, weights), *(("input", one, x) for one in inputs)]
        # bit by bit: comparing floats would treat -0.0 as 0.0
        changed = [
            (name, operand.copy_(original))
            for name, operand, original in operands
            if not torch.equal(operand.view(torch.uint8), original.view(torch.uint8))
        ]
        if not changed:
            return correctness
        names = dict.fromkeys(name for name, _ in changed)
        reason = f"it changed its {' and '.join(names)}"
        return Correctness(correctness.relative_error, correctness.max_error, False, reason)

    def close(self) -> None:
        """See `Workload`."""
        self._products.clear()
        self._rotations.clear()
        self._copies.clear()
        self._inputs.clear()
        self._outputs.clear()
        self._launches.clear()
        self._scope.close()


@contextmanager
def _few_threads(problem: Problem) -> Iterator[None]:
    """Use one CPU thread for setting up and checking a small product.

    On a busy machine each synchronisation waits for the thread whose core is taken: setting up and checking
    a small problem took three to five times longer with two threads than with one.
    """
    threads = torch.get_num_threads()
    if problem.flops > FEW_FLOPS:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _incorrect(reason: str) -> Correctness:
    return Correctness(math.inf, math.inf, ok=False, reason=reason)


def _poisoned(*shape: Any, **options: Any) -> torch.Tensor:  # noqa: ANN401  (as torch.empty)
    """An output full of NaN, so that unwritten elements are detected."""
    return torch.empty(*shape, **options).fill_(math.nan)
