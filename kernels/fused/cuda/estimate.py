"""A rough model of a tile's time, used to rank tiles; it does not predict latencies.

Per step of c a block multiplies, moves X and W from the L2 cache and moves both through shared
memory; these overlap, so the slowest of them counts. At the end it stores Y. Blocks on the same
multiprocessor overlap as well, until one of the three resources is saturated. Rates are per
multiprocessor and cycle, for the A100 and H100 generations.
"""

from __future__ import annotations

from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda.tile import CLUSTER, Tile, ceil_div
from kswatch.kernels.problem import Problem

MULTIPLY_ADDS = {"fp32": 512 / 3, "tf32": 512, "bf16": 1024, "fp16": 1024, "fp8": 1024}
"""By mma.sync, which sm_90 computes in fp16 for fp8."""
CORE_MULTIPLY_ADDS = {"fp64": 64, "complex64": 32}
"""On CUDA cores; 128 in all other precisions. Of fp64 that is an H100's rate, which is twice an A100's."""
WARPGROUP_GAIN = 1.6
"""mma.sync reaches some 62 % of the throughput of wgmma."""
SHARED_BYTES = 128
SHARED_ACCESSES = 32
"""Accesses by single elements, whatever their size."""
L2_BYTES = 40
"""From the L2 cache; published measurements on H100s are 28 to 40."""
START_CYCLES = 2000
"""From a block's first copy to its first product and from its last product to the store."""

LATENCY_CYCLES = 800
"""From the start of a copy until its data has arrived; the copies of a block's stages overlap."""
LAUNCH_CYCLES = 3000
"""From the end of a launch to the start of the next."""

SHARPNESS = 4
"""Exponent with which limits are combined: two equal limits cost a fifth more than one."""

SECTOR_BYTES = 32
REGISTERS = 65536
MAX_RESIDENT_THREADS = 1536
SYSTEM_BYTES = 1024
"""Shared memory that the system reserves for each block, from sm_80 on."""


ResourceCycles = tuple[float, float, float]
"""Cycles for which a multiprocessor multiplies, uses its shared memory and the L2 cache."""


def cycles(problem: Problem, tile: Tile, gpu: GpuProperties) -> float:
    """Estimated cycles of the launch, including the second pass where there is one."""
    if tile.family == "persistent":
        return _persistent_cycles(problem, tile)
    steps = ceil_div(ceil_div(problem.pattern.c, tile.depth), tile.parts)
    batch_tiles = ceil_div(ceil_div(problem.batch, tile.batch), tile.walkers) if tile.walkers else 1
    step, store = step_cycles(problem, tile), store_cycles(problem, tile)
    in_flight = tile.stages if tile.family == "warpgroups" else tile.stages - 1
    alone = batch_tiles * (steps * max(*step, LATENCY_CYCLES / in_flight) + sum(store)) + START_CYCLES
    if tile.walkers:
        alone += steps * problem.element_bytes * tile.weight_elements / L2_BYTES
    blocks = ceil_div(tile.blocks(problem), gpu.multiprocessors)
    busy = [batch_tiles * (steps * each + last) for each, last in zip(step, store, strict=True)]
    launch = blocks * combine_limits(*busy, alone / min(blocks, resident_blocks(tile, gpu)))
    return launch + (_second_pass_cycles(problem, tile, gpu) if tile.parts > 1 else 0)


def _persistent_cycles(problem: Problem, tile: Tile) -> float:
    """Cycles of blocks that copy, multiply and store at the same time, for one tile after the other.

    Only the start and the last tile's store overlap with nothing: the two warpgroups that multiply do not
    wait for each other, so that one multiplies while the other one writes its part of Y to shared memory.
    """
    a, b, c, d = problem.pattern.as_tuple()
    pairs = ceil_div(problem.batch, CLUSTER * tile.batch) * ceil_div(b, tile.rows) * a * d
    tiles, steps = ceil_div(pairs, tile.walkers), ceil_div(c, tile.depth)
    step, store = step_cycles(problem, tile), store_cycles(problem, tile)
    busy = [tiles * (steps * each + last) for each, last in zip(step, store, strict=True)]
    return combine_limits(*busy, tiles * steps * LATENCY_CYCLES / tile.stages) + START_CYCLES + max(store)


