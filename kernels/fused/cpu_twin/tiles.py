"""How the CPU twin cuts a problem: the choice, what else it could be, and which should be fast."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from kswatch.kernels.fused.artifacts import tuned_tiles as tuned
from kswatch.kernels.problem import Problem

ROOM_BYTES = 512 * 1024
"""What a panel may take of a core's second-level cache."""
NEAR_BYTES = 24 * 1024
"""What it may take of the first-level cache."""
BLOCK_ROWS = (16, 32, 64, 128)
TILE_CYCLES = 40
"""To start a register tile and to store it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the built library can do: lanes of a vector, and the most of everything in `TwinTile`."""

    lanes: int
    rows: int
    vectors: int
    period: int


@dataclass(frozen=True, slots=True)
class TwinTile:
    """`struct Tile` of twin_plan.hpp."""

    rows: int
    """Of a register tile, a power of two."""
    vectors: int
    """Of a register tile."""
    block_rows: int
    """Of the batch that one packing of X serves, in batch_first; 0 for as the cache has room."""
    period: int
    """The most neighbouring j's that share a vector, a power of two; 1 in batch_last."""

    def __str__(self) -> str:
        block = f", blocks of {self.block_rows}" if self.block_rows else ""
        together = f", up to {self.period} j's together" if self.period > 1 else ""
        return f"{self.rows} rows x {self.vectors} vectors{block}{together}"


def choose(problem: Problem, limits: Limits) -> TwinTile:
    """The tuned tile where the table has one that is still to be had, else the usual one."""
    name = tuned.tile_name(problem, tuned.cpu_architecture(limits.lanes))
    named = (tile for tile in candidates(problem, limits) if str(tile) == name) if name else iter(())
    return next(named, usual(problem, limits))


def usual(problem: Problem, limits: Limits) -> TwinTile:
    """The largest register tile, and as many j's together as there are."""
    together = 1 if problem.layout == "batch_last" else min(problem.pattern.d, limits.period)
    return TwinTile(limits.rows, limits.vectors, 0, 1 << (together.bit_length() - 1))


def candidates(problem: Problem, limits: Limits) -> Iterator[TwinTile]:
    """Every tile that there is for this problem, the usual one first."""
    first = usual(problem, limits)
    yield first
    blocks = [0]
    if problem.layout == "batch_first":
        blocks += [block for block in BLOCK_ROWS if block <= problem.batch]
    periods = [1 << exponent for exponent in range(first.period.bit_length())]
    rows = [rows for rows in (2, 4, 8, 16) if rows <= limits.rows]
    for sizes in product(rows, range(1, limits.vectors + 1), blocks, periods):
        if (tile := TwinTile(*sizes)) != first:
            yield tile


def cycles(problem: Problem, tile: TwinTile, limits: Limits) -> float:
    """Estimated cycles of one core, to rank tiles by; what X and Y take from memory is the same for all.

    In a step of c a register tile multiplies rows × vectors on two units, and loads both by two loads a
    cycle; vectors of a panel beyond the first-level cache take twice as long, beyond the second four times.
    """
    a, b, c, d = problem.pattern.as_tuple()
    if problem.layout == "batch_last":
        along_vectors, along_rows, products = problem.batch, b, a * d
    else:
        along_vectors, along_rows, products = b * tile.period, problem.batch, a * -(-d // tile.period)
    width = tile.vectors * limits.lanes
    panel_bytes = 4 * c * width
    reach = 1 if panel_bytes <= NEAR_BYTES else 2 if panel_bytes <= ROOM_BYTES else 4
    step = max(tile.rows * tile.vectors, tile.rows + reach * tile.vectors) / 2
    tiles = products * -(-along_vectors // width) * -(-along_rows // tile.rows)
    return tiles * (c * step + TILE_CYCLES)
