"""The Strassen-Tile layer in one pass of the CPU twin, which keeps encoded rows and sums in the caches.

A block of rows of X is encoded into the second-level cache and multiplied there; each panel of sums is
decoded while it is in the first-level cache. Vectors run along the channels: the core needs no permutation.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import torch

from kswatch.errors import UnsupportedError
from kswatch.kernels.fused.cpu_twin import twin

TILE = 4


class ShapeStruct(ctypes.Structure):
    """`struct StrassenShape` of twin_strassen.hpp."""

    _fields_ = [(name, ctypes.c_int64) for name in ("rows", "inputs", "outputs")]


def pack(weight: torch.Tensor) -> torch.Tensor:
    """The core's weight, (1, m/t, k/t, r), in the order in which the pass reads it.

    Raises:
        UnsupportedError: the twin is not available on this machine.
    """
    _, outputs, inputs, rank = weight.shape
    shape = ctypes.byref(ShapeStruct(0, TILE * inputs, TILE * outputs))
    packed = torch.empty(_functions().kswatch_twin_strassen_words(shape, rank))
    weight = weight.detach().contiguous()
    _functions().kswatch_twin_strassen_pack(shape, rank, weight.data_ptr(), packed.data_ptr())
    return packed


def multiply(
    packed: torch.Tensor, encoder: torch.Tensor, decoder: torch.Tensor, x: torch.Tensor, outputs: int
) -> torch.Tensor:
    """Y (n, m) of X (n, k), contiguous, by encoder (r, t²) and decoder (t², r), on all threads of torch.

    Raises:
        MemoryError: there is not enough memory for a thread's encoded rows.
    """
    x = x.contiguous()
    y = torch.empty(x.shape[0], outputs)
    shape, rank = ShapeStruct(*x.shape, outputs), encoder.shape[0]
    operands = (packed, encoder.detach().contiguous(), decoder.detach().contiguous(), x, y)
    addresses = [one.data_ptr() for one in operands]
    threads = torch.get_num_threads()
    if len(x) and not _functions().kswatch_twin_strassen(ctypes.byref(shape), rank, *addresses, threads):
        raise MemoryError("no memory for the encoded rows of a Strassen-Tile layer")
    return y


@cache
def _functions() -> ctypes.CDLL:
    loaded = twin.load()
    if isinstance(loaded, str):
        raise UnsupportedError(loaded)
    functions, address, count = loaded.functions, ctypes.c_void_p, ctypes.c_int32
    head: list[Any] = [ctypes.POINTER(ShapeStruct), count]
    functions.kswatch_twin_strassen_words.restype = ctypes.c_int64
    functions.kswatch_twin_strassen_words.argtypes = head
    functions.kswatch_twin_strassen_pack.restype = count
    functions.kswatch_twin_strassen_pack.argtypes = [*head, address, address]
    functions.kswatch_twin_strassen.restype = count
    functions.kswatch_twin_strassen.argtypes = [*head, *[address] * 5, count]
    return functions
