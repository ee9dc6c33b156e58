"""`low_rank`: the product of a tall and a wide matrix."""

from __future__ import annotations

from kswatch.kernels.families.base import ChainFamily, Size, nearest_multiple
from kswatch.kernels.pattern import Pattern


class LowRank(ChainFamily):
    """(1, r, n, 1), (1, m, r, 1)."""

    name = "low_rank"
    statement = "a product of two dense matrices that meet in r features"
    size_names = ("rank",)
    typical_size = (8,)

    def sizes(self, in_features: int, out_features: int, share: float) -> tuple[Size, ...]:
        """The nearest rank that is a multiple of 8."""
        rank = nearest_multiple(share * in_features * out_features / (in_features + out_features))
        return ((rank,),)

    def size_reason(self, in_features: int, out_features: int, size: Size) -> str | None:
        """Every rank >= 1 is possible."""
        del in_features, out_features
        return None if len(size) == 1 and size[0] >= 1 else "low_rank takes a rank >= 1, as in low_rank 32"

    def chain(self, in_features: int, out_features: int, size: Size) -> tuple[Pattern, ...]:
        """The wide matrix, then the tall one."""
        return Pattern(1, size[0], in_features, 1), Pattern(1, out_features, size[0], 1)
