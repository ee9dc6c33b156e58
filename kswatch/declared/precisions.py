"""What several folders know of the precisions, also beside kernels of an older revision."""

from __future__ import annotations

from typing import Final, Literal

from kswatch.errors import UsageError

SUITE_PRECISIONS: Final[tuple[Literal["fp32", "tf32", "bf16", "fp16"], ...]] = (
    "fp32",
    "tf32",
    "bf16",
    "fp16",
)
"""Those of suites, models and canaries; products in others are measured where they are asked for."""

LAYER_PRECISIONS: Final[tuple[Literal["fp32", "tf32", "bf16", "fp16", "fp64", "complex64"], ...]] = (
    *SUITE_PRECISIONS,
    "fp64",
    "complex64",
)
"""Those of layers: the two last ones are those of transforms."""

OUTPUT_ELEMENT_BYTES: Final[dict[str, int]] = {
    **{"fp32": 4, "tf32": 4, "bf16": 2, "fp16": 2},
    **{"fp64": 8, "complex64": 8, "fp8": 2},
}
"""Bytes of an element of Y: the product of fp8 is bf16."""

INPUT_RMS: Final[dict[str, float]] = {"fp8": 64.0}
"""Root mean square of the X of measured products, where it is not 1: seven standard deviations of fp8 end at
its largest number."""


def multiply_add_flops(precision: str) -> int:
    """Real operations of one product that is added to a sum: 2; of complex numbers 8."""
    return 8 if precision == "complex64" else 2


def check_layer_precision(precision: str) -> None:
    """Check the precision of a layer.

    Raises:
        UsageError: no layer is measured in it.
    """
    if precision not in LAYER_PRECISIONS:
        known = ", ".join(LAYER_PRECISIONS)
        raise UsageError(f"no layer is measured in precision {precision!r}; choose from {known}")
