"""`blast`: blocks that share the factors of their row and column."""

from __future__ import annotations

from kswatch.kernels.families.base import ChainFamily, Size, nearest_multiple
from kswatch.kernels.pattern import Pattern

BLOCKS = 8
"""Blocks a side in `sizes`."""


class Blast(ChainFamily):
    """(b, r, q, 1), (1, b, b, r), (b, p, r, 1) with q = n/b, p = m/b (arXiv 2410.21262)."""

    name = "blast"
    statement = "b x b blocks of rank r that share factors by row and column (arXiv 2410.21262)"
    size_names = ("blocks", "rank")
    typical_size = (BLOCKS, 8)

    def sizes(self, in_features: int, out_features: int, share: float) -> tuple[Size, ...]:
        """8 blocks a side, and the nearest rank that is a multiple of 8."""
        if in_features % BLOCKS or out_features % BLOCKS:
            return ()
        weights_of_a_rank = in_features + out_features + BLOCKS**2
        return ((BLOCKS, nearest_multiple(share * in_features * out_features / weights_of_a_rank)),)

    def size_reason(self, in_features: int, out_features: int, size: Size) -> str | None:
        """Both sides are multiples of b."""
        if len(size) != 2 or min(size) < 1:
            return "blast takes b and r, both >= 1, as in blast 8,16"
        for side, features in (("inputs", in_features), ("outputs", out_features)):
            if features % size[0]:
                return f"{features} {side} are not a multiple of {size[0]} blocks"
        return None

    def chain(self, in_features: int, out_features: int, size: Size) -> tuple[Pattern, ...]:
        """Columns' factors, the blocks' own diagonals, rows' factors."""
        blocks, rank = size
        return (
            Pattern(blocks, rank, in_features // blocks, 1),
            Pattern(1, blocks, blocks, rank),
            Pattern(blocks, out_features // blocks, rank, 1),
        )
