"""One tile of the fused kernel: the template parameters of `tile.cuh`, with their names there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from kswatch.declared.precisions import OUTPUT_ELEMENT_BYTES
from kswatch.kernels.problem import ELEMENT_BYTES, Layout, Precision, Problem

Family = Literal["cores", "tensor_cores", "warpgroups", "persistent"]
FAMILIES: tuple[Family, ...] = get_args(Family)

WORKER_THREADS: dict[Family, int] = {"cores": 1, "tensor_cores": 32, "warpgroups": 128, "persistent": 128}
PERSISTENT_THREADS = 3 * 128
"""A warpgroup that copies and two that multiply."""
CLUSTER = 2
"""Persistent blocks that share the copies of their weights."""
SUM_THREADS = 256
"""Threads of a block of the second pass, which adds up `parts`."""


SOURCES: dict[Family, str] = {"warpgroups": "hopper", "persistent": "hopper_persistent"}
"""Sources with wgmma and TMA; `fused.cu` holds all other families."""


def ceil_div(extent: int, size: int) -> int:
    """The number of pieces of a size that cover an extent."""
    return -(-extent // size)


class KernelUnit(Protocol):
    """A translation unit that compiles to one kernel: a tile, or the pair of tiles of a chain."""

    @property
    def precision(self) -> Precision: ...  # noqa: D102

    @property
    def layout(self) -> Layout: ...  # noqa: D102

    @property
    def source(self) -> str: ...  # noqa: D102

    @property
    def shared_bytes(self) -> int: ...  # noqa: D102

    @property
    def needs_trust(self) -> bool: ...  # noqa: D102

    def __hash__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Tile:
    """One instance of the kernel: what a block computes and how its threads share it."""

    family: Family
    precision: Precision
    layout: Layout
    rows: int
    """BM: rows of a block, out of the b rows of one (i, j)."""
    batch: int
    """BN: batch entries of a block."""
    depth: int
    """BK: columns of one step, out of c."""
    neighbours: int
    """J: neighbouring j's of a block, out of d; above 1 only in batch_first."""
    flat: bool
    """Whether one block covers all d of them (d <= J): its features are then one contiguous run."""
    worker_rows: int
    """TM: rows of one thread (CUDA cores), one warp (tensor cores) or one instruction (wgmma)."""
    worker_batch: int
    """TN: batch entries of one thread, warp or instruction."""
    worker_neighbours: int
    """TJ: j's of one thread or warp."""
    stages: int
    """Steps of c that shared memory holds at once."""
    vector_bytes: int
    """Bytes per access to X and Y."""
    parts: int = 1
    """Blocks that split the c columns of a sum; a second pass adds up their partial sums."""
    walkers: int = 0
    """Persistent blocks that keep their weights in shared memory and walk along the batch; 0 for none. In the
    family `persistent`, clusters of two blocks that walk along all tiles."""
    weight_steps: int = 0
    """Steps of c whose weights a walker keeps."""
    blocked: bool = False
    """Whether CUDA cores add the c columns in blocks, so that the error of fp32 does not grow with c."""
    wide_range: bool = False
    """Whether X is e5m2 in fp8, instead of e4m3."""

    @property
    def needs_trust(self) -> bool:
        """Whether it uses wgmma and TMA: it is then chosen only on a GPU where it was seen to be right."""
        return self.family in SOURCES

    @property
    def threads(self) -> int:
        """Threads of a block."""
        if self.family == "persistent":
            return PERSISTENT_THREADS
        workers = (self.rows // self.worker_rows) * (self.batch // self.worker_batch)
        return workers * (self.neighbours // self.worker_neighbours) * WORKER_THREADS[self.family]

    @property
    def sums(self) -> int:
        """Sums that one thread keeps in registers."""
        adding = self.threads - (128 if self.family == "persistent" else 0)
        return self.rows * self.batch * self.neighbours // adding

    @property
    def sum_registers(self) -> int:
        """Registers of a thread's sums; 3xTF32 and blocked sums keep the latest columns' sums separately."""
        return self.sums * (2 if self.split or self.blocked else 1) * self.sum_bytes // 4

    @property
    def sum_bytes(self) -> int:
        """Bytes of a sum: fp32, or 8 for elements of 8 bytes."""
        return max(4, ELEMENT_BYTES[self.precision])

    @property
    def registers(self) -> int:
        """Maximum registers per thread; `tile.cuh` sets this bound, so that blocks share a multiprocessor."""
        if (
            self.family == "persistent"
        ):  # at the launch: the threads that multiply take over those of the others
            return 168
        if self.sum_registers > (32 if self.precision == "fp8" and self.family == "tensor_cores" else 64):
            return 256
        crowded = self.walkers or self.precision == "fp8" or (self.parts > 1 and self.sum_registers > 32)
        return 168 if crowded else 128

    @property
    def direct(self) -> bool:
        """Whether X is multiplied in the order of batch_first, without being transposed."""
        return self.layout == "batch_first" and self.neighbours == 1 and self.family != "cores"

    @property
    def weight_elements(self) -> int:
        """Weights of one step."""
        return self.neighbours * self.rows * self.depth

    @property
    def shared_bytes(self) -> int:
        """Shared memory of a block, without a walker's weights; the compiler checks it against `tile.cuh`."""
        if self.family == "persistent":
            span_bytes = self.depth * ELEMENT_BYTES[self.precision]
            return 1024 + span_bytes * (self.stages * (self.rows + self.batch) + 2 * self.batch)
        combine = sum if self.walkers else max
        return combine((self.loop_bytes, self.output_bytes))

    @property
    def loop_bytes(self) -> int:
        """Shared memory of the stages, and of X where it is transposed."""
        element_bytes = ELEMENT_BYTES[self.precision]
        unit = 16 // element_bytes
        transposed = self.layout == "batch_first" and not self.direct
        by_words = self.family == "tensor_cores" and element_bytes == 4 and not self.direct
        warpgroups = self.family == "warpgroups"
        x_pitch = self.batch + (0 if warpgroups else 8 if by_words else unit * (1 - self.batch // unit % 2))
        if transposed:
            x_elements = self.batch * (self.depth * self.neighbours + unit)
        else:
            x_elements = self.depth * (self.batch if self.direct else x_pitch)
        loop = self.stages * (x_elements + (0 if self.walkers else self.weight_elements))
        padding = unit * (8 // self.neighbours if self.neighbours < 8 and not by_words else 1)
        loop += self.neighbours * (self.depth * x_pitch + padding) if transposed else 0
        return element_bytes * loop + (1024 if warpgroups else 0)

    @property
    def output_bytes(self) -> int:
        """Bytes of a tile of Y in shared memory, in whole 16-byte units."""
        element_bytes = self.sum_bytes if self.parts > 1 else OUTPUT_ELEMENT_BYTES[self.precision]
        unit = 16 // element_bytes
        if self.layout == "batch_last":
            wide_pairs = self.family == "tensor_cores" and element_bytes == 4
            padding = 16 * (1 - self.batch // 16 % 2) if self.in_fours else 8 if wide_pairs else unit
            elements = self.rows * (self.batch + padding)
        else:
            cores = self.family == "cores"
            columns = self.batch // self.worker_batch if cores else 0
            group = min(4, 16 // ELEMENT_BYTES[self.precision])
            skew = self.batch // group * unit * (1 if columns >= 8 else 2 if columns == 4 else 0)
            skew = self.batch // 4 * 8 if self.in_fours else skew
            gap = unit if cores or self.neighbours == 2 else element_bytes
            elements = self.neighbours * (self.batch * (self.rows + unit) + skew + gap)
        return ceil_div(element_bytes * elements, 16) * 16

    @property
    def launch_bytes(self) -> int:
        """Shared memory of a launch: a walker's weights follow everything else."""
        kept = self.weight_steps * self.weight_elements if self.walkers else 0
        return self.shared_bytes + ELEMENT_BYTES[self.precision] * kept

    def blocks(self, problem: Problem) -> int:
        """Blocks of a launch, in a one-dimensional grid."""
        if self.family == "persistent":
            return CLUSTER * self.walkers
        a, b, _, d = problem.pattern.as_tuple()
        along_batch = self.walkers or ceil_div(problem.batch, self.batch)
        return ceil_div(b, self.rows) * along_batch * ceil_div(d, self.neighbours) * a * self.parts

    @property
    def name(self) -> str:
        """A readable name of the instance, the same in every revision."""
        return f"{self.precision} {self.layout} {self}"

    def __str__(self) -> str:
        sizes = f"{self.rows}x{self.batch}x{self.depth}"
        neighbours = f", {self.neighbours} j together" if self.neighbours > 1 else ""
        worker = f"{self.worker_rows}x{self.worker_batch}"
        if self.worker_neighbours > 1:
            worker += f"x{self.worker_neighbours}"
        units = {
            "cores": "thread",
            "tensor_cores": "warp",
            "warpgroups": "warpgroup",
            "persistent": "instruction",
        }
        unit = units[self.family]
        family = f"{self.family} by 3xTF32" if self.split else self.family
        variant = f", {self.parts} parts of c" if self.parts > 1 else ""
        walkers = "clusters" if self.family == "persistent" else "walkers"
        variant += f", {self.walkers} {walkers}" if self.walkers else ""
        variant += ", sums in blocks" if self.blocked else ""
        variant += ", X in e5m2" if self.wide_range else ""
        return (
            f"{family} {sizes}{neighbours}, {worker} per {unit}, "
            f"{self.stages} stages, {self.vector_bytes}-byte vectors{variant}"
        )

    @property
    def split(self) -> bool:
        """Whether fp32 is split into two tf32 numbers for the tensor cores (3xTF32)."""
        return self.family == "tensor_cores" and self.precision == "fp32"

    @property
    def in_fours(self) -> bool:
        """Whether a lane holds the sums of four neighbouring batch entries: fp8, where X is transposed."""
        return self.precision == "fp8" and self.family == "tensor_cores" and not self.direct

    @property
    def parameters(self) -> str:
        """The template parameters, in the order of `tile.cuh` or of `hopper_persistent.cu`."""
        if self.family == "persistent":
            return f"{self.precision}, {self.layout}, {self.rows}, {self.batch}, {self.stages}"
        sizes = [self.rows, self.batch, self.depth, self.neighbours, str(self.flat).lower()]
        sizes += [self.worker_rows, self.worker_batch, self.worker_neighbours, self.stages, self.vector_bytes]
        sizes += [str(self.parts > 1).lower(), str(self.walkers > 0).lower(), str(self.blocked).lower()]
        precision = f"{self.precision}_wide" if self.wide_range else self.precision
        return ", ".join(map(str, [self.family, precision, self.layout, *sizes]))

    @property
    def source(self) -> str:
        """The translation unit that compiles to this tile's kernel."""
        return (
            f"#define KS_TILE {self.parameters}\n"
            f"#define KS_THREADS {self.threads}\n"
            f"#define KS_SHARED_BYTES {self.shared_bytes}\n"
            f"#define KS_PARTED {int(self.parts > 1)}\n"
            f"#define KS_SUM_THREADS {SUM_THREADS}\n"
            f'#include "{SOURCES.get(self.family, "fused")}.cu"\n'
        )
