"""Published chains in two launches and in one: predicted times, which KERNEL_LOG.md holds."""

from __future__ import annotations

from itertools import product

from kswatch.kernels.fused.cuda import tile_candidates as tiles
from kswatch.kernels.fused.cuda.estimate import cycles
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda.tile import Tile
from kswatch.kernels.fused.cuda_chain import candidates
from kswatch.kernels.fused.cuda_chain.estimate import one_launch_cycles, pays, two_launches_cycles
from kswatch.kernels.fused.cuda_chain.tile import Problems
from kswatch.kernels.models.base import Chain
from kswatch.kernels.models.gpt2 import DOWN_CHAINS
from kswatch.kernels.models.vit_s16 import CHAINS as VIT_CHAINS
from kswatch.kernels.problem import Precision, Problem

BATCHES = (1, 16, 196, 1_568, 25_088)
PRECISIONS: tuple[Precision, ...] = ("fp32", "tf32", "fp16")
"""bf16 has the times of fp16."""
CHAINS: dict[Chain, str] = {
    VIT_CHAINS[name]: f"ViT-S/16 {name}" for name in ("to_q", "up", "down")
} | dict.fromkeys(DOWN_CHAINS, "GPT-2 medium down")
"""All published chains of two factors, with the layer that they replace."""
NO_ROOM = "no room"


def header() -> list[str]:
    """The names of the columns."""
    return ["chain", "layer", "precision", *(f"batch {batch}" for batch in BATCHES)]


def lines(gpu: GpuProperties, clock_hz: float) -> list[list[str]]:
    """For each chain and precision, in batch_first: `two launches / one` in ms, at each batch.

    A star marks what is chosen where one launch pays, and `in 8` clusters of eight blocks; `no room` stands
    where the intermediate does not fit.
    """
    return [
        [
            ", ".join(map(str, chain)),
            name,
            precision,
            *(_cell(problems_of(chain, batch, precision), gpu, clock_hz) for batch in BATCHES),
        ]
        for (chain, name), precision in product(CHAINS.items(), PRECISIONS)
    ]


def problems_of(chain: Chain, batch: int, precision: Precision) -> Problems:
    """The products of both factors in batch_first."""
    first, second = (Problem(pattern, batch, precision, "batch_first") for pattern in chain)
    return first, second


def best_tiles(problems: Problems, gpu: GpuProperties) -> tuple[Tile, Tile]:
    """The tiles of two launches, those with wgmma included."""
    return _best_tile(problems[0], gpu), _best_tile(problems[1], gpu)


def _best_tile(problem: Problem, gpu: GpuProperties) -> Tile:
    every = [*tiles.candidates(problem, gpu), *tiles.hopper_tiles(problem, gpu)]
    return min(every, key=lambda tile: cycles(problem, tile, gpu))


def _cell(problems: Problems, gpu: GpuProperties, clock_hz: float) -> str:
    alone, tile = best_tiles(problems, gpu), candidates.choose(problems, gpu)
    two = 1e3 * two_launches_cycles(problems, alone, gpu) / clock_hz
    if tile is None:
        return f"{two:.4f} / {NO_ROOM}"
    one = 1e3 * one_launch_cycles(problems, tile, gpu) / clock_hz
    clusters = f" in {tile.cluster}" if tile.cluster > 1 else ""
    return f"{two:.4f} / {one:.4f}{clusters}{' *' if pays(problems, tile, alone, gpu) else ''}"
