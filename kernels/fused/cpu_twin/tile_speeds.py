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
from functools import partial
from itertools import product
from pathlib import Path

from kswatch.kernels.fused.artifacts.cache import replace_file
from kswatch.kernels.fused.cpu_twin.tiles import Replacement, TwinLimits
from kswatch.kernels.problem import LAYOUTS, Precision

SLOWER = 0.9
"""The largest tile is replaced if it has less than this share of another one's speed."""
PRECISION_NAMES: tuple[Precision, ...] = ("fp32", "bf16", "fp16", "fp64", "complex64")
"""`enum Precision` of twin.cpp."""
SHORTEST_PERIOD = {"fp64": 2, "complex64": 2}
"""Words of an element; one of all others."""
ROWS = (2, 4, 8)
ROUNDS = 4
"""In which the largest and the fastest tile are compared."""


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
    """The fastest tile for each precision and layout whose largest tile is slower by far.

    Both are measured again in turn before that: speeds of different moments are not those of one clock.
    """
    rows = [rows for rows in ROWS if rows <= limits.rows]
    for code, precision in enumerate(PRECISION_NAMES):
        tiles = list(product(rows, range(1, limits.most_vectors(precision) + 1)))
        for layout in LAYOUTS:
            shortest = SHORTEST_PERIOD.get(precision, 1)
            periods = {shortest, shortest if layout == "batch_last" else limits.period}
            speed = partial(_speed, functions, code, periods)
            largest, fastest = limits.largest(precision, layout), max(tiles, key=speed)
            rounds = [(speed(largest), speed(fastest)) for _ in range(ROUNDS)]
            if max(slow for slow, _ in rounds) < SLOWER * max(fast for _, fast in rounds):
                yield precision, layout, *fastest


def _speed(functions: ctypes.CDLL, code: int, periods: set[int], tile: tuple[int, int]) -> float:
    """Of the period at which a tile is slowest."""
    return min(float(functions.kswatch_twin_speed(code, *tile, period)) for period in periods)
