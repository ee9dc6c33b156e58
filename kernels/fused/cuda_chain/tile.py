"""The pair of tiles that computes a chain of two factors in one launch: `chain.cu` and its parameters."""

from __future__ import annotations

from dataclasses import dataclass

from kswatch.kernels.fused.cuda.tile import Tile, ceil_div
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import ELEMENT_BYTES, Layout, Precision, Problem

Problems = tuple[Problem, Problem]
"""The products of the right-most factor and of the other one."""


@dataclass(frozen=True, slots=True)
class ChainTile:
    """One instance of the kernel: both tiles have the same batch entries and threads."""

    first: Tile
    second: Tile
    shares: int = 1
    """Blocks that share the rows of Y of one batch tile; each computes what it reads of the intermediate, or
    each cluster does."""
    cluster: int = 1
    """Blocks that compute an intermediate together and hold only what they read of it; divides `shares`."""

    @property
    def precision(self) -> Precision:
        """Of both factors."""
        return self.first.precision

    @property
    def layout(self) -> Layout:
        """Of X and Y."""
        return self.first.layout

    @property
    def family(self) -> str:
        """The name of its budget."""
        return "chain" if self.cluster == 1 else "chain_in_clusters"

    @property
    def needs_trust(self) -> bool:
        """Whether it uses wgmma and TMA; it does not as yet."""
        return False

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return self.first.threads

    @property
    def registers(self) -> int:
        """Maximum registers per thread, as `chain.cu` sets it."""
        sums = max(self.first.sum_registers, self.second.sum_registers)
        return 255 if sums > 64 else 168 if sums > 32 else 128

    @property
    def shared_bytes(self) -> int:
        """Shared memory of a block, without the intermediate; the compiler checks it against `chain.cu`."""
        second = self.second.stages * self.second.weight_elements * ELEMENT_BYTES[self.precision]
        return max(self.first.loop_bytes, second) + self.second.output_bytes

    def held_groups(self, second: Pattern) -> int:
        """The most groups of the second factor's j's, of all i's, whose intermediate a block holds."""
        groups = second.a * ceil_div(second.d, self.second.neighbours)
        if self.cluster == 1:
            return groups
        k_tiles = ceil_div(second.b, self.second.rows)
        tiles = groups * k_tiles
        size = ceil_div(tiles, self.shares)
        firsts = range(0, tiles, size)
        return max((min(first + size, tiles) - 1) // k_tiles - first // k_tiles + 1 for first in firsts)

    def intermediate_bytes(self, second: Pattern) -> int:
        """Shared memory of what a block holds of the intermediate.

        It is padded to whole steps of the second factor, and for the banks.
        """
        element_bytes = ELEMENT_BYTES[self.precision]
        by_words = self.second.family == "tensor_cores" and element_bytes == 4
        gap = 8 if by_words else 16 // element_bytes
        columns = ceil_div(second.c, self.second.depth) * self.second.depth
        planes = second.a * second.d
        if self.cluster > 1:
            planes = self.held_groups(second) * min(self.second.neighbours, second.d)
        return element_bytes * planes * (columns * (self.second.batch + gap) + gap)

    def launch_bytes(self, second: Pattern) -> int:
        """Shared memory of a launch."""
        return self.shared_bytes + self.intermediate_bytes(second)

    def blocks(self, batch: int) -> int:
        """Blocks of a launch, in a one-dimensional grid."""
        return ceil_div(batch, self.first.batch) * self.shares

    @property
    def name(self) -> str:
        """A readable name of the instance, the same in every revision."""
        return f"{self.precision} {self.layout} {self}"

    def __str__(self) -> str:
        shares = f", {self.shares} shares" if self.shares > 1 else ""
        clusters = f" in clusters of {self.cluster}" if self.cluster > 1 else ""
        return f"chain of {self.first} and {self.second}{shares}{clusters}"

    @property
    def source(self) -> str:
        """The translation unit that compiles to this pair's kernel."""
        return (
            f"#define KS_TILE {self.first.parameters}\n"
            f"#define KS_SECOND_TILE {self.second.parameters}\n"
            f"#define KS_THREADS {self.threads}\n"
            f"#define KS_SHARED_BYTES {self.shared_bytes}\n"
            f"#define KS_CLUSTER {self.cluster}\n"
            '#include "chain.cu"\n'
        )


def tile_count(problem: Problem, tile: Tile) -> int:
    """Tiles of a factor's rows, for one batch tile."""
    a, b, _, d = problem.pattern.as_tuple()
    return a * ceil_div(d, tile.neighbours) * ceil_div(b, tile.rows)


def share_size(problems: Problems, tile: ChainTile) -> int:
    """Tiles of the second factor in a share; the last shares may have fewer or none."""
    return ceil_div(tile_count(problems[1], tile.second), tile.shares)
