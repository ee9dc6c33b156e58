"""Chains whose kernels together have every tile of either factor that can be chosen, to find spills.

The factors are multiplied one after the other, so a kernel needs the registers of one of them at a time: each
tile is compiled with the partner of fewest sums, which gives it the tightest limit; once more in a cluster
where the GPU has them.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator

from kswatch.declared.precisions import SUITE_PRECISIONS
from kswatch.kernels.fused.cuda.gpu_properties import CLUSTER_ARCHITECTURE, GpuProperties
from kswatch.kernels.fused.cuda.tile import Tile
from kswatch.kernels.fused.cuda_chain.candidates import BATCHES, is_for_clusters, second_tiles
from kswatch.kernels.fused.cuda_chain.tile import ChainTile
from kswatch.kernels.fused.cuda_checks.all_tiles import NEIGHBOURS, ROWS, with_narrow_accesses
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import LAYOUTS, Problem

COLUMNS = (64, 256, 2048)
"""Too few for 3xTF32, enough for it, and so many that CUDA cores add them in blocks."""
CLUSTER = 2
"""Blocks of a cluster here: its size is a constant in few places of the kernel."""


def choosable_chains(gpu: GpuProperties) -> list[ChainTile]:
    """A chain for each tile of either factor, with its widest and its narrowest accesses."""
    chains: dict[str, ChainTile] = {}
    for problems in _problems(gpu):
        for batch in BATCHES:
            by_threads: dict[int, list[Tile]] = defaultdict(list)
            for tile in _distinct_tiles(problems, batch, gpu):
                by_threads[tile.threads].append(tile)
            for tiles in by_threads.values():
                for chain in _chains_of(tiles, gpu):
                    chains.setdefault(chain.source, chain)
    return list(chains.values())


def _chains_of(tiles: list[Tile], gpu: GpuProperties) -> Iterator[ChainTile]:
    """Each of the tiles, which have equally many threads, as the first and as the second factor's."""
    firsts = [tile for tile in tiles if not is_for_clusters(tile)]
    partner = min(firsts, key=lambda tile: tile.sum_registers)
    pairs = [pair for tile in firsts for pair in ((tile, partner), (partner, tile))]
    yield from itertools.starmap(ChainTile, pairs)
    if gpu.architecture >= CLUSTER_ARCHITECTURE:
        narrow = [(partner, tile) for tile in tiles if is_for_clusters(tile)]
        for first, second in pairs + narrow:
            yield ChainTile(first, second, CLUSTER, CLUSTER)


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
        for tile in second_tiles(problem, batch, gpu):
            *_, narrowest = widths = list(with_narrow_accesses(tile))
            for one in (widths[0], narrowest):
                found.setdefault(one.parameters, one)
    return list(found.values())