def combine_limits(*limits: float) -> float:
    """The largest limit, and somewhat more where others are nearly as large."""
    return sum(limit**SHARPNESS for limit in limits) ** (1 / SHARPNESS)


def resident_blocks(tile: Tile, gpu: GpuProperties) -> int:
    """Blocks that share a multiprocessor, limited by shared memory, registers and threads."""
    by_registers = REGISTERS // (tile.registers * tile.threads)
    by_threads = MAX_RESIDENT_THREADS // tile.threads
    by_memory = (gpu.shared_bytes + SYSTEM_BYTES) // (tile.launch_bytes + SYSTEM_BYTES)
    return max(1, min(by_memory, by_registers, by_threads))


def _second_pass_cycles(problem: Problem, tile: Tile, gpu: GpuProperties) -> float:
    sums = problem.batch * problem.pattern.rows
    sum_bytes = tile.sum_bytes * tile.parts
    bytes_per_multiprocessor = sums * (sum_bytes + problem.output_element_bytes) / gpu.multiprocessors
    return LAUNCH_CYCLES + bytes_per_multiprocessor / L2_BYTES


def step_cycles(problem: Problem, tile: Tile) -> ResourceCycles:
    """Of one step along c, for all rows, batch entries and j's of a block."""
    element_bytes = problem.element_bytes
    work = tile.rows * tile.batch * tile.neighbours * tile.depth
    rate = (
        CORE_MULTIPLY_ADDS.get(tile.precision, 128)
        if tile.family == "cores"
        else MULTIPLY_ADDS[tile.precision]
    )
    rate *= WARPGROUP_GAIN if tile.needs_trust else 1
    rate *= 2 if tile.needs_trust and tile.precision == "fp8" else 1
    x_bytes = element_bytes * tile.batch * tile.depth * tile.neighbours
    keeps_weights = tile.walkers and tile.family != "persistent"
    w_bytes = 0 if keeps_weights else element_bytes * tile.weight_elements
    read_bytes = element_bytes * work * (1 / tile.worker_rows + 1 / tile.worker_batch)
    shared_cycles = (x_bytes + w_bytes + read_bytes) / SHARED_BYTES
    if not (tile.direct or tile.layout == "batch_last"):  # X is transposed
        shared_cycles += x_bytes / element_bytes / SHARED_ACCESSES + x_bytes / SHARED_BYTES
    if tile.family == "persistent":  # each block of a cluster copies half of the weights, to both
        w_bytes //= CLUSTER
    return (
        work / rate,
        shared_cycles,
        (x_bytes * _sector_waste(problem, tile, element_bytes) + w_bytes) / L2_BYTES,
    )


def store_cycles(problem: Problem, tile: Tile) -> ResourceCycles:
    """Of writing a block's part of Y."""
    elements = tile.rows * tile.batch * tile.neighbours
    element_bytes = tile.sum_bytes if tile.parts > 1 else problem.output_element_bytes
    y_bytes = element_bytes * elements
    # of the two passes through shared memory, those that access single elements
    by_element = 0 if tile.layout == "batch_last" else 1 if tile.neighbours == 1 else 2
    if tile.family == "persistent":  # rows of 16 bytes, and words in different banks
        by_element = 0
    shared_cycles = by_element * elements / SHARED_ACCESSES + (2 - by_element) * y_bytes / SHARED_BYTES
    return 0.0, shared_cycles, y_bytes * _sector_waste(problem, tile, problem.output_element_bytes) / L2_BYTES


def _sector_waste(problem: Problem, tile: Tile, element_bytes: int) -> float:
    """Bytes moved for a segment of neighbouring j's, relative to the bytes that it needs."""
    if tile.layout == "batch_last" or tile.neighbours >= problem.pattern.d:
        return 1.0
    segment_bytes = element_bytes * tile.neighbours
    return ceil_div(segment_bytes, SECTOR_BYTES) * SECTOR_BYTES / segment_bytes
