"""What one launch passes to the kernel: `ks::Arguments` of tile.cuh."""

from __future__ import annotations

from struct import Struct, calcsize
from struct import pack as pack_bytes

from kswatch.kernels.fused.cuda.tile import Tile
from kswatch.kernels.problem import Problem

ADDRESSES, NUMBERS = "PPPP", "qiiiiii"
FORMAT = ADDRESSES + NUMBERS
"""x, w, bias, y, batch, a, b, c, d, parts, walkers, in the native alignment that `struct` and the
kernel share."""


def pack(problem: Problem, tile: Tile, x: int, w: int, bias: int, y: int) -> tuple[int, ...]:
    """The values of `FORMAT` for four addresses; 0 for no bias."""
    return (x, w, bias, y, *numbers(problem, tile))


def numbers(problem: Problem, tile: Tile) -> tuple[int, ...]:
    """Those of them that are the same in every launch."""
    return (problem.batch, *problem.pattern.as_tuple(), tile.parts, tile.walkers)


pack_arguments = Struct(f"{ADDRESSES}{calcsize(NUMBERS)}s").pack
"""All bytes, of x, w, bias, y and `pack_numbers`."""


def pack_numbers(problem: Problem, tile: Tile) -> bytes:
    """The bytes of those that are the same in every launch."""
    return pack_bytes(NUMBERS, *numbers(problem, tile))
