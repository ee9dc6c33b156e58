"""Two factors in one pass of the CPU twin: for each tile of the batch, the intermediate stays in the cache."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import cache

import torch

from kswatch.errors import UsageError
from kswatch.kernels.fused.cpu_twin import twin
from kswatch.kernels.fused.cpu_twin.twin import CPU, PRECISION_CODES, PackedWeights
from kswatch.kernels.implementation import STORAGE_DTYPES, Empty, Product, require_input, require_tensor
from kswatch.kernels.pattern import check_chain
from kswatch.kernels.problem import Problem

USUAL_L2_BYTES = 1 << 20
"""Of a core's second-level cache, where the system does not say."""
INTERMEDIATE_SHARE = 0.5
"""Share of that cache for the intermediate; the other half is for weights, X, Y and packed rows."""
WHOLE_TILES = 48
"""Entries of a tile of the batch are a multiple of this where they can be: whole register tiles in
`batch_first`, whole vectors in `batch_last`."""


class PackedFactorStruct(ctypes.Structure):
    """`struct PackedFactor` of twin_chain.hpp."""

    _fields_ = [("plan", ctypes.c_void_p), ("packed", ctypes.c_void_p)]


class ChainStruct(ctypes.Structure):
    """`struct ChainPlan` of twin_chain.hpp."""

    _fields_ = [
        ("first", PackedFactorStruct),
        ("second", PackedFactorStruct),
        ("precision", ctypes.c_int32),
        ("batch_last", ctypes.c_int32),
        ("tile", ctypes.c_int64),
    ]


@cache
def l2_bytes() -> int:
    """Bytes of a core's second-level cache."""
    try:
        return os.sysconf("SC_LEVEL2_CACHE_SIZE") or USUAL_L2_BYTES
    except (OSError, ValueError):
        return USUAL_L2_BYTES


def tile_entries(first: Problem) -> int:
    """Entries of the batch whose intermediate fits the cache; the whole batch where not even a few would.

    Args:
        first: The product of the right-most factor, whose output is the intermediate.
    """
    fitting = int(INTERMEDIATE_SHARE * l2_bytes()) // (first.pattern.rows * first.element_bytes)
    if fitting < WHOLE_TILES:
        return first.batch
    return min(first.batch, fitting // WHOLE_TILES * WHOLE_TILES)


ChainProduct = Callable[..., torch.Tensor]
"""`product(x, bias=None, empty=torch.empty) -> y`; the bias of shape (features of Y,), in the dtype of y."""


def product(
    problems: tuple[Problem, Problem], packed: tuple[PackedWeights, PackedWeights], tile: int | None = None
) -> ChainProduct:
    """A closure that only launches: Y = K2 K1 X + bias, rounded as by two products and an addition.

    Args:
        problems: Of the right-most factor, then of the other.
        packed: The weights of both, from `twin.lay_out`.
        tile: Entries of the batch at once; the number for this CPU's cache by default.

    Raises:
        UsageError: the problems are no chain.
    """
    first, second = problems
    check_chain((first.pattern, second.pattern))
    if (first.batch, first.precision, first.layout) != (second.batch, second.precision, second.layout):
        raise UsageError(f"{first} and {second} differ in batch, precision or layout: they are no chain")
    chain = ChainStruct(
        *(PackedFactorStruct(one.plan.address, one.words.data_ptr()) for one in packed),
        PRECISION_CODES[first.precision],
        first.layout == "batch_last",
        tile or tile_entries(first),
    )
    multiply, address = packed[0].plan.functions.kswatch_twin_multiply_chain, ctypes.addressof(chain)
    dtype, batch, bias_shape = STORAGE_DTYPES[first.precision], first.batch, (second.pattern.rows,)
    input_shape, output_shape = first.input_shape, second.output_shape

    def product(
        x: torch.Tensor, bias: torch.Tensor | None = None, empty: Empty = torch.empty
    ) -> torch.Tensor:
        require_input(x, input_shape, dtype, CPU)
        bias_at = None
        if bias is not None:
            require_tensor("bias", bias, bias_shape, dtype, CPU)
            bias = bias.contiguous()
            bias_at = bias.data_ptr()
        y = empty(output_shape, dtype=dtype, device=x.device)
        if not multiply(address, bias_at, x.data_ptr(), y.data_ptr(), batch, torch.get_num_threads()):
            raise twin.no_memory_for_panels(first)
        return y

    product.kept_alive = chain, packed  # type: ignore[attr-defined]
    return product
