"""The pairs of tiles that can compute a chain, and the choice among them: pure functions, as for a factor."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import product

from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda.tile import Tile
from kswatch.kernels.fused.cuda.tile_candidates import ROWS, assemble, groupings
from kswatch.kernels.fused.cuda_chain.estimate import cycles
from kswatch.kernels.fused.cuda_chain.tile import ChainTile, Problems, tile_count
from kswatch.kernels.problem import Problem

BATCHES = (16, 32, 64)
"""Batch entries of a block: more would leave room for narrow intermediates only."""


@lru_cache(maxsize=1024)
def choose(problems: Problems, gpu: GpuProperties) -> ChainTile | None:
    """The pair with the smallest estimate; None where no intermediate fits into shared memory."""
    return min(candidates(problems, gpu), key=lambda tile: cycles(problems, tile, gpu), default=None)


def candidates(problems: Problems, gpu: GpuProperties) -> Iterator[ChainTile]:
    """Every pair that fits the GPU, with as many stages as fit and each useful number of shares."""
    for batch in BATCHES:
        seconds: dict[int, list[Tile]] = defaultdict(list)
        for tile in factor_tiles(problems[1], batch, gpu):
            seconds[tile.threads].append(tile)
        for first in factor_tiles(problems[0], batch, gpu):
            for second in seconds[first.threads]:
                fitting = _with_fewer_stages(ChainTile(first, second), problems, gpu)
                if fitting:
                    yield from _with_shares(fitting, problems, gpu)


def factor_tiles(problem: Problem, batch: int, gpu: GpuProperties) -> Iterator[Tile]:
    """The tiles of one factor with so many batch entries."""
    for family, (neighbours, flat), rows in product(gpu.families(problem), groupings(problem), ROWS):
        tile = assemble(problem, family, rows, batch, neighbours, flat)
        if tile is not None:
            yield tile


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
        yield tile
        tile = replace(tile, shares=2 * tile.shares)
        if tile.blocks(problems[0].batch) > 2 * gpu.multiprocessors:
            return
