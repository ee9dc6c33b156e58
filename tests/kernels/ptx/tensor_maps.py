"""Stands in for `cuTensorMapEncodeTiled`: the checks of the driver API's manual, then our own format."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence

MAGIC = 0x50414D524F534E54
INVALID_VALUE = 1
ELEMENT_BYTES = {0: 1, 1: 2, 2: 4, 6: 2, 7: 4, 9: 2, 11: 4}
"""By CUtensorMapDataType: uint8, uint16, uint32, float16, float32, bfloat16, tfloat32."""
TFLOAT32 = 11
SPAN_BYTES = (0, 32, 64, 128)
"""By CUtensorMapSwizzle."""


def encode(
    target: int,
    data_type: int,
    rank: int,
    address: ctypes.c_void_p | int,
    extents: Sequence[int],
    stride_bytes: Sequence[int],
    box: Sequence[int],
    element_strides: Sequence[int],
    interleave: int,
    swizzle: int,
    promotion: int,
    fill: int,
) -> int:
    """Write 128 bytes at `target`; 0, or the driver's error for what it refuses."""
    base = address if isinstance(address, int) else address.value or 0
    extents, stride_bytes, box = list(extents)[:rank], list(stride_bytes)[: rank - 1], list(box)[:rank]
    element_bytes = ELEMENT_BYTES[data_type]
    span = SPAN_BYTES[swizzle]
    allowed = (
        target % 64 == 0
        and base % 16 == 0
        and 1 <= rank <= 5
        and (interleave, fill) == (0, 0)
        and promotion in range(4)
        and all(0 < extent <= 2**32 for extent in extents)
        and all(stride % 16 == 0 and 0 < stride < 2**40 for stride in stride_bytes)
        and all(0 < edge <= 256 for edge in box)
        and box[0] * element_bytes % 16 == 0
        and (not span or box[0] * element_bytes <= span)
        and all(stride == 1 for stride in list(element_strides)[:rank])
    )
    if not allowed:
        return INVALID_VALUE
    strides = [*stride_bytes, *[0] * (5 - rank)]
    last = [*(extent - 1 for extent in extents), *[0] * (5 - rank)]
    edges = [*box, *[1] * (5 - rank)]
    packed = struct.pack(
        "<QQ4Q5I5H4B", MAGIC, base, *strides, *last, *edges, rank, element_bytes, span, data_type == TFLOAT32
    )
    ctypes.memmove(target, packed.ljust(128, b"\0"), 128)
    return 0
