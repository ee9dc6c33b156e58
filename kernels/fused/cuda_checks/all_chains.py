"""Chains whose kernels together have every tile of either factor that can be chosen, to find spills.

The factors are multiplied one after the other, so a kernel needs the registers of one of them at a time: each
tile is compiled with the partner of fewest sums, which gives it the tightest limit.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator

from kswatch.declared.precisions import SUITE_PRECISIONS
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda.tile import Tile
from kswatch.kernels.fused.cuda_chain.candidates import BATCHES, factor_tiles
from kswatch.kernels.fused.cuda_chain.tile import ChainTile
from kswatch.kernels.fused.cuda_checks.all_tiles import NEIGHBOURS, ROWS, with_narrow_accesses
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import LAYOUTS, Problem

COLUMNS = (64, 256, 2048)
"""Too few for 3xTF32, enough for it, and so many that CUDA cores add them in blocks."""


def choosable_chains(gpu: GpuProperties) -> list[ChainTile]:
    """A chain for each tile of either factor, with its widest and its narrowest accesses."""
    chains: dict[str, ChainTile] = {}
    for problems in _problems(gpu):
        for batch in BATCHES:
            by_threads: dict[int, list[Tile]] = defaultdict(list)
            for tile in _distinct_tiles(problems, batch, gpu):
                by_threads[tile.threads].append(tile)
            for tiles in by_threads.values():
                partner = min(tiles, key=lambda tile: tile.sum_registers)
                for tile in tiles:
                    for chain in (ChainTile(tile, partner), ChainTile(partner, tile)):
                        chains.setdefault(chain.source, chain)
    return list(chains.values())


def _problems(gpu: GpuProperties) -> Iterator[list[Problem]]:
    """Those of each precision and layout that the GPU supports."""
    for precision, layout in itertools.product(SUITE_PRECISIONS, LAYOUTS):
        problems = [
            Problem(Pattern(1, ROWS, c, d), 64, precision, layout)
            for c, d in itertools.product(COLUMNS, NEIGHBOURS)
        ]
        if gpu.supports(problems[0]):
            yield problems


def _distinct_tiles(problems: list[Problem], batch: int, gpu: GpuProperties) -> list[Tile]:
    found: dict[str, Tile] = {}
    for problem in problems:
        for tile in factor_tiles(problem, batch, gpu):
            *_, narrowest = widths = list(with_narrow_accesses(tile))
            for one in (widths[0], narrowest):
                found.setdefault(one.parameters, one)
    return list(found.values())
