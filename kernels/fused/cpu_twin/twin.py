"""The CPU twin of the fused product: the C++ library of `twin.cpp`, loaded with ctypes on first use."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from functools import cache, lru_cache
from typing import Any

import torch

from kswatch.errors import UnsupportedError
from kswatch.kernels.fused.cpu_twin import build as twin_build
from kswatch.kernels.fused.cpu_twin import tiles as twin_tiles
from kswatch.kernels.fused.cpu_twin.tile_speeds import slow_tiles
from kswatch.kernels.fused.cpu_twin.tiles import TwinLimits, TwinTile
from kswatch.kernels.implementation import (
    OUTPUT_DTYPES,
    STORAGE_DTYPES,
    WEIGHT_DTYPES,
    WIDE_RANGE,
    Empty,
    Product,
    require_input,
    require_tensor,
)
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Layout, Precision, Problem
from kswatch.kernels.reference import round_to_fp8

CPU = torch.device("cpu")
PRECISION_CODES = {"fp32": 0, "bf16": 1, "fp16": 2, "fp64": 3, "complex64": 4, "fp8": 1}
"""Operands in fp8, and quantised weights, are exact in bf16, in which the twin multiplies them."""


class ShapeStruct(ctypes.Structure):
    """`struct Shape` of twin_plan.hpp."""

    _fields_ = [(name, ctypes.c_int64) for name in ("a", "b", "c", "d")]


class TileStruct(ctypes.Structure):
    """`struct Tile` of twin_plan.hpp."""

    _fields_ = [(name, ctypes.c_int32) for name in ("rows", "vectors", "block_rows", "period")]


@dataclass(frozen=True)
class Twin:
    """The loaded library: its functions, the hash of its machine code, the limits of its tiles."""

    functions: ctypes.CDLL
    code_hash: str
    limits: TwinLimits


@cache
def load() -> Twin | str:
    """The twin, built if necessary; where it is not available, a sentence with the reason and the cure."""
    try:
        path, code_hash = twin_build.library()
        functions = ctypes.CDLL(str(path))
    except UnsupportedError as error:
        return str(error)
    except OSError as error:
        return f"the built CPU twin cannot be loaded: {error}; remove the file and try again"
    functions.kswatch_twin_open.restype = ctypes.c_void_p
    structures: list[Any] = [ctypes.POINTER(ShapeStruct), ctypes.POINTER(TileStruct)]
    functions.kswatch_twin_open.argtypes = [*structures, ctypes.c_int32, ctypes.c_int32]
    functions.kswatch_twin_words.restype = ctypes.c_int64
    functions.kswatch_twin_words.argtypes = [ctypes.c_void_p]
    address, count, batch = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64
    functions.kswatch_twin_pack.restype = count
    functions.kswatch_twin_pack.argtypes = [address, address, count, address, count]
    functions.kswatch_twin_multiply.restype = count
    functions.kswatch_twin_multiply.argtypes = [address] * 4 + [batch, count]
    functions.kswatch_twin_multiply_weights.restype = count
    functions.kswatch_twin_multiply_weights.argtypes = [
        address,
        address,
        count,
        address,
        address,
        batch,
        count,
    ]
    functions.kswatch_twin_multiply_chain.restype = count
    functions.kswatch_twin_multiply_chain.argtypes = [address] * 4 + [batch, count]
    functions.kswatch_twin_widen.restype = None
    functions.kswatch_twin_widen.argtypes = [address, address, batch, count, count]
    functions.kswatch_twin_close.restype = None
    functions.kswatch_twin_close.argtypes = [ctypes.c_void_p]
    functions.kswatch_twin_speed.restype = ctypes.c_double
    functions.kswatch_twin_speed.argtypes = [count] * 4
    functions.kswatch_twin_peak.restype = ctypes.c_double
    functions.kswatch_twin_peak.argtypes = [batch, count]
    sizes = (ctypes.c_int32 * 4)()
    functions.kswatch_twin_tile(sizes)
    limits = TwinLimits(*sizes)
    return Twin(functions, code_hash, replace(limits, replacements=slow_tiles(functions, path, limits)))


def require_twin() -> Twin:
    """The twin.

    Raises:
        UnsupportedError: it is not available on this machine.
    """
    twin = load()
    if isinstance(twin, str):
        raise UnsupportedError(twin)
    return twin


def multiply_in_registers(steps: int) -> int:
    """Multiply and add in registers alone, on all threads of torch; returns the number of operations.

    No product in fp32 has a higher rate on this CPU, whatever its library.

    Raises:
        UnsupportedError: the twin is not available on this machine.
    """
    return int(require_twin().functions.kswatch_twin_peak(steps, torch.get_num_threads()))


def unsupported(problem: Problem) -> str | None:
    """Why this problem cannot be computed on this CPU, as a sentence; None where it can."""
    if problem.precision not in PRECISION_CODES:
        return f"{problem.precision} is a mode of NVIDIA's tensor cores; on the CPU choose fp32, bf16 or fp16"
    twin = load()
    return twin if isinstance(twin, str) else None


def code_hash(problem: Problem) -> str:
    """sha256 of the library's machine code, the same for every problem."""
    del problem
    return require_twin().code_hash


