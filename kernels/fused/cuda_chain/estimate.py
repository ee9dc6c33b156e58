"""A rough model of a chain's time in one launch and in two: it decides which of them a layer takes.

In one launch the intermediate is neither written to memory nor read from it. In exchange every batch tile,
which is smaller than those of single factors since all of its intermediate must fit into shared memory,
reads all weights again from the L2 cache. The rates are those of `kernels.fused.cuda.estimate`.

The blocks of a cluster compute an intermediate once, for writes between multiprocessors and two barriers.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from kswatch.kernels.fused.cuda.estimate import (
    L2_BYTES,
    LATENCY_CYCLES,
    LAUNCH_CYCLES,
    MAX_RESIDENT_THREADS,
    REGISTERS,
    SHARED_BYTES,
    START_CYCLES,
    SYSTEM_BYTES,
    ResourceCycles,
    combine_limits,
    step_cycles,
    store_cycles,
)
from kswatch.kernels.fused.cuda.estimate import cycles as product_cycles
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda.tile import Tile, ceil_div
from kswatch.kernels.fused.cuda_chain.tile import ChainTile, Problems, share_size, tile_count
from kswatch.kernels.problem import Problem

MEMORY_BYTES = {80: 13.0, 90: 19.0}
"""From memory, per multiprocessor and cycle: of an A100 (2.0 TB/s on its data sheet, 108 at 1.4 GHz) and an
H200 (4.3 TB/s measured, 132 at 1.7 GHz)."""
OTHER_MEMORY_BYTES = 5.0
"""Of cards with GDDR6: 4 to 6 by their data sheets."""
KEPT_BYTES = 20e6
"""An intermediate of at most so many bytes is read from the L2 cache after the first launch of two: half of
that of an A100, 0.4 of that of an H200."""
NETWORK_BYTES = 13.0
"""To the shared memory of other blocks, per multiprocessor and cycle: 2.65 TB/s in clusters of four, 3.27 in
pairs, on an H800 with 114 multiprocessors at 1.755 GHz (arXiv 2402.13499, distributed shared memory)."""
NETWORK_SECTOR_BYTES = 32
"""Accesses to it should fill aligned segments of so many bytes (NVIDIA's Hopper Tuning Guide)."""
CLUSTER_BARRIER_CYCLES = 400
"""Of two ways through that network, 180 cycles each by the same measurements."""
NETWORK_MULTIPROCESSORS = 16
"""That a network connects: an H100 has 132 in eight groups of 16 or 18 (NVIDIA's H100 whitepaper), so that
clusters of four and eight leave two of 18 without work."""
MARGIN = 0.9
"""A chain takes one launch only if the model predicts at most this share of the time of two: the model has
not been compared with a GPU."""


def cycles(problems: Problems, tile: ChainTile, gpu: GpuProperties) -> float:
    """Estimated cycles of the launch, without the limit of memory."""
    counts = first_tiles(problems, tile), share_size(problems, tile)
    works = _first_work(problems[0], tile.first), _second_work(problems[1], tile.second)
    busy = [
        sum(
            count * (steps * each[unit] + last[unit])
            for count, (steps, each, last) in zip(counts, works, strict=True)
        )
        for unit in range(3)
    ]
    alone: float = START_CYCLES + LATENCY_CYCLES  # the second factor's copies begin anew
    if tile.cluster > 1:
        busy.append(counts[0] * _network_cycles(problems, tile))
        alone += busy[-1] + 2 * CLUSTER_BARRIER_CYCLES
    for count, (steps, each, last), one in zip(counts, works, (tile.first, tile.second), strict=True):
        alone += count * (steps * max(*each, LATENCY_CYCLES / (one.stages - 1)) + sum(last))
    blocks = ceil_div(tile.blocks(problems[0].batch), _multiprocessors(gpu, tile.cluster))
    resident = resident_blocks(problems, tile, gpu)
    return blocks * combine_limits(*busy, alone / min(blocks, resident))


def resident_blocks(problems: Problems, tile: ChainTile, gpu: GpuProperties) -> int:
    """Blocks that share a multiprocessor, limited by shared memory, registers and threads."""
    by_registers = REGISTERS // (tile.registers * tile.threads)
    by_threads = MAX_RESIDENT_THREADS // tile.threads
    launch_bytes = tile.launch_bytes(problems[1].pattern)
    by_memory = (gpu.shared_bytes + SYSTEM_BYTES) // (launch_bytes + SYSTEM_BYTES)
    return max(1, min(by_memory, by_registers, by_threads))


def _multiprocessors(gpu: GpuProperties, cluster: int) -> int:
    """Those that clusters of this size can use; all groups have an even number."""
    if cluster <= 2:
        return gpu.multiprocessors
    return max(cluster, gpu.multiprocessors // NETWORK_MULTIPROCESSORS * NETWORK_MULTIPROCESSORS)


def _network_cycles(problems: Problems, tile: ChainTile) -> float:
    """Of writing a tile of the first factor to those blocks of the cluster that read it.

    A warp of the tensor cores writes eight batch entries of a row in an access, others fill their segments.
    """
    one, element_bytes = tile.first, problems[0].element_bytes
    groups = tile_count(problems[1], tile.second) // ceil_div(problems[1].pattern.b, tile.second.rows)
    of_cluster = ceil_div(groups * tile.cluster, tile.shares)
    readers = min(tile.cluster, tile.cluster * tile.held_groups(problems[1].pattern) / of_cluster)
    segment = 8 * element_bytes if one.family == "tensor_cores" else NETWORK_SECTOR_BYTES
    waste = max(1.0, NETWORK_SECTOR_BYTES / segment)
    remote = readers * (tile.cluster - 1) / tile.cluster
    return element_bytes * one.rows * one.batch * one.neighbours * remote * waste / NETWORK_BYTES


Work = tuple[int, ResourceCycles, ResourceCycles]
"""Steps of a tile, the cycles of each, and those of its end."""


@lru_cache(maxsize=4096)
def _first_work(problem: Problem, tile: Tile) -> Work:
    stored = problem.element_bytes * tile.rows * tile.batch * tile.neighbours / SHARED_BYTES
    return ceil_div(problem.pattern.c, tile.depth), step_cycles(problem, tile), (0.0, stored, 0.0)


@lru_cache(maxsize=4096)
def _second_work(problem: Problem, tile: Tile) -> Work:
    """Its X is in shared memory, in the order in which it is multiplied: only weights are copied."""
    work = tile.rows * tile.batch * tile.neighbours * tile.depth
    multiplying, _, _ = step_cycles(problem, tile)
    w_bytes = problem.element_bytes * tile.weight_elements
    read_bytes = problem.element_bytes * work * (1 / tile.worker_rows + 1 / tile.worker_batch)
    step = multiplying, (w_bytes + read_bytes) / SHARED_BYTES, w_bytes / L2_BYTES
    return ceil_div(problem.pattern.c, tile.depth), step, store_cycles(problem, tile)


# ---- the first factor's tiles that a share needs --------------------------------------------------------


def first_tiles(problems: Problems, tile: ChainTile) -> int:
    """The most tiles of the first factor that a block computes for its share, or in turns for its cluster."""
    clusters = tile.shares // tile.cluster
    if clusters == 1:
        return ceil_div(tile_count(problems[0], tile.first), tile.cluster)
    return ceil_div(max(_needed_tiles(problems, tile, number) for number in range(clusters)), tile.cluster)


@lru_cache(maxsize=65536)
def _needed(problems: Problems, first: Tile, features: range, js: range) -> int:
    d = problems[1].pattern.d
    return sum(
        _any_needed(begin, count, features, js, d) for begin, count in _feature_runs(problems[0], first)
    )


def _needed_tiles(problems: Problems, tile: ChainTile, number: int) -> int:
    """Of a share, or of all shares of a cluster."""
    a, b, c, d = problems[1].pattern.as_tuple()
    size, total = tile.cluster * share_size(problems, tile), tile_count(problems[1], tile.second)
    begin, end = number * size, min((number + 1) * size, total)
    if begin >= end:
        return 0
    k_tiles, groups = ceil_div(b, tile.second.rows), ceil_div(d, tile.second.neighbours)
    first, last = begin // k_tiles, (end - 1) // k_tiles
    features = range(first // groups * c * d, (last // groups + 1) * c * d)
    js = range(d)
    if first // groups == last // groups:
        js = range(first % groups * tile.second.neighbours, (last % groups + 1) * tile.second.neighbours)
    return _needed(problems, tile.first, features, js)


def _feature_runs(problem: Problem, tile: Tile) -> Iterator[tuple[int, int]]:
    """(first feature of Y, features up to the last one) of each tile."""
    a, b, _, d = problem.pattern.as_tuple()
    for i in range(a):
        for j in range(0, d, tile.neighbours):
            for k in range(0, b, tile.rows):
                rows, js = min(tile.rows, b - k), min(tile.neighbours, d - j)
                yield (i * b + k) * d + j, (rows - 1) * d + js


def _any_needed(begin: int, count: int, features: range, js: range, d: int) -> bool:
    """`ks::Needs::any` of chain.cuh."""
    if begin + count <= features.start or begin >= features.stop:
        return False
    j = begin % d
    return count >= d or (j < js.stop and j + count > js.start) or j + count > d + js.start


# ---- one launch or two ---------------------------------------------------------------------------------


def one_launch_cycles(problems: Problems, tile: ChainTile, gpu: GpuProperties) -> float:
    """The launch, and at least the time of its compulsory bytes in memory."""
    first, second = problems
    weights = first.pattern.nonzeros + second.pattern.nonzeros
    moved = first.element_bytes * (first.batch * (first.pattern.columns + second.pattern.rows) + weights)
    return max(cycles(problems, tile, gpu), moved / _memory_rate(gpu))


def two_launches_cycles(problems: Problems, tiles: tuple[Tile, Tile], gpu: GpuProperties) -> float:
    """Both launches, and at least the time of the bytes that each moves from and to memory."""
    rate = _memory_rate(gpu)
    intermediate = problems[0].output_bytes
    kept = intermediate if intermediate <= KEPT_BYTES else 0
    each = [
        max(product_cycles(problem, tile, gpu), (problem.compulsory_bytes - kept) / rate)
        for problem, tile in zip(problems, tiles, strict=True)
    ]
    return sum(each) + LAUNCH_CYCLES


def pays(problems: Problems, tile: ChainTile, tiles: tuple[Tile, Tile], gpu: GpuProperties) -> bool:
    """Whether one launch is predicted to be clearly faster than two by these tiles."""
    return one_launch_cycles(problems, tile, gpu) <= MARGIN * two_launches_cycles(problems, tiles, gpu)


def _memory_rate(gpu: GpuProperties) -> float:
    return gpu.multiprocessors * MEMORY_BYTES.get(gpu.architecture, OTHER_MEMORY_BYTES)
