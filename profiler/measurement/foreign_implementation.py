"""A foreign implementation in the place of one of ours, in the process that measures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from kswatch.kernels.implementation import Implementation, Product
from kswatch.kernels.problem import Problem
from kswatch.profiler.backends.tampering import Originals
from kswatch.profiler.foreign.loading import make_implementation
from kswatch.profiler.foreign.sources import ForeignSource
from kswatch.profiler.measurement.cell import CellRefused

_ORIGINALS = Originals()
"""The functions that measure, as they were before any foreign code was imported here."""


class ForeignImplementation(Implementation):
    """Imports its source when it is first used, within the turn of its own cell.

    It passes on what the loop needs and nothing else: foreign code has no say in its name or its demand.
    """

    def __init__(self, source: ForeignSource) -> None:
        self.name = source.marked
        self._source = source
        self._made: Implementation | None = None

    @property
    def fixes_threads(self) -> bool:  # type: ignore[override]
        """See `Implementation`."""
        return bool(self._foreign().fixes_threads)

    def unsupported(self, problem: Problem, device: torch.device) -> str | None:
        """See `Implementation`."""
        reason = self._call(lambda: self._foreign().unsupported(problem, device))
        return None if reason is None else str(reason)

    def prepare(self, problem: Problem, weights: torch.Tensor) -> Product:
        """See `Implementation`."""
        product: Product = self._call(lambda: self._foreign().prepare(problem, weights))
        return product

    def memory_bytes(self, problem: Problem) -> int:
        """See `Implementation`; never less than the operands."""
        return max(int(self._foreign().memory_bytes(problem)), problem.compulsory_bytes)

    def flops(self, problem: Problem) -> int:
        """Operations that the product needs: what it executes is its own affair, and not imported to know."""
        return problem.flops

    def caveats(self, problem: Problem, device: torch.device) -> tuple[str, ...]:
        """See `Implementation`."""
        return tuple(map(str, self._foreign().caveats(problem, device)))

    def compile_ms(self, problem: Problem, device: torch.device) -> float | None:
        """See `Implementation`."""
        found = self._foreign().compile_ms(problem, device)
        return None if found is None else float(found)

    def _foreign(self) -> Implementation:
        if self._made is None:
            self._made = self._call(lambda: make_implementation(self._source))
        return self._made

    def _call(self, call: Callable[[], Any]) -> Any:  # noqa: ANN401  (what the call returns)
        """What foreign code returns, with torch's settings as before.

        Raises:
            CellRefused: it replaced what measures or checks it; the originals are back.
        """
        threads, dtype, with_gradients = (
            torch.get_num_threads(),
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
        )
        try:
            return call()
        finally:
            replaced = _ORIGINALS.replaced()
            torch.set_num_threads(threads)
            torch.set_default_dtype(dtype)
            torch.set_grad_enabled(with_gradients)
            if replaced:
                raise CellRefused("incorrect", f"it replaced {', '.join(replaced)}")
