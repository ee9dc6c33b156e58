"""A problem: one product to compute, with the bytes and operations that every implementation needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from kswatch.declared.precisions import OUTPUT_ELEMENT_BYTES, multiply_add_flops
from kswatch.errors import UsageError
from kswatch.kernels.pattern import Pattern

Precision = Literal["fp32", "tf32", "bf16", "fp16", "fp64", "complex64", "fp8"]
Layout = Literal["batch_first", "batch_last"]

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
ELEMENT_BYTES: dict[str, int] = {
    **{"fp32": 4, "tf32": 4, "bf16": 2, "fp16": 2},
    **{"fp64": 8, "complex64": 8, "fp8": 1},
}
"""Bytes of an element of X and W."""


@dataclass(frozen=True, order=True, slots=True)
class Problem:
    """Y = X Kᵀ (`batch_first`) or Y = K X (`batch_last`) for one pattern, batch and precision."""

    pattern: Pattern
    batch: int
    precision: Precision
    layout: Layout

    def __post_init__(self) -> None:
        if not isinstance(self.batch, int) or isinstance(self.batch, bool) or self.batch < 1:
            raise UsageError(f"batch {self.batch!r} is not an integer >= 1; try --batch 1024")
        if self.precision not in PRECISIONS:
            raise UsageError(f"unknown precision {self.precision!r}; choose from {', '.join(PRECISIONS)}")
        if self.layout not in LAYOUTS:
            raise UsageError(f"unknown layout {self.layout!r}; choose from {', '.join(LAYOUTS)}")

    def __str__(self) -> str:
        return f"({self.pattern}) batch {self.batch} {self.precision} {self.layout}"

    @property
    def element_bytes(self) -> int:
        """Bytes per stored element of X and W."""
        return ELEMENT_BYTES[self.precision]

    @property
    def output_element_bytes(self) -> int:
        """Bytes per stored element of Y."""
        return OUTPUT_ELEMENT_BYTES[self.precision]

    @property
    def input_shape(self) -> tuple[int, int]:
        """Shape of X: (batch, acd) or (acd, batch)."""
        return self._shape(self.pattern.columns)

    @property
    def output_shape(self) -> tuple[int, int]:
        """Shape of Y: (batch, abd) or (abd, batch)."""
        return self._shape(self.pattern.rows)

    def _shape(self, features: int) -> tuple[int, int]:
        return (self.batch, features) if self.layout == "batch_first" else (features, self.batch)

    @property
    def flops(self) -> int:
        """Real floating-point operations that the product needs: 2·batch·abcd, of complex ones 8."""
        return multiply_add_flops(self.precision) * self.batch * self.pattern.nonzeros

    @property
    def input_bytes(self) -> int:
        """Bytes of X and W, each once."""
        return self.element_bytes * (self.batch * self.pattern.columns + self.pattern.nonzeros)

    @property
    def output_bytes(self) -> int:
        """Bytes of Y, once."""
        return self.output_element_bytes * self.batch * self.pattern.rows

    @property
    def compulsory_bytes(self) -> int:
        """Bytes that no implementation can avoid: X and W read once, Y written once."""
        return self.input_bytes + self.output_bytes

    @property
    def intensity(self) -> float:
        """Flops per compulsory byte."""
        return self.flops / self.compulsory_bytes
