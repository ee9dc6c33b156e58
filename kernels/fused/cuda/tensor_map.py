"""The tensor maps of X and Y, through which TMA copies boxes; made with ctypes, as PyCUDA lacks the call."""

from __future__ import annotations

import ctypes
from functools import cache

from kswatch.errors import UnsupportedError
from kswatch.kernels.fused.cuda.tile import Tile
from kswatch.kernels.fused.cuda.tile_candidates import SPAN_BYTES
from kswatch.kernels.problem import Problem

BYTES = 128
ALIGNMENT_BYTES = 128
ADDRESS_BYTES = 16
"""Alignment of X and of its strides."""

DATA_TYPES = {"fp16": 6, "bf16": 9, "tf32": 11, "fp8": 0}
"""CUtensorMapDataType; fp8 is UINT8; TFLOAT32 rounds fp32 during the copy, where wgmma would truncate."""
OUTPUT_DATA_TYPES = {**DATA_TYPES, "tf32": 7}
"""FLOAT32: the sums of tf32 are stored in fp32."""
SWIZZLE_128B, PROMOTE_L2_128B = 3, 2
"""Values of the driver API's enumerations CUtensorMapSwizzle and CUtensorMapL2promotion."""


Fields = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


def fields(problem: Problem, tile: Tile) -> Fields:
    """Extents of X's four axes, bytes of all strides but the first, and the box that one copy transfers.

    The axes are those of hopper.cu: (n, j, l, i) in batch_last; (l, 0, i, n) in batch_first with d = 1.
    """
    a, _, c, d = problem.pattern.as_tuple()
    span = SPAN_BYTES // problem.element_bytes
    if problem.layout == "batch_last":
        row = problem.element_bytes * problem.batch
        return ((problem.batch, d, c, a), (row, d * row, c * d * row), (span, 1, tile.depth, 1))
    row = problem.element_bytes * c
    return ((c, 1, a, problem.batch), (row, row, a * row), (span, 1, 1, tile.batch))


def output_fields(problem: Problem, tile: Tile) -> Fields:
    """The same of Y for a box that hopper_persistent.cu stores: (n, j, m, i); (m, 0, i, n) in batch_first."""
    a, b, _, d = problem.pattern.as_tuple()
    span = SPAN_BYTES // problem.element_bytes
    if problem.layout == "batch_last":
        row = problem.element_bytes * problem.batch
        return ((problem.batch, d, b, a), (row, d * row, b * d * row), (span, 1, tile.worker_rows, 1))
    row = problem.element_bytes * b
    return ((b, 1, a, problem.batch), (row, row, a * row), (span, 1, 1, tile.batch))


def encode(problem: Problem, tile: Tile, x: int) -> bytes:
    """The map of X at an address, in the form that the kernel takes.

    Raises:
        UnsupportedError: there is no driver, or it has no tensor maps, or it refuses this one.
    """
    return _encode(problem, x, DATA_TYPES[problem.precision], fields(problem, tile))


def encode_output(problem: Problem, tile: Tile, y: int) -> bytes:
    """The same of Y, for a tile that stores through it."""
    return _encode(problem, y, OUTPUT_DATA_TYPES[problem.precision], output_fields(problem, tile))


def _encode(problem: Problem, address: int, data_type: int, fields: Fields) -> bytes:
    extents, stride_bytes, box = fields
    storage = ctypes.create_string_buffer(BYTES + ALIGNMENT_BYTES)
    start = -ctypes.addressof(storage) % ALIGNMENT_BYTES
    code = _encoder()(
        ctypes.addressof(storage) + start,
        data_type,
        len(extents),
        ctypes.c_void_p(address),
        (ctypes.c_uint64 * 4)(*extents),
        (ctypes.c_uint64 * 3)(*stride_bytes),
        (ctypes.c_uint32 * 4)(*box),
        (ctypes.c_uint32 * 4)(1, 1, 1, 1),
        0,  # not interleaved
        SWIZZLE_128B,
        PROMOTE_L2_128B,
        0,  # zeros outside
    )
    if code:
        raise UnsupportedError(f"the driver cannot encode a tensor map for {problem}: CUDA error {code}")
    return storage.raw[start : start + BYTES]


@cache
def _encoder() -> ctypes._NamedFuncPointer:
    try:
        function = ctypes.CDLL("libcuda.so.1").cuTensorMapEncodeTiled
    except (OSError, AttributeError) as error:
        raise UnsupportedError(
            f"no driver with tensor maps ({error}); wgmma needs NVIDIA's driver 525 or newer"
        ) from error
    function.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p]
    function.argtypes += [ctypes.c_void_p] * 4 + [ctypes.c_int] * 4
    return function
