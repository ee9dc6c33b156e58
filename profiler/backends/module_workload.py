"""A layer or a model set up on a device: its input, a module for each cell, the float64 references."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Protocol

import torch
from torch import nn

from kswatch.db.records import CounterReading
from kswatch.kernels.precision import precision_scope
from kswatch.kernels.reference import Correctness
from kswatch.profiler.backends.workload import ROTATED_CACHES, SETS_BYTES, Workload, rotated_sets
from kswatch.profiler.probes.timing import Launchable, Rotation


class Modules(Protocol):
    """What differs between layers and models: how their cells are built, run and checked."""

    @property
    def problem(self) -> Any:  # noqa: ANN401  (a `StructuredProblem`)
        """The layer or the forward pass."""

    def unsupported(self, cell: Any) -> str | None:  # noqa: ANN401
        """Why the cell cannot be computed here; None where it can."""

    def make_input(self) -> torch.Tensor:
        """The input, equal at every call."""

    def build(self, cell: Any) -> nn.Module:  # noqa: ANN401
        """The cell's module, with the weights of its structure."""

    def executed(
        self, module: nn.Module, x: torch.Tensor
    ) -> tuple[Callable[[torch.Tensor], Any], float | None]:
        """The module as it is executed, and the seconds that compiling it took."""

    def correctness(self, cell: Any, module: nn.Module, x: torch.Tensor, y: torch.Tensor) -> Correctness:  # noqa: ANN401
        """The output y for the input x against the cell's reference."""

    def linear_share(self, module: nn.Module, x: torch.Tensor) -> float | None:
        """Share of a forward's time in linear layers, from a pass of its own; None for a layer."""


class ModuleWorkload(Workload):
    """A layer or a model on a torch device, as `TorchWorkload` is for a product.

    Inputs rotate through more than `cache_bytes`; weights do not, since the same ones serve every launch of a
    layer. Where the timer flushes a cache of `flushed_cache_bytes`, launches too short for that run over
    modules with weights of their own.
    """

    def __init__(self, modules: Modules, cache_bytes: int = 0, flushed_cache_bytes: int = 0) -> None:
        self._modules = modules
        self._flushed_cache_bytes = flushed_cache_bytes
        self._built: dict[str, nn.Module] = {}
        self._run: dict[str, Callable[[torch.Tensor], Any]] = {}
        self._cells: dict[str, Any] = {}
        self._compile_ms: dict[str, float] = {}
        self._rotations: dict[str, Rotation] = {}
        with ExitStack() as scope:
            scope.enter_context(torch.inference_mode())
            scope.enter_context(precision_scope(modules.problem))
            self._x = modules.make_input()
            self._pristine = self._x.clone()
            count = 1 + ROTATED_CACHES * cache_bytes // max(1, 2 * self._x.nbytes)
            count = max(1, min(count, SETS_BYTES // max(1, self._x.nbytes)))
            self._inputs = [self._x, *(self._x.clone() for _ in range(count - 1))]
            self._scope = scope.pop_all()
        self._outputs: list[Any] = [None] * count

    def unsupported(self, implementation: Any) -> str | None:  # noqa: ANN401
        """See `Workload`."""
        return self._modules.unsupported(implementation)

    def prepare(self, implementation: Any) -> Launchable:  # noqa: ANN401
        """See `Workload`; the first call lays out weights, and compiles where the cell is compiled."""
        name = implementation.name
        module = self._modules.build(implementation)
        run, compile_s = self._modules.executed(module, self._x)
        if compile_s is not None:
            self._compile_ms[name] = 1e3 * compile_s
        self._built[name], self._run[name], self._cells[name] = module, run, implementation
        inputs, outputs, count = self._inputs, self._outputs, len(self._inputs)
        run(self._x)

        def launch(turn: int) -> None:
            # The output is kept until its set is used again, so that outputs rotate through memory too.
            outputs[turn % count] = run(inputs[turn % count])

        rotate = (lambda: self._rotation(implementation)) if self._flushed_cache_bytes else None
        return Launchable(name, launch, None, rotate)

    def _rotation(self, cell: Any) -> Rotation:  # noqa: ANN401
        """As many inputs and modules with weights of their own as exceed the cache."""
        if cell.name not in self._rotations:
            problem = self._modules.problem
            demand, set_bytes = cell.demand(problem), cell.memory_bytes(problem)
            count, complete = rotated_sets(demand, self._flushed_cache_bytes, set_bytes)
            inputs = [self._x.clone() for _ in range(count)]
            runs = [self._modules.executed(self._modules.build(cell), self._x)[0] for _ in range(count)]
            outputs: list[Any] = [None] * count

            def launch(turn: int) -> None:
                place = turn % count
                outputs[place] = runs[place](inputs[place])

            self._rotations[cell.name] = Rotation(launch, count, complete)
        return self._rotations[cell.name]

    def code_of(self, implementation: Any) -> tuple[str | None, str | None]:  # noqa: ANN401
        """See `Workload`; several kernels run in a module, so that no hash is theirs."""
        del implementation
        return None, None

    def compile_ms(self, implementation: Any) -> float | None:  # noqa: ANN401
        """See `Workload`; None where it runs eagerly."""
        return self._compile_ms.get(implementation.name)

    def check(self, launchable: Launchable, bmm_error: float | None) -> Correctness:
        """See `Workload`; `bmm` of the same structure is computed where its error is needed."""
        del bmm_error
        name = launchable.name
        y = self._run[name](self._x)
        found = self._modules.correctness(self._cells[name], self._built[name], self._x, y)
        if torch.equal(self._x.view(torch.uint8), self._pristine.view(torch.uint8)):
            return found
        self._x.copy_(self._pristine)
        return Correctness(found.relative_error, found.max_error, False, "it changed its input")

    def figures(self, launchable: Launchable) -> tuple[CounterReading, ...]:
        """See `Workload`: the share of time in linear layers."""
        name = launchable.name
        share = self._modules.linear_share(self._built[name], self._x)
        return () if share is None else (CounterReading("linear_share", share, None),)

    def close(self) -> None:
        """See `Workload`."""
        for held in (self._built, self._run, self._cells, self._rotations, self._inputs, self._outputs):
            held.clear()
        self._scope.close()
