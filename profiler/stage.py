"""One problem set up on a device: operands, rotated input sets, the float64 truth, the checks."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from kernels.implementation import Implementation, Product
from kernels.precision import precision_scope
from kernels.problem import Problem
from kernels.reference import Correctness, check, make_operands, reference
from profiler.probes.timing import Work

ROTATED_CACHES = 2
"""Input sets together fill the last cache this many times over, so that no launch finds its input there."""

FEW_FLOPS = 4_000_000_000


class Stage(ABC):
    """What the loop asks of a problem that is set up; a simulated device has its own."""

    @abstractmethod
    def unsupported(self, implementation: Implementation) -> str | None:
        """Why the implementation cannot compute this problem here; None where it can."""

    @abstractmethod
    def prepare(self, implementation: Implementation) -> Work:
        """Re-lay the weights, untimed.

        Raises:
            UnsupportedError: the implementation cannot compute this problem here.
        """

    @abstractmethod
    def code_of(self, implementation: Implementation) -> tuple[str | None, str | None]:
        """Hash of the machine code that ran, and the tile it chose; None each for libraries."""

    @abstractmethod
    def check(self, work: Work, bmm_error: float | None) -> Correctness:
        """Launch once into an output full of NaN and compare with float64; operands must be unchanged."""

    @abstractmethod
    def close(self) -> None:
        """Give the memory back."""


class TorchStage(Stage):
    """A problem on a device of torch's.

    `cache_bytes` is the cache to be defeated by rotating sets of input and output; 0 where the timer
    flushes it. The input sets are copies: fresh memory with equal values. Weights do not rotate: every
    launch uses the same ones, as in any layer that is called again and again.
    """

    def __init__(self, problem: Problem, device: torch.device, seed: int, cache_bytes: int = 0) -> None:
        self.problem = problem
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

    @staticmethod
    def memory_bytes(problem: Problem, cache_bytes: int) -> int:
        """About what a problem takes once set up: operands twice, rotated sets, a float64 truth."""
        truth_bytes = 8 * problem.output_bytes // problem.element_bytes
        return 2 * problem.input_bytes + ROTATED_CACHES * cache_bytes + truth_bytes

    def unsupported(self, implementation: Implementation) -> str | None:
        """See `Stage`."""
        return implementation.unsupported(self.problem, self._device)

    def prepare(self, implementation: Implementation) -> Work:
        """See `Stage`."""
        with _few_threads(self.problem):
            product = implementation.prepare(self.problem, self._weights)
        self._products[implementation.name] = product
        inputs, outputs, count = self._inputs, self._outputs, len(self._inputs)

        def launch(turn: int) -> None:
            # The output is kept until its set's turn comes again: so outputs rotate through memory too.
            outputs[turn % count] = product(inputs[turn % count])

        return Work(implementation.name, launch, self.problem)

    def code_of(self, implementation: Implementation) -> tuple[str | None, str | None]:
        """See `Stage`."""
        arguments = (self.problem, self._device)
        return implementation.code_hash(*arguments), implementation.tile(*arguments)

    def check(self, work: Work, bmm_error: float | None) -> Correctness:
        """See `Stage`."""
        y = self._products[work.name](self._x, empty=_poisoned)
        with _few_threads(self.problem):
            return self._judged(check(self.problem, y, self._truth, bmm_error))

    def _judged(self, correctness: Correctness) -> Correctness:
        """Wrong, whatever the output is, where an operand was changed; then it is put back."""
        changed = [name for name, *pair in self._operands() if not _same_bytes(*pair)]
        if not changed:
            return correctness
        self._weights.copy_(self._pristine[0])
        self._x.copy_(self._pristine[1])
        reason = f"it changed its {' and '.join(changed)}"
        return Correctness(correctness.relative_error, correctness.max_error, False, reason)

    def _operands(self) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
        yield "weights", self._weights, self._pristine[0]
        yield "input", self._x, self._pristine[1]

    def close(self) -> None:
        """See `Stage`."""
        self._products.clear()
        self._inputs.clear()
        self._outputs.clear()
        self._scope.close()


@contextmanager
def _few_threads(problem: Problem) -> Iterator[None]:
    """One CPU thread for the small things around a small product.

    On a busy machine each meeting of threads waits for the one whose core is taken: setting up and
    checking a small problem took three to five times longer with two threads than with one.
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


def _poisoned(*shape: Any, **options: Any) -> torch.Tensor:  # noqa: ANN401  (as torch.empty)
    """An output full of NaN: what is never written stays visible."""
    return torch.empty(*shape, **options).fill_(math.nan)


def _same_bytes(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Equal bit for bit; comparing floats would take -0.0 for 0.0."""
    return torch.equal(one.view(torch.uint8), other.view(torch.uint8))
