"""The CPU twin of the fused product: the C++ library of `twin.cpp`, loaded with ctypes on first use."""

from __future__ import annotations

import ctypes
import weakref
from dataclasses import astuple, dataclass
from functools import cache
from typing import Any

import torch

from kswatch.errors import UnsupportedError
from kswatch.kernels.fused.cpu_twin import build as twin_build
from kswatch.kernels.fused.cpu_twin import tiles as twin_tiles
from kswatch.kernels.fused.cpu_twin.tiles import TwinLimits, TwinTile
from kswatch.kernels.implementation import STORAGE_DTYPES, Empty, Product, require_input, require_tensor
from kswatch.kernels.problem import Problem

CPU = torch.device("cpu")
PRECISION_CODES = {"fp32": 0, "bf16": 1, "fp16": 2}


class ShapeStruct(ctypes.Structure):
    """`struct Shape` of twin_plan.hpp."""

    _fields_ = [(name, ctypes.c_int64) for name in ("a", "b", "c", "d", "batch")]


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
    functions.kswatch_twin_open.argtypes = [*structures, ctypes.c_int32, ctypes.c_int32, ctypes.c_void_p]
    functions.kswatch_twin_multiply.restype = ctypes.c_int32
    functions.kswatch_twin_multiply.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int32]
    functions.kswatch_twin_close.restype = None
    functions.kswatch_twin_close.argtypes = [ctypes.c_void_p]
    sizes = (ctypes.c_int32 * 4)()
    functions.kswatch_twin_tile(sizes)
    return Twin(functions, code_hash, TwinLimits(*sizes))


def require_twin() -> Twin:
    """The twin.

    Raises:
        UnsupportedError: it is not available on this machine.
    """
    twin = load()
    if isinstance(twin, str):
        raise UnsupportedError(twin)
    return twin


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
    reason = unsupported(problem)
    if reason:
        raise UnsupportedError(f"{problem}: {reason}")
    dtype = STORAGE_DTYPES[problem.precision]
    weights = weights.contiguous()
    require_tensor("weights", weights, problem.pattern.as_tuple(), dtype, CPU)
    functions = require_twin().functions
    plan = open_plan(functions, problem, weights, tile or twin_tiles.choose(problem, require_twin().limits))
    output_shape, input_shape = problem.output_shape, problem.input_shape

    def product(x: torch.Tensor, empty: Empty = torch.empty) -> torch.Tensor:
        require_input(x, input_shape, dtype, CPU)
        y = empty(output_shape, dtype=dtype, device=x.device)
        done = functions.kswatch_twin_multiply(plan, x.data_ptr(), y.data_ptr(), torch.get_num_threads())
        if not done:
            raise MemoryError(f"{problem}: no memory for the CPU twin's panels; use a smaller problem")
        return y

    weakref.finalize(product, functions.kswatch_twin_close, plan)
    return product


def open_plan(functions: ctypes.CDLL, problem: Problem, weights: torch.Tensor, tile: TwinTile) -> int:
    """A plan of the library with its own copy of the weights; close it when done.

    Raises:
        MemoryError: there is not enough memory for it.
    """
    shape = ShapeStruct(*problem.pattern.as_tuple(), problem.batch)
    plan: int | None = functions.kswatch_twin_open(
        ctypes.byref(shape),
        ctypes.byref(TileStruct(*astuple(tile))),
        PRECISION_CODES[problem.precision],
        problem.layout == "batch_last",
        weights.data_ptr(),
    )
    if not plan:
        raise MemoryError(f"{problem}: no memory for the CPU twin's weights; use a smaller problem")
    return plan
