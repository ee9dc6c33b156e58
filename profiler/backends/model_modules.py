"""The cells of a model as torch modules: built, compiled or captured, and checked."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from kswatch.kernels.models.base import DENSE, PUBLISHED, Model
from kswatch.kernels.models.catalogue import find_model
from kswatch.kernels.networks.build import (
    build_model,
    error_limit,
    model_input,
    reference_output,
    unsupported_reason,
)
from kswatch.kernels.networks.linear_share import linear_share
from kswatch.kernels.networks.weights import WeightSource
from kswatch.kernels.reference import Correctness
from kswatch.profiler.backends.errors_of_output import compare
from kswatch.profiler.devices.discovery import cpu_has_bf16
from kswatch.profiler.subjects.model_cells import ModelCell
from kswatch.profiler.subjects.problems import ModelForward

COMPARED_WITH = "bmm"
GRAPH_RUNS = 3


class ModelModules:
    """The networks of one forward pass. Equal parameters of different cells are the same memory."""

    def __init__(
        self, forward: ModelForward, device: torch.device, seed: int, weights: WeightSource | None = None
    ) -> None:
        """`seed` is that of the input; the weights' is always the same, unless others are given."""
        self.problem = forward
        self._device = device
        self._seed = seed
        self._model: Model = find_model(forward.model)
        self._weights = weights or WeightSource(0)
        self._parameters: dict[tuple[str, torch.Size], torch.Tensor] = {}
        self._truths: dict[str, torch.Tensor] = {}
        self._errors: dict[str, float] = {}

    def unsupported(self, cell: ModelCell) -> str | None:
        """See `Modules`."""
        forward, device = self.problem, self._device
        reason = cell.reason(forward, device.type)
        if reason is None and forward.precision == "bf16" and device.type == "cpu" and not cpu_has_bf16():
            reason = "this CPU has no bf16 instructions"
        return reason or unsupported_reason(
            self._model, cell.variant, forward.batch, forward.precision, device
        )

    def make_input(self) -> torch.Tensor:
        """See `Modules`."""
        return model_input(self._model, self.problem.batch, self.problem.precision, self._device, self._seed)

    def build(self, cell: ModelCell) -> nn.Module:
        """See `Modules`; parameters that another cell has already take no further memory."""
        network = build_model(
            self._model,
            cell.variant,
            precision=self.problem.precision,
            device=self._device,
            weights=self._weights,
        )
        for name, parameter in network.named_parameters():
            known = self._parameters.setdefault((name, parameter.shape), parameter.data)
            if known.data_ptr() != parameter.data_ptr() and torch.equal(known, parameter.data):
                parameter.data = known
        return network

    def executed(
        self, module: nn.Module, x: torch.Tensor
    ) -> tuple[Callable[[torch.Tensor], Any], float | None]:
        """See `Modules`."""
        if self.problem.execution == "graph":
            return _captured(module, x), None
        if self.problem.execution == "eager":
            return module, None
        torch.compiler.reset()
        compiled: Callable[[torch.Tensor], Any] = torch.compile(module)
        begin_s = time.perf_counter()
        compiled(x)
        first_s = time.perf_counter() - begin_s
        compiled(x)
        return compiled, max(0.0, 2 * first_s - (time.perf_counter() - begin_s))

    def correctness(
        self, cell: ModelCell, module: nn.Module, x: torch.Tensor, y: torch.Tensor
    ) -> Correctness:
        """See `Modules`: at batch 1 against float64, above it against the same structure by `bmm`.

        `bmm` and the published dense variant, with which others are compared above batch 1, are compared with
        float64 on the first sample.
        """
        usual = cell.by(PUBLISHED if cell.structure == DENSE else COMPARED_WITH)
        against_float64 = self.problem.batch == 1 or cell.name == usual.name
        if against_float64:
            truth, part = self._truth(cell.structure, module, x), y[:1]
        else:
            truth, part = self._output_of(usual, x), y
        limit = error_limit(self.problem.precision)
        found = compare(y, part, truth, limit)
        if found.ok or cell.name == usual.name or not torch.isfinite(y).all():
            return found
        return compare(y, part, truth, error_limit(self.problem.precision, self._error_of(usual, x)))

    def linear_share(self, module: nn.Module, x: torch.Tensor) -> float:
        """See `Modules`; always of the eager network."""
        return linear_share(module, x, warm_up=self.problem.execution != "eager")

    def _truth(self, structure: str, module: nn.Module, x: torch.Tensor) -> torch.Tensor:
        """The float64 output for the first sample."""
        if structure not in self._truths:
            self._truths[structure] = reference_output(module, x[:1], self.problem.precision)
        return self._truths[structure]

    def _output_of(self, cell: ModelCell, x: torch.Tensor) -> torch.Tensor:
        if cell.name not in self._truths:
            self._truths[cell.name] = self.build(cell)(x).double()
        return self._truths[cell.name]

    def _error_of(self, cell: ModelCell, x: torch.Tensor) -> float:
        """The error of this cell against float64, on the first sample."""
        if cell.name not in self._errors:
            network = self.build(cell)
            y = network(x[:1])
            found = compare(y, y, self._truth(cell.structure, network, x), 0.0)
            self._errors[cell.name] = found.relative_error
        return self._errors[cell.name]


def _captured(module: nn.Module, x: torch.Tensor) -> Callable[[torch.Tensor], Any]:
    """The forward as a CUDA graph on this input: a replay takes no other one, and returns its output."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(GRAPH_RUNS):
            module(x)
    torch.cuda.current_stream().wait_stream(stream)
    graph, fixed = torch.cuda.CUDAGraph(), x.clone()
    with torch.cuda.graph(graph):
        y = module(fixed)

    def replay(given: torch.Tensor) -> torch.Tensor:
        del given
        graph.replay()
        return y

    return replay
