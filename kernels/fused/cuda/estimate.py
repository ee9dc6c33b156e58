"""How long a tile should take, roughly: it ranks tiles and promises nothing.

Per step of c a block multiplies, moves X and W from the L2 cache and moves both through shared
memory; these overlap, so that the slowest of them counts, and then it stores Y. Blocks that share a
multiprocessor overlap in all of it, until one of the three is busy all the time. Rates are per
multiprocessor and cycle, of the A100 and H100 generations.
"""

from __future__ import annotations

from typing import NamedTuple

from kswatch.kernels.fused.cuda.machine import Machine
from kswatch.kernels.fused.cuda.tile import Tile, ceil
from kswatch.kernels.problem import ELEMENT_BYTES, Problem

MULTIPLY_ADDS = {"fp32": 512 / 3, "tf32": 512, "bf16": 1024, "fp16": 1024}
CORE_MULTIPLY_ADDS = 128
WARPGROUP_GAIN = 1.6
"""mma.sync reaches some 62 % of what wgmma does."""
SHARED_BYTES = 128
SHARED_ACCESSES = 32
"""Single elements, whatever their size."""
GLOBAL_BYTES = 40
"""From the L2 cache; others measured 28 to 40 on H100s."""
START_CYCLES = 2000
"""From a block's first copy to its first product and from its last to the store."""

LATENCY_CYCLES = 800
"""From a copy's start to its landing; a block's stages have their copies under way at once."""
LAUNCH_CYCLES = 3000
"""From the end of a launch to the start of the next."""

SHARPNESS = 4
"""Of the corner between two limits: two equal ones cost a fifth more than one."""

SECTOR_BYTES = 32
REGISTERS = 65536
MAX_RESIDENT_THREADS = 1536
SYSTEM_BYTES = 1024
"""Of shared memory that each block takes for the system, from sm_80 on."""


class Load(NamedTuple):
    """Cycles of a multiprocessor's three resources."""

    multiplying: float
    shared: float
    global_: float

    def times(self, count: int) -> Load:
        """Of so many of these."""
        return Load(*(count * part for part in self))

    def plus(self, other: Load) -> Load:
        """Of both."""
        return Load(*(mine + its for mine, its in zip(self, other, strict=True)))


def cycles(problem: Problem, tile: Tile, machine: Machine) -> float:
    """Estimated cycles of the launch, or of both where there is a second pass."""
    steps = ceil(ceil(problem.pattern.c, tile.depth), tile.parts)
    batch_tiles = ceil(ceil(problem.batch, tile.batch), tile.walkers) if tile.walkers else 1
    step, store = _step_load(problem, tile), _store_load(problem, tile)
    under_way = tile.stages if tile.family == "warpgroups" else tile.stages - 1
    alone = batch_tiles * (steps * max(*step, LATENCY_CYCLES / under_way) + store.shared + store.global_)
    alone += START_CYCLES + (steps * _weight_bytes(tile) / GLOBAL_BYTES if tile.walkers else 0)
    on_one = ceil(tile.blocks(problem), machine.multiprocessors)
    busy = step.times(steps).plus(store).times(batch_tiles)
    launch = on_one * together(*busy, alone / min(on_one, resident(tile, machine)))
    return launch + (_second_pass_cycles(problem, tile, machine) if tile.parts > 1 else 0)


def together(*parts: float) -> float:
    """What several limits come to: the largest, and more where others are nearly as large."""
    return sum(part**SHARPNESS for part in parts) ** (1 / SHARPNESS)


def resident(tile: Tile, machine: Machine) -> int:
    """Blocks that share a multiprocessor, by shared memory, registers and threads."""
    by_registers = REGISTERS // (tile.registers * tile.threads)
    by_threads = MAX_RESIDENT_THREADS // tile.threads
    by_memory = (machine.shared_bytes + SYSTEM_BYTES) // (tile.launch_bytes + SYSTEM_BYTES)
    return max(1, min(by_memory, by_registers, by_threads))


def _weight_bytes(tile: Tile) -> int:
    """Of one step."""
    return ELEMENT_BYTES[tile.precision] * tile.weight_elements


def _second_pass_cycles(problem: Problem, tile: Tile, machine: Machine) -> float:
    sums = problem.batch * problem.pattern.rows
    bytes_on_one = sums * (4 * tile.parts + problem.element_bytes) / machine.multiprocessors
    return LAUNCH_CYCLES + bytes_on_one / GLOBAL_BYTES


def _step_load(problem: Problem, tile: Tile) -> Load:
    element_bytes = ELEMENT_BYTES[tile.precision]
    work = tile.rows * tile.batch * tile.neighbours * tile.depth
    rate = CORE_MULTIPLY_ADDS if tile.family == "cores" else MULTIPLY_ADDS[tile.precision]
    rate *= WARPGROUP_GAIN if tile.family == "warpgroups" else 1
    x_bytes = element_bytes * tile.batch * tile.depth * tile.neighbours
    w_bytes = 0 if tile.walkers else _weight_bytes(tile)
    read_bytes = element_bytes * work * (1 / tile.worker_rows + 1 / tile.worker_batch)
    turned = not (tile.direct or tile.layout == "batch_last")
    turn_cycles = (x_bytes / element_bytes / SHARED_ACCESSES + x_bytes / SHARED_BYTES) if turned else 0.0
    return Load(
        work / rate,
        (x_bytes + w_bytes + read_bytes) / SHARED_BYTES + turn_cycles,
        (x_bytes * _sector_waste(problem, tile) + w_bytes) / GLOBAL_BYTES,
    )


def _store_load(problem: Problem, tile: Tile) -> Load:
    elements = tile.rows * tile.batch * tile.neighbours
    y_bytes = (4 if tile.parts > 1 else ELEMENT_BYTES[tile.precision]) * elements
    alone = 0 if tile.layout == "batch_last" else 1 if tile.neighbours == 1 else 2  # accesses by one element
    shared_cycles = alone * elements / SHARED_ACCESSES + (2 - alone) * y_bytes / SHARED_BYTES
    return Load(0.0, shared_cycles, y_bytes * _sector_waste(problem, tile) / GLOBAL_BYTES)


def _sector_waste(problem: Problem, tile: Tile) -> float:
    """Bytes that a segment of neighbouring j's moves, over those it needs."""
    if tile.layout == "batch_last" or tile.neighbours >= problem.pattern.d:
        return 1.0
    segment_bytes = ELEMENT_BYTES[tile.precision] * tile.neighbours
    return ceil(segment_bytes, SECTOR_BYTES) * SECTOR_BYTES / segment_bytes