def tile(problem: Problem) -> str:
    """The register tile, rows × vectors of floats, and the blocks of the problem, readable."""
    limits = require_twin().limits
    return f"{twin_tiles.choose(problem, limits)} of {limits.vector_width}"


def prepare(problem: Problem, weights: torch.Tensor, tile: TwinTile | None = None) -> Product:
    """A closure that only launches; it keeps its own re-laid copy of the weights.

    Args:
        problem: The product to compute.
        weights: Of shape (a, b, c, d).
        tile: A tile to use instead of the chosen one, for tuning.

    Raises:
        UnsupportedError: `unsupported` returns a reason.
        MemoryError: there is not enough memory for the re-laid weights; the product raises it for its panels.
        UsageError: the weights have another shape, dtype or device.
    """
    return product(problem, lay_out(problem, weights, tile=tile))


@dataclass(frozen=True)
class PackedWeights:
    """Weights in the order in which the tiles of a plan read them, for every batch size.

    `batch_first`: panels of up to four vectors of outputs (k, j) for each l. `batch_last`: a dense b × c
    matrix for each (i, j). A 32-bit word holds a weight, or two neighbouring ones in bf16 where the CPU
    multiplies pairs; fp16, and bf16 elsewhere, are widened to fp32. So a copy has at most 4 bytes a weight,
    and padding to whole vectors. Packing reads and writes each weight once, by vectorised transpositions.
    Measured on one core (Zen 5), call included, it adds up to 15 percent to a product with 128 rows in fp32,
    up to 33 percent in bf16 (most at d = 2 and 3); with 512 rows about a quarter of that.
    """

    plan: TwinPlan
    words: torch.Tensor


def lay_out(
    problem: Problem, weights: torch.Tensor, transposed: bool = False, tile: TwinTile | None = None
) -> PackedWeights:
    """The weights packed for a problem, whatever its batch.

    Args:
        problem: The product to compute.
        weights: Of shape (a, b, c, d); of shape (a, c, b, d) where `transposed`.
        transposed: Whether the weights are those of Kᵀ.
        tile: A tile to use instead of the chosen one, for tuning.

    Raises:
        UnsupportedError: `unsupported` returns a reason.
        MemoryError: there is not enough memory for the packed weights.
        UsageError: the weights have another shape, dtype or device.
    """
    plan = plan_for(problem, tile)
    shape = weights_shape(problem, transposed)
    require_tensor("weights", weights, shape, WEIGHT_DTYPES[problem.precision], CPU)
    return pack(plan, _rounded(problem, weights, transposed), transposed)


def _rounded(problem: Problem, weights: torch.Tensor, transposed: bool) -> torch.Tensor:
    """The values of quantised weights in fp8, with one scale for each row of K; else the weights."""
    if problem.precision != "fp8":
        return weights
    blocks = weights.transpose(1, 2) if transposed else weights
    rounded = round_to_fp8(blocks).to(weights.dtype)
    return rounded.transpose(1, 2) if transposed else rounded


def _input_check(problem: Problem) -> Callable[[torch.Tensor], torch.Tensor]:
    """`check(x)`: X as it is multiplied, in bf16 where it is fp8, which takes a pass over it."""
    input_shape, dtype = problem.input_shape, STORAGE_DTYPES[problem.precision]

    def check(x: torch.Tensor) -> torch.Tensor:
        require_input(x, input_shape, dtype, CPU)
        return x

    def check_and_widen(x: torch.Tensor) -> torch.Tensor:
        is_wide = x.dtype is WIDE_RANGE
        require_input(x, input_shape, WIDE_RANGE if is_wide else dtype, CPU)
        widened = torch.empty(x.shape, dtype=torch.bfloat16)
        addresses = x.data_ptr(), widened.data_ptr()
        require_twin().functions.kswatch_twin_widen(*addresses, x.numel(), is_wide, torch.get_num_threads())
        return widened

    return check_and_widen if problem.precision == "fp8" else check


def plan_for(problem: Problem, tile: TwinTile | None = None) -> TwinPlan:
    """The plan with the given tile or the chosen one.

    Raises:
        UnsupportedError: `unsupported` returns a reason.
        MemoryError: there is not enough memory for it.
    """
    if reason := unsupported(problem):
        raise UnsupportedError(f"{problem}: {reason}")
    loaded = require_twin()
    tile = tile or twin_tiles.choose(problem, loaded.limits)
    return open_plan(loaded.functions, problem.pattern, problem.precision, problem.layout, tile)


def weights_shape(problem: Problem, transposed: bool) -> tuple[int, int, int, int]:
    """The shape of the weights of a problem, or of those of Kᵀ."""
    a, b, c, d = problem.pattern.as_tuple()
    return (a, c, b, d) if transposed else (a, b, c, d)


