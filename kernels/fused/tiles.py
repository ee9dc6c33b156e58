"""Which tile computes a problem: a pure function of the problem and the device.

Every tile that the device can hold is ranked by `estimate.cycles`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import product

from kernels.fused.estimate import cycles
from kernels.fused.machine import Machine
from kernels.fused.tile import Family, Tile
from kernels.problem import Problem

ROWS = (16, 32, 48, 64, 96, 128)
BATCHES = (16, 32, 64, 128, 256)
SEGMENTS = (8, 16)
"""Neighbouring j's taken together where there are so many: 32-byte sectors in fp32 and 16 bits."""

MAX_WARPS = 8
MAX_SUMS = {"tensor_cores": 128, "cores": 64}
"""fp32 registers of a thread that hold sums; more would spill."""
MIN_THREADS = 64
CORE_SHARES = ((8, 8), (8, 4), (4, 4))
MAX_STAGES = {True: 4, False: 3}
"""By whether one j is computed at a time."""


@lru_cache(maxsize=4096)
def choose(problem: Problem, machine: Machine, alignment_bytes: int = 16) -> Tile:
    """The tile with the smallest estimate; tf32 only where the machine has tensor cores.

    Args:
        problem: What is computed.
        machine: Where.
        alignment_bytes: A power of two that divides the addresses of X and Y.
    """
    tiles = candidates(problem, machine, alignment_bytes)
    return min(tiles, key=lambda tile: cycles(problem, tile, machine))


def candidates(problem: Problem, machine: Machine, alignment_bytes: int = 16) -> Iterator[Tile]:
    """Every tile that can compute the problem on the machine, with as many stages as fit."""
    for (neighbours, flat), rows, batch in product(groupings(problem), ROWS, BATCHES):
        tile = assemble(problem, machine.family(problem), rows, batch, neighbours, flat)
        if tile is None:
            continue
        tile = replace(tile, vector_bytes=vector_bytes(problem, flat, alignment_bytes))
        while tile.shared_bytes > machine.shared_bytes and tile.stages > 2:
            tile = replace(tile, stages=tile.stages - 1)
        if tile.shared_bytes <= machine.shared_bytes:
            yield tile


def groupings(problem: Problem) -> list[tuple[int, bool]]:
    """How many j's a block may take together, and whether they are one run of a length known late."""
    d = problem.pattern.d
    if problem.layout == "batch_last":
        return [(1, False)]
    segments = [(size, False) for size in SEGMENTS if size <= d]
    whole = 1 << (d - 1).bit_length()
    return segments if d in SEGMENTS or whole > max(SEGMENTS) else [(whole, True), *segments]


def assemble(
    problem: Problem, family: Family, rows: int, batch: int, neighbours: int, flat: bool
) -> Tile | None:
    """A tile of these sizes with its threads laid out; None where no layout of them fits."""
    share = warp_share if family == "tensor_cores" else thread_share
    worker_rows, worker_batch, worker_neighbours = share(rows, batch, neighbours)
    one_j = neighbours == 1
    tile = Tile(
        family=family,
        precision=problem.precision,
        layout=problem.layout,
        rows=rows,
        batch=batch,
        depth=depth(problem, family, one_j),
        neighbours=neighbours,
        flat=flat,
        worker_rows=worker_rows,
        worker_batch=worker_batch,
        worker_neighbours=worker_neighbours,
        stages=MAX_STAGES[one_j],
        vector_bytes=problem.element_bytes,
    )
    fits = MIN_THREADS <= tile.threads <= MAX_WARPS * 32 and tile.sums <= MAX_SUMS[family]
    return tile if fits else None


def depth(problem: Problem, family: Family, one_j: bool) -> int:
    """Columns per step: two tensor-core instructions of 32 bytes each for one j, one for several."""
    if family == "cores":
        return 16 if one_j else 8
    return (64 if one_j else 32) // problem.element_bytes


def warp_share(rows: int, batch: int, neighbours: int) -> tuple[int, int, int]:
    """(rows, batch, j's) of one warp, when j's are dealt out first and then the longer side halved."""
    warps = min(neighbours, MAX_WARPS)
    share = {"rows": rows, "batch": batch}
    while warps < MAX_WARPS:
        halves = [side for side, size in share.items() if size % 32 == 0]
        if not halves:
            break
        share[max(halves, key=lambda side: share[side])] //= 2
        warps *= 2
    return share["rows"], share["batch"], neighbours // min(neighbours, MAX_WARPS)


def thread_share(rows: int, batch: int, neighbours: int) -> tuple[int, int, int]:
    """(rows, batch, j's) of one thread: the largest share that leaves work for MIN_THREADS."""
    for share in CORE_SHARES:
        if rows * batch * neighbours >= MIN_THREADS * share[0] * share[1]:
            break
    return (*share, 1)


def vector_bytes(problem: Problem, flat: bool, alignment_bytes: int) -> int:
    """The widest access that divides the addresses and every stride of X and Y."""
    pattern = problem.pattern
    if problem.layout == "batch_last":
        runs = [problem.batch]
    elif flat:
        runs = [pattern.c * pattern.d, pattern.b * pattern.d]
    else:
        runs = [pattern.d]
    width = min(16, alignment_bytes)
    while any(run * problem.element_bytes % width for run in runs):
        width //= 2
    return width
