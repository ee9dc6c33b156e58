"""The pairs of tiles that can compute a chain, and the choice among them: pure functions, as for a factor."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import product

from kswatch.kernels.fused.cuda.gpu_properties import CLUSTER_ARCHITECTURE, GpuProperties
from kswatch.kernels.fused.cuda.tile import Tile
from kswatch.kernels.fused.cuda.tile_candidates import ROWS, assemble, groupings
from kswatch.kernels.fused.cuda_chain.estimate import cycles
from kswatch.kernels.fused.cuda_chain.tile import ChainTile, Problems, tile_count
from kswatch.kernels.problem import Problem

BATCHES = (16, 32, 64)
"""Batch entries of a block: more would leave room for narrow intermediates only."""
CLUSTERS = (2, 4, 8)
"""Blocks of a cluster; every GPU that has clusters launches up to eight."""
NARROW_SEGMENTS = (2, 4)
"""j's that a block of a cluster may take together, besides the numbers of single factors: stores fill fewer
sectors, but each block holds fewer planes of the intermediate."""


@lru_cache(maxsize=1024)
def choose(problems: Problems, gpu: GpuProperties) -> ChainTile | None:
    """The pair with the smallest estimate; None where no intermediate fits into shared memory."""
    return min(candidates(problems, gpu), key=lambda tile: cycles(problems, tile, gpu), default=None)


def candidates(problems: Problems, gpu: GpuProperties) -> Iterator[ChainTile]:
    """Every pair that fits the GPU, with as many stages as fit and each useful number of blocks."""
    clusters = CLUSTERS if gpu.architecture >= CLUSTER_ARCHITECTURE else ()
    for batch in BATCHES:
        seconds: dict[int, list[Tile]] = defaultdict(list)
        for tile in second_tiles(problems[1], batch, gpu):
            seconds[tile.threads].append(tile)
        for first in factor_tiles(problems[0], batch, gpu):
            for second in seconds[first.threads]:
                sizes = clusters if is_for_clusters(second) else (1, *clusters)
                for size in sizes:
                    yield from _with_shares(ChainTile(first, second, size, size), problems, gpu)


def second_tiles(problem: Problem, batch: int, gpu: GpuProperties) -> Iterator[Tile]:
    """The tiles of the second factor, those that only clusters use included."""
    yield from factor_tiles(problem, batch, gpu)
    if problem.layout == "batch_first" and gpu.architecture >= CLUSTER_ARCHITECTURE:
        narrow = [(size, False) for size in NARROW_SEGMENTS if size < problem.pattern.d]
        yield from factor_tiles(problem, batch, gpu, narrow)


def factor_tiles(
    problem: Problem, batch: int, gpu: GpuProperties, groups: Sequence[tuple[int, bool]] | None = None
) -> Iterator[Tile]:
    """The tiles of one factor with so many batch entries; in the groups of single factors by default."""
    groups = groupings(problem) if groups is None else groups
    for family, (neighbours, flat), rows in product(gpu.families(problem), groups, ROWS):
        tile = assemble(problem, family, rows, batch, neighbours, flat)
        if tile is not None:
            yield tile


def is_for_clusters(tile: Tile) -> bool:
    """Whether only clusters use this tile, for a second factor."""
    return not tile.flat and tile.neighbours in NARROW_SEGMENTS


def _with_fewer_stages(tile: ChainTile, problems: Problems, gpu: GpuProperties) -> ChainTile | None:
    pattern = problems[1].pattern
    while tile.launch_bytes(pattern) > gpu.shared_bytes and max(tile.first.stages, tile.second.stages) > 2:
        first, second = (replace(one, stages=max(2, one.stages - 1)) for one in (tile.first, tile.second))
        tile = replace(tile, first=first, second=second)
    return tile if tile.launch_bytes(pattern) <= gpu.shared_bytes else None


def _with_shares(tile: ChainTile, problems: Problems, gpu: GpuProperties) -> Iterator[ChainTile]:
    """The pair, and variants with more blocks for a batch tile where there are too few to fill the GPU."""
    most = tile_count(problems[1], tile.second)
    while tile.shares <= most:
        if fitting := _with_fewer_stages(tile, problems, gpu):
            yield fitting
        tile = replace(tile, shares=2 * tile.shares)
        if tile.blocks(problems[0].batch) > 2 * gpu.multiprocessors:
            return
