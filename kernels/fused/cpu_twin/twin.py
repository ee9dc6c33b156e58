"""The CPU twin of the fused product: the C++ in `twin.cpp`, loaded with ctypes on first use."""

from __future__ import annotations

import ctypes
import weakref
from dataclasses import dataclass
from functools import cache

import torch

from kswatch.errors import UnsupportedError, UsageError
from kswatch.kernels.fused.cpu_twin import build as twin_build
from kswatch.kernels.fused.cpu_twin import tiles as twin_tiles
from kswatch.kernels.fused.cpu_twin.tiles import Limits, TwinTile
from kswatch.kernels.implementation import NO_GRADIENT, STORAGE_DTYPES, Empty, Product
from kswatch.kernels.problem import Problem

PRECISION_CODES = {"fp32": 0, "bf16": 1, "fp16": 2}


class Shape(ctypes.Structure):
    """`struct Shape` of twin_plan.hpp."""

    _fields_ = [(name, ctypes.c_int64) for name in ("a", "b", "c", "d", "batch")]


class Cut(ctypes.Structure):
    """`struct Tile` of twin_plan.hpp."""

    _fields_ = [(name, ctypes.c_int32) for name in ("rows", "vectors", "block_rows", "period")]


@dataclass(frozen=True)
class Twin:
    """The loaded library: its functions, the hash of its machine code, what its tiles may be."""

    functions: ctypes.CDLL
    code_hash: str
    limits: Limits


@cache
def load() -> Twin | str:
    """The twin, built if need be; or the sentence that says why it cannot be had, and the cure."""
    try:
        path, code_hash = twin_build.library()
        functions = ctypes.CDLL(str(path))
    except UnsupportedError as error:
        return str(error)
    except OSError as error:
        return f"the built CPU twin cannot be loaded: {error}; remove the file and try again"
    functions.kswatch_twin_open.restype = ctypes.c_void_p
    functions.kswatch_twin_open.argtypes = [
        ctypes.POINTER(Shape),
        ctypes.POINTER(Cut),
        ctypes.c_int32,
        ctypes.c_int32,
        ctypes.c_void_p,
    ]
    functions.kswatch_twin_multiply.restype = ctypes.c_int32
    functions.kswatch_twin_multiply.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int32]
    functions.kswatch_twin_close.restype = None
    functions.kswatch_twin_close.argtypes = [ctypes.c_void_p]
    sizes = (ctypes.c_int32 * 4)()
    functions.kswatch_twin_tile(sizes)
    return Twin(functions, code_hash, Limits(*sizes))


def loaded() -> Twin:
    """The twin.

    Raises:
        UnsupportedError: it cannot be had here.
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
    """sha256 of the machine code that runs, the same for every problem."""
    del problem
    return loaded().code_hash


def tile(problem: Problem) -> str:
    """The register tile, rows × vectors of lanes, and how the problem is cut for it."""
    limits = loaded().limits
    return f"{twin_tiles.choose(problem, limits)} of {limits.lanes}"


def prepare(problem: Problem, weights: torch.Tensor, tile: TwinTile | None = None) -> Product:
    """A closure that only launches; it owns the re-laid weights, so that `weights` may go.

    Args:
        problem: What is computed.
        weights: Of shape (a, b, c, d).
        tile: Another one than is chosen for the problem, for the search of tiles.

    Raises:
        UnsupportedError: `unsupported` would have said so.
        MemoryError: there is none for the re-laid weights; the product raises it for its panels.
        UsageError: weights of another shape, dtype or device.
    """
    reason = unsupported(problem)
    if reason:
        raise UnsupportedError(f"{problem}: {reason}")
    dtype = STORAGE_DTYPES[problem.precision]
    weights = weights.contiguous()
    check("weights", weights, problem.pattern.as_tuple(), dtype)
    functions = loaded().functions
    plan = open_plan(functions, problem, weights, tile or twin_tiles.choose(problem, loaded().limits))
    output_shape, input_shape = problem.output_shape, problem.input_shape

    def product(x: torch.Tensor, empty: Empty = torch.empty) -> torch.Tensor:
        check("x", x, input_shape, dtype)
        if x.requires_grad and torch.is_grad_enabled():
            raise UsageError(NO_GRADIENT)
        y = empty(output_shape, dtype=dtype, device=x.device)
        done = functions.kswatch_twin_multiply(plan, x.data_ptr(), y.data_ptr(), torch.get_num_threads())
        if not done:
            raise MemoryError(f"{problem}: no memory for the CPU twin's panels; use a smaller problem")
        return y

    weakref.finalize(product, functions.kswatch_twin_close, plan)
    return product


def check(name: str, tensor: torch.Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Refuse what the C++ would misread, before it is called.

    Raises:
        UsageError: another shape, dtype or device, or memory that is not contiguous.
    """
    if tensor.shape != shape:
        raise UsageError(f"{name} has shape {tuple(tensor.shape)}; this product takes {shape}")
    if tensor.dtype != dtype:
        raise UsageError(f"{name} is {tensor.dtype}; this product takes {dtype}")
    if tensor.device.type != "cpu":
        raise UsageError(f"{name} is on {tensor.device}; the CPU twin takes tensors on the CPU")
    if not tensor.is_contiguous():
        raise UsageError(f"{name} has strides {tensor.stride()}; pass {name}.contiguous()")


def open_plan(functions: ctypes.CDLL, problem: Problem, weights: torch.Tensor, tile: TwinTile) -> int:
    """A plan of the library with its own copy of the weights; close it when done.

    Raises:
        MemoryError: there is none for it.
    """
    shape = Shape(*problem.pattern.as_tuple(), problem.batch)
    plan: int | None = functions.kswatch_twin_open(
        ctypes.byref(shape),
        ctypes.byref(Cut(tile.rows, tile.vectors, tile.block_rows, tile.period)),
        PRECISION_CODES[problem.precision],
        problem.layout == "batch_last",
        weights.data_ptr(),
    )
    if not plan:
        raise MemoryError(f"{problem}: no memory for the CPU twin's weights; use a smaller problem")
    return plan
