"""`btt`: block tensor-train matrices of two cores."""

from __future__ import annotations

from kswatch.kernels.families.base import ChainFamily, Size, square_divisor
from kswatch.kernels.pattern import Pattern


class BlockTensorTrain(ChainFamily):
    """(n1, r·m2, n2, 1), (1, m1, r·n1, m2) with n = n1·n2, m = m1·m2.

    Qiu et al., "Compute Better Spent: Replacing Dense Layers with Structured Matrices", ICML 2024,
    arXiv 2406.06248.
    """

    name = "btt"
    statement = "block tensor train of two cores and rank r (Qiu et al., ICML 2024, arXiv 2406.06248)"
    size_names = ("n1", "m1", "rank")
    typical_size = (1, 1, 1)

    def sizes(self, in_features: int, out_features: int, share: float) -> tuple[Size, ...]:
        """Cores as square as the sides allow, and the nearest rank."""
        n1, m1 = square_divisor(in_features), square_divisor(out_features)
        of_rank_1 = self.parameters(in_features, out_features, (n1, m1, 1))
        return ((n1, m1, max(1, round(share * in_features * out_features / of_rank_1))),)

    def size_reason(self, in_features: int, out_features: int, size: Size) -> str | None:
        """The inputs are a multiple of n1, the outputs of m1."""
        if len(size) != 3 or min(size) < 1:
            return "btt takes n1, m1 and r, all >= 1, as in btt 32,64,1"
        if in_features % size[0]:
            return f"{in_features} inputs are not a multiple of n1 = {size[0]}"
        return (
            f"{out_features} outputs are not a multiple of m1 = {size[1]}" if out_features % size[1] else None
        )

    def chain(self, in_features: int, out_features: int, size: Size) -> tuple[Pattern, ...]:
        """The core of the inputs, then that of the outputs."""
        n1, m1, rank = size
        n2, m2 = in_features // n1, out_features // m1
        return Pattern(n1, rank * m2, n2, 1), Pattern(1, m1, rank * n1, m2)
