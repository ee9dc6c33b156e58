"""`monarch`: two block-diagonal matrices with a permutation between them."""

from __future__ import annotations

from kswatch.kernels.families.base import GRAIN, ChainFamily, Size, divisors
from kswatch.kernels.pattern import Pattern

BLOCKS = 8
"""Blocks of the first factor in `sizes`."""


class Monarch(ChainFamily):
    """(p, r, n/p, 1), (1, m/r, p, r): Dao et al., "Monarch", ICML 2022, for any n and m."""

    name = "monarch"
    statement = "p blocks, a permutation, r blocks (Dao et al., Monarch, ICML 2022)"
    size_names = ("blocks", "rank")
    typical_size = (BLOCKS, 1)

    def sizes(self, in_features: int, out_features: int, share: float) -> tuple[Size, ...]:
        """8 blocks, and the r that divides the outputs, of the multiples of 8 where there are any."""
        if in_features % BLOCKS:
            return ()
        possible = [rank for rank in divisors(out_features) if rank % GRAIN == 0] or divisors(out_features)
        wanted = share * in_features * out_features

        def distance(rank: int) -> float:
            count = self.parameters(in_features, out_features, (BLOCKS, rank))
            return max(count / wanted, wanted / count)

        return ((BLOCKS, min(possible, key=distance)),)

    def size_reason(self, in_features: int, out_features: int, size: Size) -> str | None:
        """The inputs are a multiple of p, the outputs of r."""
        if len(size) != 2 or min(size) < 1:
            return "monarch takes p and r, both >= 1, as in monarch 8,16"
        if in_features % size[0]:
            return f"{in_features} inputs are not a multiple of {size[0]} blocks"
        return (
            f"{out_features} outputs are not a multiple of r = {size[1]}" if out_features % size[1] else None
        )

    def chain(self, in_features: int, out_features: int, size: Size) -> tuple[Pattern, ...]:
        """Neighbouring features in p blocks, then strided ones in r blocks."""
        blocks, rank = size
        return (
            Pattern(blocks, rank, in_features // blocks, 1),
            Pattern(1, out_features // rank, blocks, rank),
        )
