"""The arguments of one kernel launch: `ks::Arguments` of tile.cuh."""

from __future__ import annotations

from struct import Struct, calcsize, pack

from kswatch.kernels.fused.cuda.tile import Tile
from kswatch.kernels.problem import Problem

ADDRESSES, NUMBERS = "PPPP", "qiiiiii"
FORMAT = ADDRESSES + NUMBERS
"""x, w, bias, y, batch, a, b, c, d, parts, walkers, in the native alignment that `struct` and the
kernel share; the address of a missing bias is 0."""

pack_arguments = Struct(f"{ADDRESSES}{calcsize(NUMBERS)}s").pack
"""All bytes, from the addresses of x, w, bias and y and from `pack_numbers`."""


def pack_numbers(problem: Problem, tile: Tile) -> bytes:
    """The bytes of the arguments that are the same in every launch of a product."""
    return pack(NUMBERS, problem.batch, *problem.pattern.as_tuple(), tile.parts, tile.walkers)
