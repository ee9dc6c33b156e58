"""The tiles that can compute a problem, and the choice among them: pure functions of problem and GPU.

Every tile that fits the GPU is ranked by `estimate.cycles`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import product

from kswatch.kernels.fused.cuda.estimate import SECTOR_BYTES, cycles
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda.tile import CLUSTER, SOURCES, Family, Tile, ceil_div
from kswatch.kernels.problem import Problem

ROWS = (16, 32, 48, 64, 96, 128)
BATCHES = (16, 32, 64, 128, 256)
SEGMENTS = {8: (8, 16), 4: (8, 16), 2: (8, 16), 1: (16, 32)}
"""Neighbouring j's that a block takes, where d is large enough, by bytes of an element; the last are whole
sectors of 32 bytes."""

MAX_WARPS = 8
MAX_SUMS = {"tensor_cores": 128, "cores": 64}
"""Maximum fp32 registers of a thread that hold sums; more would spill."""
LONG_COLUMNS = {"fp32": 1024, "complex64": 512}
"""Up to this many columns plain fp32 errs by at most 6e-7, of 1e-6 allowed; with more it adds in blocks. A
complex sum adds two products for each column."""
ROUNDED_SUMS = 64
"""This many sums leave too few registers to round X to tf32 after ldmatrix, 16 bytes spill on sm_80; or to
convert fp8 to fp16, as sm_90 does for mma.sync."""
LONG_WARP = (16, 128)
"""Rows and batch entries of a warp that has one of eight j's of a segment: in 16 bits with 2-byte accesses it
spills 16 bytes on sm_80. Without it 21 of 3,584 problems take longer on an A100 by the model, by 1 % in the
median and 10 % at most; all of them have at most 16 rows, and none is in a suite."""
MIN_THREADS = 64
CORE_SHARES = ((8, 8), (8, 4), (4, 4))
PARTS = (2, 4, 8, 16)
MIN_STEPS = 4
"""Minimum steps of c in a part; with fewer, the start of a block would dominate."""
MIN_WALKING_NEIGHBOURS = 4
"""j's of a tile from which on loading its weights is costly: J times those of one j, for a smaller batch."""
MIN_TILES_PER_WALKER = 4
"""Minimum batch tiles per walker, to amortise its start."""
HOPPER = 90
MIN_WARPGROUP_EXTENT = 64
"""Rows, columns and batch entries from which on a tile of wgmma is worth its padding."""
WARPGROUP_SIZES = ((64, 128, 3), (128, 128, 3), (128, 256, 4))
"""Rows, batch entries and maximum stages of a tile of hopper.cu: two blocks share a multiprocessor, except
for the last size, which reads fewer bytes from the L2 cache for each sum."""
MAX_PROMOTED_BATCH = 128
"""Batch entries of a tile of wgmma in fp8, whose threads hold each sum twice."""
PERSISTENT_SIZE = (256, 192, 3)
"""The same of hopper_persistent.cu: at the limits of registers and shared memory, so that each byte from the
L2 cache serves as many sums as possible."""
SPAN_BYTES = 128
"""Bytes of c in one step: the longest row that the swizzle of TMA and wgmma supports."""
MAX_STAGES = {True: 4, False: 3}
"""Maximum stages, by whether a block computes a single j."""


@lru_cache(maxsize=4096)
def choose(problem: Problem, gpu: GpuProperties) -> Tile:
    """The tile with the smallest estimate, warpgroup tiles aside; tf32 needs a GPU with tensor cores."""
    return min(candidates(problem, gpu), key=lambda tile: cycles(problem, tile, gpu))


def candidates(problem: Problem, gpu: GpuProperties) -> Iterator[Tile]:
    """Every tile that can compute the problem on the GPU, with as many stages as fit."""
    kinds = product(gpu.families(problem), groupings(problem), ROWS, BATCHES)
    for family, (neighbours, flat), rows, batch in kinds:
        tile = assemble(problem, family, rows, batch, neighbours, flat)
        if tile is None:
            continue
        for variant in (tile, *with_parts(tile, problem, gpu), *with_walkers(tile, problem, gpu)):
            while variant.launch_bytes > gpu.shared_bytes and variant.stages > 2:
                variant = replace(variant, stages=variant.stages - 1)
            if variant.launch_bytes <= gpu.shared_bytes:
                yield variant


