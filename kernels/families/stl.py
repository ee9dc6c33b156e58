"""`stl`: Strassen-Tile, an approximate bilinear product of tiles."""

from __future__ import annotations

from typing import ClassVar

from kswatch.kernels.families.base import FACTOR_IMPLEMENTATIONS, Family, LayerShape, Size
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem

TILE = 4
RANKS = (16, 24, 32)
"""The tile and the ranks in `sizes`."""
STOCK = "stl_bmm"
"""The whole layer as an expert writes it with stock torch."""
ONE_PASS = "stl_one_pass"
"""Encoding, core and decoding in one pass over X, on a CPU."""


def one_pass_reason(size: Size, precision: str, layout: str, device_kind: str) -> str | None:
    """Why there is no such layer in one pass, as a sentence; None where there is."""
    if device_kind != "cpu":
        return "one pass over a Strassen-Tile layer is a product of the CPU twin; on a GPU name its core"
    if (precision, layout) != ("fp32", "batch_first"):
        return "one pass over a Strassen-Tile layer is compiled for fp32 in batch_first"
    if size[0] != TILE or size[1] not in RANKS:
        ranks = ", ".join(map(str, RANKS))
        return f"one pass over a Strassen-Tile layer is compiled for tile {TILE} and rank {ranks}"
    return None


class StrassenTile(Family):
    """Y_ij = D Σ_l (E_X X_il) ⊙ (E_W W_lj) over tiles of t x t (arXiv 2503.12211).

    A tile mixes t rows of X, so rows of one tile see each other; rows are padded to a multiple of t.
    """

    name = "stl"
    statement = "tiles of t x t encoded to r channels, r products, decoded (arXiv 2503.12211)"
    size_names = ("tile", "rank")
    typical_size = (TILE, 24)
    implementations: ClassVar[tuple[str, ...]] = (STOCK, ONE_PASS, *FACTOR_IMPLEMENTATIONS)
    """Stock torch, one pass, or the core product by an implementation of its pattern."""

    def sizes(self, in_features: int, out_features: int, share: float) -> tuple[Size, ...]:
        """Tiles of 4 x 4 with r = 16, 24 and 32, at each share: r/t² of dense."""
        del share
        found = ((TILE, rank) for rank in RANKS)
        return tuple(one for one in found if self.size_reason(in_features, out_features, one) is None)

    def size_reason(self, in_features: int, out_features: int, size: Size) -> str | None:
        """The tile divides both sides."""
        if len(size) != 2 or min(size) < 1:
            return "stl takes a tile and a rank, both >= 1, as in stl 4,24"
        for side, features in (("inputs", in_features), ("outputs", out_features)):
            if features % size[0]:
                return f"{features} {side} are not a multiple of the tile {size[0]}"
        return None

    def implementation_reason(
        self, shape: LayerShape, size: Size, implementation: str, device_kind: str
    ) -> str | None:
        """See `Family`."""
        reason = super().implementation_reason(shape, size, implementation, device_kind)
        if reason is None and implementation == ONE_PASS:
            return one_pass_reason(size, shape.precision, shape.layout, device_kind)
        return reason

    def parameters(self, in_features: int, out_features: int, size: Size) -> int:
        """The encoded weight, r/t² of dense, the encoder of X and the decoder."""
        tile, rank = size
        return rank * (in_features // tile) * (out_features // tile) + 2 * rank * tile**2

    def flops(self, shape: LayerShape, size: Size) -> int:
        """2·n·k·r to encode, 2·r·n·k·m/t³ in the core, 2·n·m·r to decode, n padded to whole tiles."""
        tile, rank = size
        rows = tile * self.tile_rows(shape.batch, size)
        core = self.core(shape, size)
        return 2 * rows * rank * (shape.in_features + shape.out_features) + core.flops

    @staticmethod
    def tile_rows(batch: int, size: Size) -> int:
        """Rows of tiles: the batch over t, rounded up."""
        return -(-batch // size[0])

    def core(self, shape: LayerShape, size: Size) -> Problem:
        """The product between encoding and decoding: pattern (1, m/t, k/t, r), batch n/t."""
        tile, rank = size
        pattern = Pattern(1, shape.out_features // tile, shape.in_features // tile, rank)
        return Problem(pattern, self.tile_rows(shape.batch, size), shape.precision, shape.layout)
