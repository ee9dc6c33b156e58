"""Tiles of the CPU twin: the candidates for a problem, a model of their time, and the choice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from kswatch.kernels.fused.artifacts import tuned_tiles as tuned
from kswatch.kernels.problem import Layout, Precision, Problem

L2_PANEL_BYTES = 512 * 1024
"""Space for a panel in a core's second-level cache."""
L1_PANEL_BYTES = 24 * 1024
"""Space for a panel in the first-level cache."""
BLOCK_ROWS = (16, 32, 64, 128)
TILE_CYCLES = 40
"""Cycles to start a register tile and to store it."""

FULL_ROWS_OF_FOUR = 6
"""Rows of a full tile of four vectors, whose sums fill the registers (`full_rows` of twin_tile.hpp)."""

COMPLEX_VECTORS = 3
"""With four, GCC 12 spills for AVX-512 without bf16; there they were up to 4 % faster all the same."""

Replacement = tuple[str, str, int, int]
"""Precision, layout, and the rows and vectors of the tile to take instead of the largest one."""


@dataclass(frozen=True, slots=True)
class TwinLimits:
    """Limits of the built library: floats in a vector, and the maximum of each size in `TwinTile`."""

    vector_width: int
    rows: int
    vectors: int
    period: int
    replacements: tuple[Replacement, ...] = ()
    """Rows and vectors of the tile that replaces the largest one for a precision and a layout, because the
    compiler made slow code of that; see `tile_speeds`."""

    def most_vectors(self, precision: Precision) -> int:
        """Vectors of the widest tile: those of complex numbers are kept out of memory in two passes."""
        return min(self.vectors, COMPLEX_VECTORS) if precision == "complex64" else self.vectors

    def largest(self, precision: Precision, layout: Layout) -> tuple[int, int]:
        """Rows and vectors of the largest tile; with four vectors the library takes six of eight rows.

        In `batch_first` the vectors run along the outputs, where four divide more widths than three.
        """
        most = self.most_vectors(precision)
        return self.rows, most if layout == "batch_first" else min(most, 3)

    def sizes(self, precision: Precision, layout: Layout) -> tuple[int, int]:
        """Rows and vectors of the tile to take for a precision and a layout."""
        computed = "bf16" if precision == "fp8" else precision
        found = (entry[2:] for entry in self.replacements if entry[:2] == (computed, layout))
        return next(found, self.largest(precision, layout))


@dataclass(frozen=True, slots=True)
class TwinTile:
    """`struct Tile` of twin_plan.hpp."""

    rows: int
    """Rows of a register tile, a power of two."""
    vectors: int
    """Vectors of a register tile."""
    block_rows: int
    """Batch entries for which X is packed at once, in batch_first; 0 for as many as fit the cache."""
    period: int
    """Maximum number of neighbouring j's that share a vector, a power of two; 1 in batch_last."""

    def __str__(self) -> str:
        block = f", blocks of {self.block_rows}" if self.block_rows else ""
        period = f", up to {self.period} j's together" if self.period > 1 else ""
        return f"{self.rows} rows x {self.vectors} vectors{block}{period}"


def choose(problem: Problem, limits: TwinLimits) -> TwinTile:
    """The tuned tile of the table, if the library still has it; else the default tile."""
    name = tuned.tile_name(problem, tuned.cpu_architecture(limits.vector_width))
    named = (tile for tile in candidates(problem, limits) if str(tile) == name) if name else iter(())
    return next(named, default_tile(problem, limits))


def default_tile(problem: Problem, limits: TwinLimits) -> TwinTile:
    """The largest fast register tile, with as many j's in a vector as possible; the same for every batch."""
    rows, vectors = limits.sizes(problem.precision, problem.layout)
    longest = limits.period // words_of(problem)
    neighbours = 1 if problem.layout == "batch_last" else min(problem.pattern.d, longest)
    return TwinTile(rows, vectors, 0, 1 << (neighbours.bit_length() - 1))


def words_of(problem: Problem) -> int:
    """32-bit words of an element in registers: two of 8 bytes."""
    return max(4, problem.element_bytes) // 4


def candidates(problem: Problem, limits: TwinLimits) -> Iterator[TwinTile]:
    """Every tile for this problem, the default one first."""
    first = default_tile(problem, limits)
    yield first
    blocks = [0]
    if problem.layout == "batch_first":
        blocks += [block for block in BLOCK_ROWS if block <= problem.batch]
    periods = [1 << exponent for exponent in range(first.period.bit_length())]
    rows = [rows for rows in (2, 4, 8, 16) if rows <= limits.rows]
    for sizes in product(rows, range(1, limits.vectors + 1), blocks, periods):
        if (tile := TwinTile(*sizes)) != first:
            yield tile


def cycles(problem: Problem, tile: TwinTile, limits: TwinLimits) -> float:
    """Estimated cycles of one core, to rank tiles; without the traffic of X and Y, equal for all tiles.

    In a step of c a register tile multiplies rows × vectors on two units, and loads both with two loads a
    cycle; vectors of a panel that exceeds the first-level cache take twice as long, those of one that
    exceeds the second-level cache four times.
    """
    a, b, c, d = problem.pattern.as_tuple()
    if problem.layout == "batch_last":
        along_vectors, along_rows, products = problem.batch, b, a * d
    else:
        along_vectors, along_rows, products = b * tile.period, problem.batch, a * -(-d // tile.period)
    width = tile.vectors * limits.vector_width // words_of(problem)
    rows = min(tile.rows, FULL_ROWS_OF_FOUR) if tile.vectors > 3 else tile.rows
    panel_bytes = 4 * words_of(problem) * c * width
    load_cost = 1 if panel_bytes <= L1_PANEL_BYTES else 2 if panel_bytes <= L2_PANEL_BYTES else 4
    step = max(rows * tile.vectors, rows + load_cost * tile.vectors) / 2
    tiles = products * -(-along_vectors // width) * -(-along_rows // rows)
    return tiles * (c * step + TILE_CYCLES)
