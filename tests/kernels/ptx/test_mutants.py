"""Defects planted in the CUDA sources: the interpreter finds each in what nvcc makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from kswatch.kernels.fused.cuda.estimate import cycles
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda.nvcc import SOURCE_FOLDER
from kswatch.kernels.fused.cuda.tile import Tile
from kswatch.kernels.fused.cuda.tile_candidates import candidates, warpgroup_tiles
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Layout, Precision, Problem
from tests.kernels.changed_sources import changed_sources
from tests.kernels.ptx.interpreter import Options
from tests.kernels.ptx.products import compute

pytestmark = [pytest.mark.usefixtures("nvcc"), pytest.mark.slow, pytest.mark.timeout(600)]

H200 = GpuProperties(90, 132)


def problem(shape: tuple[int, int, int, int], batch: int, precision: Precision, layout: Layout) -> Problem:
    return Problem(Pattern(*shape), batch, precision, layout)


DIRECT = problem((2, 20, 200, 1), 40, "fp16", "batch_first")
LAST = problem((2, 20, 200, 1), 40, "fp16", "batch_last")
TURNED = problem((1, 33, 65, 12), 40, "bf16", "batch_first")
CORES = problem((1, 33, 65, 3), 40, "fp32", "batch_first")
SHORT = problem((2, 20, 20, 1), 37, "bf16", "batch_last")
WORDS = problem((1, 33, 65, 1), 40, "tf32", "batch_last")
HOPPER_FIRST = problem((2, 72, 200, 1), 72, "fp16", "batch_first")
HOPPER_LAST = problem((2, 72, 200, 3), 72, "bf16", "batch_last")
HOPPER_TF32 = problem((2, 72, 200, 1), 72, "tf32", "batch_first")
HOPPER_LONG = problem((1, 256, 512, 1), 72, "fp16", "batch_first")
HOPPER = (HOPPER_FIRST, HOPPER_LAST, HOPPER_TF32, HOPPER_LONG)


class Mutant(NamedTuple):
    """`source` is replaced by `planted` in a file; in one of the problems, a fault holds the text `seen`."""

    file: str
    source: str
    planted: str
    problems: tuple[Problem, ...]
    seen: str


RACE, COPYING, WRONG, OUTSIDE = "without a barrier", "copy under way", "wrong product", "out of bounds"
MUTANTS = {
    "a wait for one group too few": Mutant(
        "fused.cu", "wait_copies<T::STAGES - 2>()", "wait_copies<T::STAGES - 1>()", (DIRECT, CORES), COPYING
    ),
    "no barrier after the wait": Mutant("fused.cu", "barrier();  // this step's", "// this", (LAST,), RACE),
    "no barrier before Y": Mutant(
        "fused.cu", "if constexpr (!T::RESIDENT) barrier();", "", (SHORT, CORES), RACE
    ),
    "no barrier after Y": Mutant("fused.cu", "barrier();  // Y is complete", "", (DIRECT, CORES), RACE),
    "no barrier after the turn": Mutant(
        "fused.cu",
        "      barrier();\n      sums.step(w, turned",
        "      sums.step(w, turned",
        (TURNED,),
        RACE,
    ),
    "no bound of the batch in copies": Mutant(
        "copy.cuh", "l0 + l < g.c && n < ns", "l0 + l < g.c", (LAST,), OUTSIDE
    ),
    "no bound of the columns in copies": Mutant(
        "copy.cuh", "l0 + l < g.c && n < ns", "n < ns", (LAST, WORDS), OUTSIDE
    ),
    "no bound of the rows in the store": Mutant(
        "store.cuh", "n >= at.ns || !run.has(q)", "n >= at.ns", (DIRECT, TURNED), OUTSIDE
    ),
    "no bound of the batch in the store": Mutant(
        "store.cuh", "m >= run.rows || n >= at.ns", "m >= run.rows", (LAST,), "written twice"
    ),
    "rows of B not transposed": Mutant("device.cuh", "m8n8.x4.trans", "m8n8.x4", (LAST,), WRONG),
    "registers of A exchanged": Mutant(
        "device.cuh", '"r"(a[1]), "r"(a[2])', '"r"(a[2]), "r"(a[1])', (DIRECT, WORDS), WRONG
    ),
    "registers of B exchanged": Mutant(
        "device.cuh", '"r"(b0), "r"(b1)', '"r"(b1), "r"(b0)', (DIRECT, WORDS), WRONG
    ),
    "copies of a quarter of the bytes": Mutant(
        "device.cuh", "valid ? BYTES : 0", "valid ? BYTES / 4 : 0", (DIRECT,), WRONG
    ),
    "a swizzle on one side alone": Mutant(
        "copy.cuh",
        "swizzled<T>(n, q) : n * T::RAW_PITCH",
        "n * T::X_PITCH + q : n * T::RAW_PITCH",
        (DIRECT,),
        WRONG,
    ),
    "vectors wider than strides": Mutant(
        "copy.cuh", "WIDTH = T::VECTOR / sizeof(E)", "WIDTH = 8", (TURNED,), "never written"
    ),
    "a wait for the other phase": Mutant(
        "hopper.cu", "step / T::STAGES % 2)", "1 - step / T::STAGES % 2)", HOPPER, COPYING
    ),
    "too few bytes expected": Mutant(
        "hopper.cu", "counter, X_BYTES + W_BYTES", "counter, X_BYTES", HOPPER, "never completes"
    ),
    "too many bytes expected": Mutant(
        "hopper.cu",
        "counter, X_BYTES + W_BYTES",
        "counter, X_BYTES + W_BYTES + 16",
        HOPPER,
        "never completes",
    ),
    "no barrier before a stage is copied to again": Mutant(
        "hopper.cu", "barrier();  // no thread reads", "// no thread reads", HOPPER, "bulk copy over"
    ),
    "no wait for products": Mutant(
        "hopper.cu",
        "hopper::wait_products<1>();",
        "hopper::wait_products<3>();",
        HOPPER,
        "read asynchronously",
    ),
    "the stride of a descriptor": Mutant(
        "hopper.cu", "(true), 16, hopper::ATOM_BYTES)", "(true), 16, 512)", HOPPER, WRONG
    ),
    "the leading distance of a descriptor": Mutant(
        "hopper.cu", "T::BK * hopper::SPAN_BYTES, hopper", "hopper::SPAN_BYTES, hopper", (HOPPER_LAST,), WRONG
    ),
    "B not transposed by wgmma": Mutant(
        "hopper_device.cuh", 'bf16", ", 0, 1")', 'bf16", ", 0, 0")', (HOPPER_LAST,), WRONG
    ),
    "coordinates exchanged": Mutant(
        "hopper.cu", "map, n0 + n, j, l0, i", "map, n0 + n, l0, j, i", (HOPPER_LAST,), WRONG
    ),
    "stages that are not aligned": Mutant(
        "hopper.cu", "+ (hopper::ATOM_BYTES - past) % hopper::ATOM_BYTES", "", HOPPER, "misaligned"
    ),
    "no fence of the sums": Mutant("hopper.cu", "hopper::fence_sums();", "", HOPPER, "wgmma.fence"),
    "no wait for the last products": Mutant(
        "hopper.cu", "    hopper::wait_products<0>();\n", "", HOPPER, "under way"
    ),
    "counters without a fence": Mutant(
        "hopper.cu", "hopper::publish_counters();", "", HOPPER, "without a fence after its initialisation"
    ),
}


def tile_of(problem: Problem) -> Tile:
    """The fastest tile by the model of the family that the mutant is about."""
    if problem in HOPPER:
        return next(tile for tile in warpgroup_tiles(problem, H200) if (tile.rows, tile.batch) == (128, 128))
    family = "cores" if problem.precision == "fp32" else "tensor_cores"
    plain = (t for t in candidates(problem, H200) if t.family == family and t.parts == 1 and not t.walkers)
    return min(plain, key=lambda tile: cycles(problem, tile, H200))


def faults(problem: Problem, folder: Path = SOURCE_FOLDER) -> list[str]:
    """Stages begin at no multiple of their alignment, as on a GPU they may."""
    options = Options(max_steps=2_000_000, shared_shift=16)
    return compute(problem, tile_of(problem), options=options, folder=folder).faults


@pytest.mark.parametrize("problem", [DIRECT, LAST, TURNED, CORES, WORDS, *HOPPER], ids=str)
def test_the_sources_without_a_defect_are_clean(problem):
    assert faults(problem) == []


@pytest.mark.parametrize("name", MUTANTS)
def test_a_defect_is_found(name, tmp_path):
    mutant = MUTANTS[name]
    folder = changed_sources(tmp_path / "source", mutant.file, mutant.source, mutant.planted)
    found = [fault for problem in mutant.problems for fault in faults(problem, folder)]
    assert any(mutant.seen in fault for fault in found), found
