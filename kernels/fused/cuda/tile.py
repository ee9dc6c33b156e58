"""One tile of the fused kernel: the template parameters of `tile.cuh`, whose letters stand beside them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from kswatch.kernels.problem import ELEMENT_BYTES, Layout, Precision, Problem

Family = Literal["cores", "tensor_cores", "warpgroups"]
FAMILIES: tuple[Family, ...] = get_args(Family)

WORKER_THREADS: dict[Family, int] = {"cores": 1, "tensor_cores": 32, "warpgroups": 128}
SUM_THREADS = 256
"""Of a block of the second pass, which adds up `parts`."""


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
    parts: int = 1
    """Blocks that share the c columns of a sum; a second pass adds up what they leave."""
    walkers: int = 0
    """Blocks that share a batch with their weights kept in shared memory; 0: one block a batch tile."""
    weight_steps: int = 0
    """Steps of c whose weights a walker keeps."""

    @property
    def threads(self) -> int:
        """Threads of a block."""
        workers = (
            (self.rows // self.worker_rows)
            * (self.batch // self.worker_batch)
            * (self.neighbours // self.worker_neighbours)
        )
        return workers * WORKER_THREADS[self.family]

    @property
    def sums(self) -> int:
        """Sums that one thread keeps in registers."""
        return self.rows * self.batch * self.neighbours // self.threads

    @property
    def sum_registers(self) -> int:
        """Registers for them; 3xTF32 keeps those of the last columns apart."""
        return self.sums * (2 if self.split else 1)

    @property
    def registers(self) -> int:
        """At most, per thread; `tile.cuh` bounds them so, so that blocks share a multiprocessor."""
        if self.sum_registers > 64:
            return 256
        return 168 if self.walkers else 128

    @property
    def direct(self) -> bool:
        """Whether X is multiplied as batch_first brings it, not turned around."""
        return self.layout == "batch_first" and self.neighbours == 1 and self.family != "cores"

    @property
    def weight_elements(self) -> int:
        """Weights of one step."""
        return self.neighbours * self.rows * self.depth

    @property
    def shared_bytes(self) -> int:
        """Shared memory of a block but for a walker's weights; the compiler compares with `tile.cuh`."""
        element_bytes = ELEMENT_BYTES[self.precision]
        unit = 16 // element_bytes
        turned = self.layout == "batch_first" and not self.direct
        by_words = self.family == "tensor_cores" and element_bytes == 4 and not self.direct
        warpgroups = self.family == "warpgroups"
        x_pitch = (
            self.depth
            if self.direct
            else self.batch
            if warpgroups
            else self.batch + (8 if by_words else unit)
        )
        if turned:
            x_elements = self.batch * (self.depth * self.neighbours + unit)
        else:
            x_elements = (self.batch if self.direct else self.depth) * x_pitch
        loop = self.stages * (x_elements + (0 if self.walkers else self.weight_elements))
        apart = unit * (8 // self.neighbours if self.neighbours < 8 and not by_words else 1)
        loop += self.neighbours * (self.depth * x_pitch + apart) if turned else 0
        loop_bytes = element_bytes * loop + (1024 if warpgroups else 0)
        return loop_bytes + self._output_bytes if self.walkers else max(loop_bytes, self._output_bytes)

    @property
    def _output_bytes(self) -> int:
        """Of a tile of Y in shared memory, in whole 16-byte units."""
        element_bytes = 4 if self.parts > 1 else ELEMENT_BYTES[self.precision]
        unit = 16 // element_bytes
        if self.layout == "batch_last":
            wide_pairs = self.family == "tensor_cores" and element_bytes == 4
            elements = self.rows * (self.batch + (8 if wide_pairs else unit))
        else:
            cores = self.family == "cores"
            columns = self.batch // self.worker_batch if cores else 0
            skew = self.batch // 4 * unit * (1 if columns >= 8 else 2 if columns == 4 else 0)
            elements = self.neighbours * (
                self.batch * (self.rows + unit)
                + skew
                + (unit if cores or self.neighbours == 2 else element_bytes)
            )
        return ceil(element_bytes * elements, 16) * 16

    @property
    def launch_bytes(self) -> int:
        """Shared memory that a launch asks for: a walker's weights lie behind all else."""
        kept = self.weight_steps * self.weight_elements if self.walkers else 0
        return self.shared_bytes + ELEMENT_BYTES[self.precision] * kept

    def blocks(self, problem: Problem) -> int:
        """Blocks of a launch, a grid of one dimension."""
        a, b, _, d = problem.pattern.as_tuple()
        along_batch = self.walkers or ceil(problem.batch, self.batch)
        return ceil(b, self.rows) * along_batch * ceil(d, self.neighbours) * a * self.parts

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
        unit = {"cores": "thread", "tensor_cores": "warp", "warpgroups": "warpgroup"}[self.family]
        family = f"{self.family} by 3xTF32" if self.split else self.family
        more = f", {self.parts} parts of c" if self.parts > 1 else ""
        more += f", {self.walkers} walkers" if self.walkers else ""
        return (
            f"{family} {sizes}{together}, {each} per {unit}, "
            f"{self.stages} stages, {self.vector_bytes}-byte vectors{more}"
        )

    @property
    def split(self) -> bool:
        """Whether fp32 goes to the tensor cores as two tf32 numbers."""
        return self.family == "tensor_cores" and self.precision == "fp32"

    @property
    def source(self) -> str:
        """The translation unit that compiles to this tile's kernel."""
        sizes = [self.rows, self.batch, self.depth, self.neighbours, str(self.flat).lower()]
        sizes += [self.worker_rows, self.worker_batch, self.worker_neighbours, self.stages, self.vector_bytes]
        sizes += [str(self.parts > 1).lower(), str(self.walkers > 0).lower()]
        parameters = ", ".join(map(str, [self.family, self.precision, self.layout, *sizes]))
        return (
            f"#define KS_TILE {parameters}\n"
            f"#define KS_THREADS {self.threads}\n"
            f"#define KS_SHARED_BYTES {self.shared_bytes}\n"
            f"#define KS_PARTED {int(self.parts > 1)}\n"
            f"#define KS_SUM_THREADS {SUM_THREADS}\n"
            f'#include "{"hopper" if self.family == "warpgroups" else "fused"}.cu"\n'
        )
