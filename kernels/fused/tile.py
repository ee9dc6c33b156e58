"""One tile of the fused kernel: the template parameters of `tile.cuh`, whose letters stand beside them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from kernels.problem import ELEMENT_BYTES, Layout, Precision, Problem

Family = Literal["cores", "tensor_cores"]
FAMILIES: tuple[Family, ...] = get_args(Family)


def ceil(extent: int, size: int) -> int:
    """How many pieces of a size cover an extent."""
    return -(-extent // size)


@dataclass(frozen=True, slots=True)
class Tile:
    """One instance of the kernel: what a block computes and how its threads share it."""

    family: Family
    precision: Precision
    layout: Layout
    rows: int
    """BM: of the b rows of one (i, j)."""
    batch: int
    """BN: of the batch."""
    depth: int
    """BK: of the c columns, in one step."""
    neighbours: int
    """J: of the d j's, taken together in batch_first."""
    flat: bool
    """Whether one block has all d of them, J or fewer: its features are then one contiguous run."""
    worker_rows: int
    """TM: of the rows, for one thread (CUDA cores) or one warp (tensor cores)."""
    worker_batch: int
    """TN: of the batch, likewise."""
    worker_neighbours: int
    """TJ: of the j's, likewise."""
    stages: int
    """Steps of c that shared memory holds at once."""
    vector_bytes: int
    """Bytes per access to X and Y."""

    @property
    def threads(self) -> int:
        """Threads of a block."""
        workers = (
            (self.rows // self.worker_rows)
            * (self.batch // self.worker_batch)
            * (self.neighbours // self.worker_neighbours)
        )
        return workers * (32 if self.family == "tensor_cores" else 1)

    @property
    def sums(self) -> int:
        """Sums that one thread keeps in registers."""
        return self.rows * self.batch * self.neighbours // self.threads

    @property
    def direct(self) -> bool:
        """Whether X is multiplied as batch_first brings it, not turned around."""
        return self.layout == "batch_first" and self.neighbours == 1 and self.family == "tensor_cores"

    @property
    def weight_elements(self) -> int:
        """Weights of one step."""
        return self.neighbours * self.rows * self.depth

    @property
    def shared_bytes(self) -> int:
        """Shared memory of a block; `tile.cuh` computes the same and the compiler compares."""
        element_bytes = ELEMENT_BYTES[self.precision]
        unit = 16 // element_bytes
        turned = self.layout == "batch_first" and not self.direct
        by_words = self.family == "tensor_cores" and element_bytes == 4 and not self.direct
        x_pitch = self.depth + unit if self.direct else self.batch + (8 if by_words else unit)
        if turned:
            x_elements = self.batch * (self.depth * self.neighbours + unit)
        else:
            x_elements = (self.batch if self.direct else self.depth) * x_pitch
        loop = self.stages * (self.weight_elements + x_elements)
        loop += self.neighbours * (self.depth * x_pitch + unit) if turned else 0
        if self.layout == "batch_last":
            output = self.rows * (self.batch + unit)
        else:
            output = self.neighbours * (self.batch * (self.rows + unit) + element_bytes)
        return element_bytes * max(loop, output)

    def blocks(self, problem: Problem) -> int:
        """Blocks of a launch, a grid of one dimension."""
        a, b, _, d = problem.pattern.as_tuple()
        return ceil(b, self.rows) * ceil(problem.batch, self.batch) * ceil(d, self.neighbours) * a

    def with_vectors(self, vector_bytes: int) -> Tile:
        """The same tile with narrower accesses to X and Y; weights stay as they are laid out."""
        return replace(self, vector_bytes=vector_bytes)

    @property
    def name(self) -> str:
        """The instance in words, the same from revision to revision."""
        return f"{self.precision} {self.layout} {self}"

    def __str__(self) -> str:
        sizes = f"{self.rows}x{self.batch}x{self.depth}"
        together = f", {self.neighbours} j together" if self.neighbours > 1 else ""
        worker = f"{self.worker_rows}x{self.worker_batch}"
        each = f"{worker}x{self.worker_neighbours}" if self.worker_neighbours > 1 else worker
        unit = "warp" if self.family == "tensor_cores" else "thread"
        return (
            f"{self.family} {sizes}{together}, {each} per {unit}, "
            f"{self.stages} stages, {self.vector_bytes}-byte vectors"
        )

    @property
    def source(self) -> str:
        """The translation unit that compiles to this tile's kernel."""
        sizes = [self.rows, self.batch, self.depth, self.neighbours, str(self.flat).lower()]
        sizes += [self.worker_rows, self.worker_batch, self.worker_neighbours, self.stages, self.vector_bytes]
        parameters = ", ".join(map(str, [self.family, self.precision, self.layout, *sizes]))
        return (
            f"#define KS_TILE {parameters}\n"
            f"#define KS_THREADS {self.threads}\n"
            f"#define KS_SHARED_BYTES {self.shared_bytes}\n"
            '#include "fused.cu"\n'
        )
