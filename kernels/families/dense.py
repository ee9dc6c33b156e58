"""`dense`: the matrix itself."""

from __future__ import annotations

from typing import ClassVar

from kswatch.declared.precisions import LAYER_PRECISIONS
from kswatch.kernels.families.base import Family, LayerShape, Size
from kswatch.kernels.problem import Precision


class Dense(Family):
    """All in·out weights, as in `nn.Linear`."""

    name = "dense"
    statement = "the full matrix, as in nn.Linear"
    implementations: ClassVar[tuple[str, ...]] = ("linear",)
    precisions: ClassVar[tuple[Precision, ...]] = LAYER_PRECISIONS

    def sizes(self, in_features: int, out_features: int, share: float) -> tuple[Size, ...]:
        """The one size there is."""
        del in_features, out_features, share
        return ((),)

    def size_reason(self, in_features: int, out_features: int, size: Size) -> str | None:
        """Every shape is possible."""
        del in_features, out_features
        return None if size == () else "dense takes no size"

    def parameters(self, in_features: int, out_features: int, size: Size) -> int:
        """in·out."""
        del size
        return in_features * out_features

    def flops(self, shape: LayerShape, size: Size) -> int:
        """2·batch·in·out."""
        del size
        return shape.dense_flops
