"""Which tile computes a problem: a pure function of the problem and the device.

Every tile that the device can hold is ranked by `estimate.cycles`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import product

from kswatch.kernels.fused.cuda.estimate import SECTOR_BYTES, cycles
from kswatch.kernels.fused.cuda.machine import Machine
from kswatch.kernels.fused.cuda.tile import Family, Tile, ceil
from kswatch.kernels.problem import Problem

ROWS = (16, 32, 48, 64, 96, 128)
BATCHES = (16, 32, 64, 128, 256)
SEGMENTS = (8, 16)
"""Neighbouring j's taken together where there are so many: 32-byte sectors in fp32 and 16 bits."""

MAX_WARPS = 8
MAX_SUMS = {"tensor_cores": 128, "cores": 64}
"""fp32 registers of a thread that hold sums; more would spill."""
ROUNDED_SUMS = 64
"""As many leave too few registers to round X to tf32 as ldmatrix brings it: 16 bytes spilled on sm_80."""
MIN_THREADS = 64
CORE_SHARES = ((8, 8), (8, 4), (4, 4))
PARTS = (2, 4, 8, 16)
MIN_STEPS = 4
"""Steps of c in a part: fewer would be all start and no work."""
MIN_WALKING_NEIGHBOURS = 4
"""j's of a tile from which on its weights are a burden: J times those of one j, for fewer batch entries."""
MIN_WALK = 4
"""Batch tiles for each walker, to pay for the start."""
HOPPER = 90
MIN_WARPGROUP_EXTENT = 64
"""Rows, columns and batch entries from which on a tile of wgmma is worth its padding."""
WARPGROUP_SIZES = ((64, 128, 3), (128, 128, 3), (128, 256, 4))
"""Rows, batch entries and most stages of a tile of hopper.cu: two blocks share a multiprocessor, but for the
last, which takes less from the L2 cache for each sum."""
SPAN_BYTES = 128
"""Of c in one step: the longest row that the swizzle of TMA and wgmma knows."""
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
    kinds = product(machine.families(problem), groupings(problem), ROWS, BATCHES)
    for family, (neighbours, flat), rows, batch in kinds:
        tile = assemble(problem, family, rows, batch, neighbours, flat)
        if tile is None:
            continue
        tile = with_vectors(problem, tile, alignment_bytes)
        for kind in (tile, *in_parts(tile, problem, machine), *walking(tile, problem, machine)):
            while kind.launch_bytes > machine.shared_bytes and kind.stages > 2:
                kind = replace(kind, stages=kind.stages - 1)
            if kind.launch_bytes <= machine.shared_bytes:
                yield kind


def by_warpgroups(problem: Problem, machine: Machine) -> Tile | None:
    """The tile of hopper.cu with the smallest estimate; None where `of_warpgroups` has none."""
    return min(of_warpgroups(problem, machine), key=lambda tile: cycles(problem, tile, machine), default=None)


def of_warpgroups(problem: Problem, machine: Machine) -> list[Tile]:
    """The tiles of hopper.cu; none where it cannot compute the problem or mma.sync is not what limits.

    TMA takes strides of whole 16 bytes and coordinates of 32 bits, and wgmma whole rows of 128 bytes, in
    tf32 along c alone; batch_first with d > 1 must be turned around, which it cannot.
    """
    a, b, c, d = problem.pattern.as_tuple()
    last = problem.layout == "batch_last"
    run_bytes = problem.element_bytes * (problem.batch if last else c)
    serves = problem.precision in ("fp16", "bf16") or (problem.precision == "tf32" and not last)
    if machine.architecture != HOPPER or not serves or not (last or d == 1):
        return []
    if run_bytes % 16 or problem.batch >= 2**31 or min(b, c, problem.batch) < MIN_WARPGROUP_EXTENT:
        return []
    steps = ceil(c, SPAN_BYTES // problem.element_bytes)
    return [
        warpgroup_tile(problem, rows, batch, min(stages, steps)) for rows, batch, stages in WARPGROUP_SIZES
    ]


def warpgroup_tile(problem: Problem, rows: int, batch: int, stages: int) -> Tile:
    """A tile of hopper.cu, with 64 of the rows for each warpgroup."""
    return Tile(
        family="warpgroups",
        precision=problem.precision,
        layout=problem.layout,
        rows=rows,
        batch=batch,
        depth=SPAN_BYTES // problem.element_bytes,
        neighbours=1,
        flat=problem.layout == "batch_first",
        worker_rows=64,
        worker_batch=batch,
        worker_neighbours=1,
        stages=stages,
        vector_bytes=vector_bytes(problem, problem.layout == "batch_first", 16),
    )


def in_parts(tile: Tile, problem: Problem, machine: Machine) -> Iterator[Tile]:
    """The tile with c cut into parts, where it has too few blocks for the machine."""
    steps = ceil(problem.pattern.c, tile.depth)
    blocks = tile.blocks(problem)
    for parts in PARTS:
        if blocks * parts <= 2 * machine.multiprocessors and steps >= parts * MIN_STEPS:
            yield replace(tile, parts=parts)


def walking(tile: Tile, problem: Problem, machine: Machine) -> Iterator[Tile]:
    """The tile with its weights kept in shared memory, where several j's would read them again and again."""
    sector = tile.flat or tile.neighbours * problem.element_bytes >= SECTOR_BYTES
    if tile.neighbours < MIN_WALKING_NEIGHBOURS or not sector:
        return
    along_batch = ceil(problem.batch, tile.batch)
    others = tile.blocks(problem) // along_batch
    for on_one in (1, 2):  # blocks that share a multiprocessor
        walkers = max(1, on_one * machine.multiprocessors // others)
        if walkers * MIN_WALK <= along_batch:
            yield replace(tile, walkers=walkers, weight_steps=ceil(problem.pattern.c, tile.depth))


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
    most = MAX_SUMS[family] // (2 if tile.split else 1)
    spills = tile.precision == "tf32" and tile.direct and tile.sums == ROUNDED_SUMS
    fits = MIN_THREADS <= tile.threads <= MAX_WARPS * 32 and tile.sums <= most
    return tile if fits and not spills else None


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


def with_vectors(problem: Problem, tile: Tile, alignment_bytes: int = 16) -> Tile:
    """The tile with the widest accesses that the problem's strides and such addresses allow."""
    return replace(tile, vector_bytes=vector_bytes(problem, tile.flat, alignment_bytes))


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
