"""Two factors in one pass of the CPU twin: the intermediate of each tile of the batch stays in the cache."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

import torch

from kswatch.errors import UsageError
from kswatch.kernels.fused.cpu_twin import twin
from kswatch.kernels.fused.cpu_twin.caches import cache_bytes
from kswatch.kernels.fused.cpu_twin.twin import CPU, PRECISION_CODES, PackedWeights
from kswatch.kernels.implementation import STORAGE_DTYPES, Empty, require_input, require_tensor
from kswatch.kernels.pattern import check_chain
from kswatch.kernels.problem import Problem

USUAL_L2_BYTES = 1 << 20
"""Of a core's second-level cache, where the system does not say."""
INTERMEDIATE_SHARE = 0.75
"""Share of that cache for the intermediate of a tile."""
GRAIN, FEWEST = 48, 96
"""Entries of a tile of the batch are a multiple of the first, which fills register tiles, and at least the
second: all weights are read again for each tile."""
MOST_WEIGHTS = 2.0
"""Bytes of both weights, which each tile reads again, over those of its intermediate, written and read.
On three machines the gain ends between 1.7 (0.95 to 1.07 of two products' speed) and 2.7 (0.87 to 1.00)."""
LARGEST_BATCH_LAST = 384
"""In `batch_last` rows of a tile are short runs of memory, which costs more than the cache saves: only
batches of so few entries, for which one call instead of two counts, take one pass there."""


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
    return cache_bytes().get(2, USUAL_L2_BYTES)


def tile_size(first: Problem, second: Problem) -> int | None:
    """Entries of the batch in a tile; None where two products one after the other are as fast.

    Args:
        first: The product of the right-most factor, whose output is the intermediate.
        second: That of the other.
    """
    if first.layout == "batch_last":
        return first.batch if first.batch <= LARGEST_BATCH_LAST else None
    entry_bytes = first.pattern.rows * first.element_bytes
    fitting = int(INTERMEDIATE_SHARE * l2_bytes()) // entry_bytes // GRAIN * GRAIN
    tile = max(FEWEST, fitting)
    if first.batch <= tile:
        return first.batch
    weight_bytes = 4 * (first.pattern.nonzeros + second.pattern.nonzeros)  # packed in fp32
    return tile if weight_bytes <= MOST_WEIGHTS * 2 * tile * entry_bytes else None


ChainProduct = Callable[..., torch.Tensor]
"""`product(x, bias=None, empty=torch.empty) -> y`; the bias of shape (features of Y,), in the dtype of y."""


def product(
    problems: tuple[Problem, Problem], packed: tuple[PackedWeights, PackedWeights], tile: int | None = None
) -> ChainProduct:
    """A closure that only launches: Y = K2 K1 X + bias, rounded as by two products and an addition.

    Args:
        problems: Of the right-most factor, then of the other.
        packed: The weights of both, from `twin.lay_out`.
        tile: Entries of the batch at once; `tile_size`, or all of them, by default.

    Raises:
        UsageError: the problems are no chain.
    """
    first, second = problems
    if first.element_bytes > 4:
        raise UsageError(f"two factors in one pass are not compiled for {first.precision}")
    check_chain((first.pattern, second.pattern))
    if (first.batch, first.precision, first.layout) != (second.batch, second.precision, second.layout):
        raise UsageError(f"{first} and {second} differ in batch, precision or layout: they are no chain")
    chain = ChainStruct(
        *(PackedFactorStruct(one.plan.address, one.words.data_ptr()) for one in packed),
        PRECISION_CODES[first.precision],
        first.layout == "batch_last",
        tile or tile_size(first, second) or first.batch,
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
