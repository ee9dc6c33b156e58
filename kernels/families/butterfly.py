"""`butterfly`: log2(n) factors of 2x2 blocks."""

from __future__ import annotations

from kswatch.kernels.families.base import ChainFamily, Size
from kswatch.kernels.pattern import Pattern


class Butterfly(ChainFamily):
    """(n/2, 2, 2, 1), (n/4, 2, 2, 2), ..., (1, 2, 2, n/2) for n = m = 2^s."""

    name = "butterfly"
    statement = "log2(n) factors of 2 x 2 blocks, for n = m = a power of two (Dao et al., ICML 2019)"

    def sizes(self, in_features: int, out_features: int, share: float) -> tuple[Size, ...]:
        """The one size there is, for a square layer whose side is a power of two."""
        del share
        return ((),) if self.size_reason(in_features, out_features, ()) is None else ()

    def size_reason(self, in_features: int, out_features: int, size: Size) -> str | None:
        """Inputs and outputs are the same power of two, 2 or more."""
        if size != ():
            return "butterfly takes no size"
        if in_features != out_features or in_features < 2 or in_features & (in_features - 1):
            return f"butterfly needs inputs = outputs = a power of two, not {in_features} -> {out_features}"
        return None

    def chain(self, in_features: int, out_features: int, size: Size) -> tuple[Pattern, ...]:
        """Neighbours first, halves last."""
        del out_features, size
        steps = [1 << power for power in range(in_features.bit_length() - 1)]
        return tuple(Pattern(in_features // (2 * step), 2, 2, step) for step in steps)
