"""Which register tile is the fastest with the code that the compiler made: measured once for a library.

A compiler that keeps sums of the largest tile in memory instead of registers makes it slower than a smaller
one. The speeds are measured on operands in the first-level cache, in some ten milliseconds, and kept beside
the library.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from kswatch.kernels.fused.artifacts.cache import replace_file
from kswatch.kernels.fused.cpu_twin.tiles import Replacement, TwinLimits
from kswatch.kernels.problem import LAYOUTS

SLOWER = 0.9
"""The largest tile is replaced if it has less than this share of another one's speed."""
PRECISION_NAMES = ("fp32", "bf16", "fp16")
"""`enum Precision` of twin.cpp."""
ROWS = (2, 4, 8)


def slow_tiles(functions: ctypes.CDLL, library: Path, limits: TwinLimits) -> tuple[Replacement, ...]:
    """The replacements of slow tiles, measured unless they are kept beside the library."""
    kept = library.with_suffix(".tiles.json")
    try:
        return tuple(
            (str(precision), str(layout), int(rows), int(vectors))
            for precision, layout, rows, vectors in json.loads(kept.read_text())
        )
    except (OSError, ValueError, TypeError):
        found = tuple(measured_replacements(functions, limits))
    with suppress(OSError):  # a folder that cannot be written: measured again by the next process
        replace_file(kept, json.dumps(found).encode(), mode=0o644)
    return found


def measured_replacements(functions: ctypes.CDLL, limits: TwinLimits) -> Iterator[Replacement]:
    """The fastest tile for each precision and layout whose largest tile is slower by far."""
    for code, precision in enumerate(PRECISION_NAMES):
        for layout in LAYOUTS:
            periods = {1, 1 if layout == "batch_last" else limits.period}
            speeds = {
                (rows, vectors): min(
                    functions.kswatch_twin_speed(code, rows, vectors, period) for period in periods
                )
                for rows in ROWS
                if rows <= limits.rows
                for vectors in range(1, limits.vectors + 1)
            }
            fastest = max(speeds, key=speeds.__getitem__)
            if speeds[limits.largest(layout)] < SLOWER * speeds[fastest]:
                yield precision, layout, *fastest