def pack(plan: TwinPlan, weights: torch.Tensor, transposed: bool) -> PackedWeights:
    """Weights of any strides, or those of Kᵀ, packed for a plan.

    Raises:
        MemoryError: there is not enough memory for them.
    """
    weights = weights.contiguous()
    try:
        words = torch.empty(plan.words, dtype=torch.float32)
    except RuntimeError as error:
        raise MemoryError("no memory for the CPU twin's weights; use a smaller problem") from error
    addresses = weights.data_ptr(), transposed, words.data_ptr()
    if not plan.functions.kswatch_twin_pack(plan.address, *addresses, torch.get_num_threads()):
        raise MemoryError("no memory to pack the CPU twin's weights; use a smaller problem")
    return PackedWeights(plan, words)


def product(problem: Problem, packed: PackedWeights) -> Product:
    """A closure that only launches, with weights packed for a problem that differs in its batch at most."""
    multiply, plan, words = packed.plan.functions.kswatch_twin_multiply, packed.plan, packed.words
    address, packed_at, batch = plan.address, words.data_ptr(), problem.batch
    dtype, output_shape, check = OUTPUT_DTYPES[problem.precision], problem.output_shape, _input_check(problem)

    def product(x: torch.Tensor, empty: Empty = torch.empty) -> torch.Tensor:
        x = check(x)
        y = empty(output_shape, dtype=dtype, device=x.device)
        if not multiply(address, packed_at, x.data_ptr(), y.data_ptr(), batch, torch.get_num_threads()):
            raise no_memory_for_panels(problem)
        return y

    product.packed = packed  # type: ignore[attr-defined]  # kept alive
    return product


def unpacked_product(problem: Problem, transposed: bool = False) -> Callable[..., torch.Tensor]:
    """`product(weights, x, empty=torch.empty)` with the weights as they are at the call, never stale.

    One call of the library packs the weights and multiplies. W of shape (a, b, c, 1) is read where it lies in
    `batch_last` (fp32; bf16 where c is even and the CPU multiplies pairs), unless its rows are a multiple of
    2 KB. All others are packed into memory that the calling thread keeps: one buffer of the size of the
    largest weights that it multiplied with. See `PackedWeights` for the cost.

    Args:
        problem: The product to compute.
        transposed: The weights are those of Kᵀ, of shape (a, c, b, d).

    Raises:
        UnsupportedError: `unsupported` returns a reason.
        MemoryError: there is not enough memory for the plan; the product raises it for weights and panels.
    """
    plan = plan_for(problem)
    multiply, dtype, batch = (
        plan.functions.kswatch_twin_multiply_weights,
        OUTPUT_DTYPES[problem.precision],
        problem.batch,
    )
    output_shape, check = problem.output_shape, _input_check(problem)
    shape_of_weights = weights_shape(problem, transposed)

    def product(weights: torch.Tensor, x: torch.Tensor, empty: Empty = torch.empty) -> torch.Tensor:
        require_tensor("weights", weights, shape_of_weights, dtype, CPU)
        x = check(x)
        weights = _rounded(problem, weights, transposed).contiguous()
        y = empty(output_shape, dtype=dtype, device=x.device)
        addresses = weights.data_ptr(), transposed, x.data_ptr(), y.data_ptr()
        if not multiply(plan.address, *addresses, batch, torch.get_num_threads()):
            raise no_memory_for_panels(problem)
        return y

    return product


def no_memory_for_panels(problem: Problem) -> MemoryError:
    """The error of a product that could not allocate its buffers."""
    return MemoryError(f"{problem}: no memory for the CPU twin's panels; use a smaller problem")


class TwinPlan:
    """A plan of the library, which holds no weights and serves every batch size; closed when it is freed.

    Attributes:
        functions: The library.
        address: Of `struct Plan`.
        words: Floats of the packed weights.
    """

    def __init__(self, functions: ctypes.CDLL, address: int) -> None:
        self.functions, self.address = functions, address
        self.words: int = functions.kswatch_twin_words(address)
        weakref.finalize(self, functions.kswatch_twin_close, address)


@lru_cache(maxsize=4096)
def open_plan(
    functions: ctypes.CDLL, pattern: Pattern, precision: Precision, layout: Layout, tile: TwinTile
) -> TwinPlan:
    """The plan of a pattern, opened on first use.

    Raises:
        MemoryError: there is not enough memory for it.
    """
    shape, sizes = ShapeStruct(*pattern.as_tuple()), TileStruct(*astuple(tile))
    address: int | None = functions.kswatch_twin_open(
        ctypes.byref(shape), ctypes.byref(sizes), PRECISION_CODES[precision], layout == "batch_last"
    )
    if not address:
        raise MemoryError(f"({pattern}) {precision} {layout}: no memory for the CPU twin's plan")
    return TwinPlan(functions, address)