def warpgroup_tiles(problem: Problem, gpu: GpuProperties) -> list[Tile]:
    """The tiles of hopper.cu; none where it cannot compute the problem or mma.sync is not the bottleneck.

    TMA needs strides that are multiples of 16 bytes and 32-bit coordinates; wgmma needs rows of 128 bytes,
    in tf32 and fp8 only along c; batch_first with d > 1 would have to be transposed, as hopper.cu does not.
    """
    a, b, c, d = problem.pattern.as_tuple()
    last = problem.layout == "batch_last"
    run_bytes = problem.element_bytes * (problem.batch if last else c)
    is_supported = problem.precision in ("fp16", "bf16") or (
        problem.precision in ("tf32", "fp8") and not last
    )
    if gpu.architecture != HOPPER or not is_supported or not (last or d == 1):
        return []
    if run_bytes % 16 or problem.batch >= 2**31 or min(b, c, problem.batch) < MIN_WARPGROUP_EXTENT:
        return []
    steps = ceil_div(c, SPAN_BYTES // problem.element_bytes)
    return [
        _tile(problem, "warpgroups", (rows, batch, 1, not last), (64, batch, 1), min(stages, steps))
        for rows, batch, stages in WARPGROUP_SIZES
        if problem.precision != "fp8" or batch <= MAX_PROMOTED_BATCH
    ]


def persistent_tiles(problem: Problem, gpu: GpuProperties) -> list[Tile]:
    """The tile of hopper_persistent.cu, where that of hopper.cu can be used and TMA can store Y, too."""
    a, b, _, d = problem.pattern.as_tuple()
    row_bytes = problem.element_bytes * (problem.batch if problem.layout == "batch_last" else b)
    rows, batch, stages = PERSISTENT_SIZE
    is_supported = problem.precision != "fp8" and warpgroup_tiles(problem, gpu)
    if not is_supported or row_bytes % 16 or problem.batch + CLUSTER * batch >= 2**31:
        return []
    pairs = ceil_div(problem.batch, CLUSTER * batch) * ceil_div(b, rows) * a * d
    tile = _tile(
        problem, "persistent", (rows, batch, 1, problem.layout == "batch_first"), (64, batch, 1), stages
    )
    return [replace(tile, walkers=min(pairs, gpu.multiprocessors // CLUSTER))] if pairs < 2**31 else []


def hopper_tiles(problem: Problem, gpu: GpuProperties) -> list[Tile]:
    """All tiles with wgmma and TMA."""
    return warpgroup_tiles(problem, gpu) + persistent_tiles(problem, gpu)


def _tile(
    problem: Problem,
    family: Family,
    block: tuple[int, int, int, bool],
    worker: tuple[int, int, int],
    stages: int,
) -> Tile:
    """A tile with the widest accesses that the problem's strides allow.

    `block` holds its rows, batch entries, j's, and whether it covers all d of them; `worker` the rows, batch
    entries and j's of a thread, warp or warpgroup.
    """
    rows, batch, neighbours, flat = block
    depth = _depth(problem, family, neighbours == 1)
    widest = vector_bytes(problem, flat)
    if problem.layout == "batch_first" and not flat:  # no access reaches from one segment to the next
        widest = min(widest, neighbours * problem.element_bytes)
    sizes = (rows, batch, depth, neighbours, flat, *worker, stages, widest)
    return Tile(family, problem.precision, problem.layout, *sizes)


def with_parts(tile: Tile, problem: Problem, gpu: GpuProperties) -> Iterator[Tile]:
    """The tile with c split into parts, where it has too few blocks to fill the GPU."""
    steps = ceil_div(problem.pattern.c, tile.depth)
    blocks = tile.blocks(problem)
    for parts in PARTS:
        if blocks * parts <= 2 * gpu.multiprocessors and steps >= parts * MIN_STEPS:
            yield replace(tile, parts=parts)


def with_walkers(tile: Tile, problem: Problem, gpu: GpuProperties) -> Iterator[Tile]:
    """The tile with its weights kept in shared memory, where several j's would reload them repeatedly."""
    fills_sectors = tile.flat or tile.neighbours * problem.element_bytes >= SECTOR_BYTES
    if tile.neighbours < MIN_WALKING_NEIGHBOURS or not fills_sectors:
        return
    along_batch = ceil_div(problem.batch, tile.batch)
    other_blocks = tile.blocks(problem) // along_batch
    for per_multiprocessor in (1, 2):  # blocks that share a multiprocessor
        walkers = max(1, per_multiprocessor * gpu.multiprocessors // other_blocks)
        if walkers * MIN_TILES_PER_WALKER <= along_batch:
            yield replace(tile, walkers=walkers, weight_steps=ceil_div(problem.pattern.c, tile.depth))


def groupings(problem: Problem) -> list[tuple[int, bool]]:
    """(j's of a block, whether they are all d of them, in one run whose length is known only at run time)."""
    d = problem.pattern.d
    if problem.layout == "batch_last":
        return [(1, False)]
    sizes = SEGMENTS[problem.element_bytes]
    segments = [(size, False) for size in sizes if size <= d]
    whole = 1 << (d - 1).bit_length()
    return segments if d in sizes or whole > max(sizes) else [(whole, True), *segments]


def assemble(
    problem: Problem, family: Family, rows: int, batch: int, neighbours: int, flat: bool
) -> Tile | None:
    """A tile of these sizes, divided among its threads; None where no division fits."""
    share = warp_share if family == "tensor_cores" else thread_share
    worker, stages = share(problem, rows, batch, neighbours), MAX_STAGES[neighbours == 1]
    tile = _tile(problem, family, (rows, batch, neighbours, flat), worker, stages)
    if family == "cores" and problem.pattern.c > LONG_COLUMNS.get(problem.precision, problem.pattern.c):
        tile = replace(tile, blocked=True)
    halved = tile.split or tile.precision == "fp8"
    max_sums = MAX_SUMS[family] // (2 if halved else 1) * 4 // tile.sum_bytes
    fits = MIN_THREADS <= tile.threads <= MAX_WARPS * 32 and tile.sums <= max_sums
    return tile if fits and not _spills(tile) else None


def _spills(tile: Tile) -> bool:
    """Whether the tile needs more registers than its limit, though its sums fit."""
    if tile.precision in ("tf32", "fp8"):
        return tile.direct and tile.sums == ROUNDED_SUMS
    in_segments = tile.family == "tensor_cores" and tile.neighbours == 8 and not tile.flat
    return in_segments and tile.precision != "fp32" and (tile.worker_rows, tile.worker_batch) == LONG_WARP


def _depth(problem: Problem, family: Family, one_j: bool) -> int:
    """Columns per step: two tensor-core instructions of 32 bytes each for one j, one for several."""
    if family == "cores":
        return 16 if one_j else 8
    if family in SOURCES:
        return SPAN_BYTES // problem.element_bytes
    return (64 if one_j else 32) // problem.element_bytes


def warp_share(problem: Problem, rows: int, batch: int, neighbours: int) -> tuple[int, int, int]:
    """(rows, batch, j's) of one warp: the j's are distributed first, then the longer side is halved."""
    del problem
    warps = min(neighbours, MAX_WARPS)
    share = {"rows": rows, "batch": batch}
    while warps < MAX_WARPS:
        halves = [side for side, size in share.items() if size % 32 == 0]
        if not halves:
            break
        share[max(halves, key=lambda side: share[side])] //= 2
        warps *= 2
    return share["rows"], share["batch"], neighbours // min(neighbours, MAX_WARPS)


def thread_share(problem: Problem, rows: int, batch: int, neighbours: int) -> tuple[int, int, int]:
    """(rows, batch, j's) of one thread: the largest share that still occupies MIN_THREADS threads.

    Sums of 8 bytes have half as many in the largest share, since each takes two registers.
    """
    for share in CORE_SHARES if problem.element_bytes <= 4 else CORE_SHARES[1:]:
        if rows * batch * neighbours >= MIN_THREADS * share[0] * share[1]:
            break
    return (*share, 1)


def vector_bytes(problem: Problem, flat: bool) -> int:
    """The widest access, up to 16 bytes, that divides every stride of X and Y."""
    pattern = problem.pattern
    if problem.layout == "batch_last":
        runs = [problem.batch]
    elif flat:
        runs = [pattern.c * pattern.d, pattern.b * pattern.d]
    else:
        runs = [pattern.d]
    width = 16
    while any(run * problem.element_bytes % width for run in runs):
        width //= 2
    return width
