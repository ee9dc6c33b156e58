"""Chains of two factors in one launch, run by whatever executes the kernel, and what they must give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from unittest import mock

import torch

from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda.tile import KernelUnit, Tile
from kswatch.kernels.fused.cuda.weight_layout import lay_out
from kswatch.kernels.fused.cuda_chain import launch
from kswatch.kernels.fused.cuda_chain.candidates import candidates
from kswatch.kernels.fused.cuda_chain.estimate import cycles
from kswatch.kernels.fused.cuda_chain.tile import ChainTile, Problems
from kswatch.kernels.implementation import STORAGE_DTYPES
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Layout, Precision, Problem
from kswatch.kernels.reference import Correctness, check, make_operands, reference

H200 = GpuProperties(90, 132)

Execute = Callable[[KernelUnit, tuple[int, int, int], bytes, Sequence[torch.Tensor]], None]
"""`execute(unit, (blocks, threads, shared bytes), packed, tensors)`; only the last tensor may be written."""

SHAPES = (
    ((2, 20, 24, 1), (1, 18, 20, 2), 21),  # tiles with partial rows, columns and batch entries
    ((1, 33, 17, 3), (3, 17, 33, 1), 37),  # nothing divides: one element per access
    ((3, 16, 40, 2), (1, 40, 8, 12), 40),  # more j's than one group takes, on both sides
    ((2, 48, 192, 1), (1, 192, 48, 2), 40),  # a published chain: query, key and value of ViT-S/16
)


@dataclass
class Chain:
    """Operands of a chain."""

    problems: Problems
    weights: tuple[torch.Tensor, torch.Tensor]
    x: torch.Tensor
    bias: torch.Tensor | None

    @property
    def y(self) -> torch.Tensor:
        """A new output full of NaN."""
        last = self.problems[1]
        return torch.full(last.output_shape, torch.nan, dtype=STORAGE_DTYPES[last.precision])

    def correctness(self, y: torch.Tensor) -> Correctness:
        """The errors of Y against float64 with the intermediate rounded to the precision."""
        first, last = self.problems
        held = reference(first, self.weights[0], self.x).to(self.x.dtype)
        truth = reference(last, self.weights[1], held)
        if self.bias is not None:
            truth += self.bias if last.layout == "batch_first" else self.bias[:, None]
        return check(last, y, truth)


def problems_of(first: tuple, second: tuple, batch: int, precision: Precision, layout: Layout) -> Problems:
    """The products of both factors."""
    one, other = (Problem(Pattern(*pattern), batch, precision, layout) for pattern in (first, second))
    return one, other


def make_chain(problems: Problems, seed: int = 1, with_bias: bool = True) -> Chain:
    """Random operands."""
    (first, x), (second, _) = (make_operands(one, "cpu", seed + n) for n, one in enumerate(problems))
    bias = torch.randn(problems[1].pattern.rows, generator=torch.Generator().manual_seed(seed))
    return Chain(problems, (first, second), x, bias.to(x.dtype) if with_bias else None)


def small_tile(problems: Problems, gpu: GpuProperties = H200, shares: int = 1, cluster: int = 1) -> ChainTile:
    """The pair with the fewest rows and batch entries, by families that the model would choose."""
    every = [tile for tile in candidates(problems, gpu) if tile.cluster == cluster]
    found = min(every, key=lambda tile: cycles(problems, tile, gpu))
    alike = [
        tile
        for tile in every
        if tile.shares == cluster
        and (tile.first.family, tile.second.family) == (found.first.family, found.second.family)
        and tile.first.neighbours == found.first.neighbours
        and tile.second.neighbours == found.second.neighbours
    ]
    tile = min(alike, key=lambda one: (one.threads, one.first.rows + one.second.rows, one.first.batch))
    return ChainTile(tile.first, tile.second, shares, cluster)


def run_chain(chain: Chain, tile: ChainTile, execute: Execute, y: torch.Tensor) -> list[KernelUnit]:
    """One launch as `launch.make_raw_launch` starts it; returns the kernels that ran."""
    ran: list[KernelUnit] = []
    with _starting_by(chain, execute, y, ran) as laying_out:
        start = launch.make_raw_launch(chain.problems, chain.weights, chain.bias, tile, laying_out)
        start(chain.x.data_ptr(), y.data_ptr())
    return ran


@contextmanager
def _starting_by(chain: Chain, execute: Execute, y: torch.Tensor, ran: list):  # noqa: ANN202
    laid_out: list[torch.Tensor] = []

    def lay_out_and_keep(weights: torch.Tensor, tile: Tile) -> torch.Tensor:
        laid_out.append(lay_out(weights, tile))
        return laid_out[-1]

    def kernel_start(unit: KernelUnit, device: object, name: str, shape: tuple) -> Callable[[bytes], None]:
        assert name == "ks_chain"
        extra = () if chain.bias is None else (chain.bias,)

        def start(packed: bytes) -> None:
            ran.append(unit)
            execute(unit, shape, packed, (chain.x, *laid_out, *extra, y))

        return start

    with mock.patch.object(launch, "kernel_start", kernel_start):
        yield lay_out_and_keep
