"""`two_four`: of each four neighbouring weights two are zero."""

from __future__ import annotations

from typing import ClassVar

from kswatch.kernels.families.base import Family, LayerShape, Size

MULTIPLE = 16
"""A weight's sides are multiples of this in 16 bits for cuSPARSELt; CUTLASS asks for 32 x 64."""


class TwoFour(Family):
    """Semi-structured sparsity of NVIDIA's sparse tensor cores, through `torch.sparse`."""

    name = "two_four"
    statement = "two of each four neighbouring weights are zero (sparse tensor cores)"
    implementations: ClassVar[tuple[str, ...]] = ("semi_structured",)

    def sizes(self, in_features: int, out_features: int, share: float) -> tuple[Size, ...]:
        """The one size there is: half of the weights."""
        del share
        return ((),) if self.size_reason(in_features, out_features, ()) is None else ()

    def size_reason(self, in_features: int, out_features: int, size: Size) -> str | None:
        """The weight's sides are multiples of 16; what more a GPU needs is asked of it."""
        if size != ():
            return "two_four takes no size"
        if out_features % MULTIPLE or in_features % MULTIPLE:
            sides = f"{out_features} x {in_features}"
            return f"a 2:4 weight has sides that are multiples of {MULTIPLE}; this one is {sides}"
        return None

    def parameters(self, in_features: int, out_features: int, size: Size) -> int:
        """Half of in·out."""
        del size
        return in_features * out_features // 2

    def flops(self, shape: LayerShape, size: Size) -> int:
        """2·batch·in·out/2."""
        del size
        return shape.dense_flops // 2

    def compulsory_bytes(self, shape: LayerShape, size: Size) -> int:
        """X, Y, the kept weights, and two bits of position for each of them."""
        return super().compulsory_bytes(shape, size) + shape.dense_parameters // 2 * 2 // 8

    def implementation_reason(
        self, shape: LayerShape, size: Size, implementation: str, device_kind: str
    ) -> str | None:
        """CUDA only, in 16 bits."""
        reason = super().implementation_reason(shape, size, implementation, device_kind)
        if reason is not None:
            return reason
        if device_kind != "cuda":
            return f"2:4 sparsity is computed by NVIDIA's sparse tensor cores; a {device_kind} has none"
        if shape.precision not in ("fp16", "bf16"):
            return f"torch computes 2:4 sparsity in fp16 and bf16, not in {shape.precision}"
        return None
