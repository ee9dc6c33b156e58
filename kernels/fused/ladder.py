"""The ladder of the kernel's versions: what each should take, by the model. KERNEL_LOG.md keeps it.

`python -m kernels.fused.ladder` prints the table of that file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from kernels.fused.estimate import cycles
from kernels.fused.machine import Machine
from kernels.fused.tile import Tile
from kernels.fused.tiles import BATCHES, ROWS, assemble, by_warpgroups, candidates, groupings, with_vectors
from kernels.pattern import Pattern
from kernels.problem import Problem

H200 = Machine(90, 132)
CLOCK_HZ = 1.7e9
"""Under load, supposed."""
COPY_BYTES_PER_S = 4.3e12
"""Measured on one H200."""

PROBLEMS = (
    Problem(Pattern(6, 64, 64, 1), 25_088, "fp16", "batch_last"),
    Problem(Pattern(1, 1024, 1024, 1), 25_088, "fp16", "batch_first"),
    Problem(Pattern(1, 128, 128, 3), 25_088, "fp16", "batch_first"),
    Problem(Pattern(6, 64, 64, 16), 25_088, "fp16", "batch_first"),
    Problem(Pattern(6, 64, 64, 16), 25_088, "fp16", "batch_last"),
    Problem(Pattern(1, 256, 1024, 1), 16, "fp16", "batch_last"),
    Problem(Pattern(1, 192, 192, 4), 25_088, "fp32", "batch_last"),
    Problem(Pattern(6, 64, 64, 16), 25_088, "fp32", "batch_first"),
)

VERSIONS: tuple[tuple[str, Callable[[Tile], bool]], ...] = (
    ("CUDA cores", lambda tile: not tile.walkers and tile.parts == 1 and tile.family == "cores"),
    ("tensor cores", lambda tile: not tile.walkers and tile.parts == 1 and tile.family != "warpgroups"),
    ("parts of c", lambda tile: not tile.walkers and tile.family != "warpgroups"),
    ("walkers", lambda tile: tile.family != "warpgroups"),
    ("wgmma, TMA", lambda tile: True),
)
"""Each has what those before it have."""

NOT_MEASURED = "not yet, no GPU"


def predicted_ms(problem: Problem, tile: Tile) -> float:
    """By the model, and never under the time that the compulsory bytes take."""
    return max(1e3 * cycles(problem, tile, H200) / CLOCK_HZ, floor_ms(problem))


def floor_ms(problem: Problem) -> float:
    """Of the compulsory bytes alone."""
    return 1e3 * problem.compulsory_bytes / COPY_BYTES_PER_S


def every_tile(problem: Problem) -> Iterator[Tile]:
    """Those that are chosen from, and those of the CUDA cores that 16 bits have left behind."""
    yield from candidates(problem, H200)
    wide = by_warpgroups(problem, H200)
    if wide:
        yield wide
    for neighbours, flat in groupings(problem):
        for rows in ROWS:
            for batch in BATCHES:
                tile = assemble(problem, "cores", rows, batch, neighbours, flat)
                if tile and tile.shared_bytes <= H200.shared_bytes:
                    yield with_vectors(problem, tile)


def table() -> str:
    """A line for every problem: predicted milliseconds by version, the floor, and what was measured."""
    heads = ["problem", *(name for name, _ in VERSIONS), "floor", "measured"]
    lines = [heads, ["---"] * len(heads)]
    for problem in PROBLEMS:
        tiles = list(every_tile(problem))
        times = [
            min((predicted_ms(problem, tile) for tile in tiles if has(tile)), default=None)
            for _, has in VERSIONS
        ]
        cells = ["" if time is None else f"{time:.4f}" for time in times]
        lines.append([str(problem), *cells, f"{floor_ms(problem):.4f}", NOT_MEASURED])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    print(table())
