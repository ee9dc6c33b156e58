"""The persistent kernel as nvcc compiles it: every access, fence and barrier checked, and defects planted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda.nvcc import SOURCE_FOLDER
from kswatch.kernels.fused.cuda.tile import Tile
from kswatch.kernels.fused.cuda.tile_candidates import persistent_tiles
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Layout, Precision, Problem
from tests.kernels.changed_sources import changed_sources
from tests.kernels.ptx.interpreter import Options
from tests.kernels.ptx.products import Outcome, compute

pytestmark = pytest.mark.usefixtures("nvcc")

H200 = GpuProperties(90, 132)
KINDS: tuple[tuple[Precision, Layout], ...] = (
    ("fp16", "batch_first"),
    ("bf16", "batch_last"),
    ("tf32", "batch_first"),
    ("bf16", "batch_first"),
    ("fp16", "batch_last"),
)
FAST = KINDS[:3]
SHAPES = {
    "one tile, partial on every axis": ((1, 72, 200, 1), 72, 1),
    "one step of c": ((1, 64, 64, 1), 64, 1),
    "every stage used again in each of four tiles": ((1, 264, 328, 1), 400, 1),
    "the second block of the last pair without a batch entry": ((1, 256, 128, 1), 384 + 64, 1),
    "two clusters and an odd number of tiles": ((3, 72, 72, 1), 136, 2),
    "whole tiles": ((1, 512, 192, 1), 768, 3),
    "many i": ((5, 128, 64, 1), 200, 4),
}
REPEATED = SHAPES["every stage used again in each of four tiles"]
LAST_SHAPES = {
    "several j, partial": ((1, 72, 200, 3), 136, 2),
    "several i and j": ((2, 264, 72, 2), 400, 3),
}


def tile_of(problem: Problem, clusters: int) -> Tile:
    """The persistent tile of a problem, with a few clusters, so that each has several tiles."""
    (tile,) = persistent_tiles(problem, H200)
    return replace(tile, walkers=min(clusters, tile.walkers))


def outcome(
    kind: tuple[Precision, Layout],
    shape: tuple[tuple[int, int, int, int], int, int],
    options: Options | None = None,
    folder: Path = SOURCE_FOLDER,
    with_bias: bool = True,
) -> Outcome:
    """The product of a kind and shape (pattern, batch, clusters)."""
    pattern, batch, clusters = shape
    problem = Problem(Pattern(*pattern), batch, *kind)
    return compute(problem, tile_of(problem, clusters), 90, options, with_bias, folder=folder)


@pytest.mark.parametrize("kind", FAST, ids="-".join)
def test_a_cluster_computes_several_tiles(kind):
    assert outcome(kind, REPEATED).faults == []


def shapes() -> Iterator[object]:
    for kind in KINDS:
        every = {**SHAPES, **(LAST_SHAPES if kind[1] == "batch_last" else {})}
        for name, shape in every.items():
            yield pytest.param(kind, shape, id=f"{'-'.join(kind)}-{name}")


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "shape"), list(shapes()))
@pytest.mark.parametrize(
    "options",
    [
        Options(seed=2, quantum=1),
        Options(seed=3, quantum=400, shared_shift=16),
        Options(seed=4, truncating=True),
    ],
    ids=["fine steps", "long steps", "cut sums"],
)
def test_every_shape_is_right_in_every_order_of_warps(kind, shape, options):
    assert outcome(kind, shape, options, with_bias=options.seed % 2 == 0).faults == []


@pytest.mark.slow
@pytest.mark.parametrize(("x_shift", "y_shift"), [(1, 0), (0, 1), (8, 8)])
def test_an_unaligned_input_or_output_goes_to_another_tile(x_shift, y_shift):
    problem = Problem(Pattern(1, 264, 200, 1), 72, "fp16", "batch_first")
    found = compute(problem, tile_of(problem, 1), x_shift=x_shift, y_shift=y_shift)
    assert found.faults == []
    aligned = x_shift % 8 == y_shift % 8 == 0
    assert [tile.family == "persistent" for _, tile in found.launches] == [aligned]


class Mutant(NamedTuple):
    """`source` is replaced by `planted` in a file, which gives a fault with the text `seen`."""

    file: str
    source: str
    planted: str
    seen: str
    kind: tuple[Precision, Layout] = KINDS[0]


KERNEL, CLUSTERS = "hopper_persistent.cu", "hopper_cluster.cuh"
WRONG = "relative error"
ORDERS = [
    Options(seed=seed, quantum=quantum, max_steps=200_000) for seed, quantum in ((1, 40), (2, 1), (3, 10_000))
]
"""The last one lets a block run ahead of the other."""
MUTANTS = {
    "no proxy fence before a store": Mutant(KERNEL, "hopper::publish_writes();", "", "without a proxy fence"),
    "weights to one block only": Mutant(CLUSTERS, "BOTH_BLOCKS = 3", "BOTH_BLOCKS = 1", "never completes"),
    "weights to a block that is none": Mutant(
        CLUSTERS, "BOTH_BLOCKS = 3", "BOTH_BLOCKS = 7", "outside the cluster"
    ),
    "no wait for the copies": Mutant(
        KERNEL, "hopper::wait(stages.full + turn.stage, turn.round % 2);", "", "over reads without a barrier"
    ),
    "a wait for the wrong phase": Mutant(
        KERNEL, "(turn.round - 1) % 2", "turn.round % 2", "over a copy under way"
    ),
    "a stage that is copied to before it was read": Mutant(
        KERNEL, "if (turn.round > 0)", "if (turn.round > 99)", "over a copy under way"
    ),
    "a stage released before its products are complete": Mutant(
        KERNEL,
        "hopper::wait_products<1>();\n",
        "hopper::wait_products<3>();\n",
        "over reads without a barrier",
    ),
    "the last products not awaited": Mutant(
        KERNEL, "hopper::wait_products<0>();", "", "under way is touched"
    ),
    "stages released in this block only": Mutant(
        KERNEL,
        "hopper::CLUSTER) hopper::arrive(stages.empty + stage, thread % 32)",
        "hopper::CLUSTER) hopper::arrive(stages.empty + stage, hopper::rank_in_cluster())",
        "over reads without a barrier",
    ),
    "a chunk overwritten before it was stored": Mutant(
        KERNEL, "if (thread == 0) hopper::wait_stores_read();", "", "write under an asynchronous read"
    ),
    "no barrier before a chunk is written": Mutant(
        KERNEL,
        "hopper::warpgroup_barrier(1 + number);  // the chunk may",
        "// the chunk may",
        "write after read",
    ),
    "no barrier after a chunk is written": Mutant(
        KERNEL,
        "hopper::warpgroup_barrier(1 + number);  // the chunk is",
        "// the chunk is",
        "reads a write without a barrier",
    ),
    "one barrier for both warpgroups": Mutant(
        CLUSTERS, '"r"(number) : "memory"', '"r"(1) : "memory"', "without a barrier"
    ),
    "an end without waiting for the stores": Mutant(
        KERNEL, "if (thread == 0) hopper::wait_stores();", "", "ends while bulk stores read"
    ),
    "an end without waiting for the other block": Mutant(
        KERNEL, "hopper::cluster_barrier();  // until", "// until", "ended"
    ),
    "a start without waiting for the other block": Mutant(
        KERNEL,
        "hopper::cluster_barrier();  // both",
        "__syncthreads();  // both",
        "without a fence after its initialisation",
    ),
    "counters not published": Mutant(
        KERNEL, "hopper::publish_counters();", "", "without a fence after its initialisation"
    ),
    "too few bytes expected": Mutant(
        KERNEL, "expect(full, T::STAGE_BYTES)", "expect(full, T::X_BYTES)", "never completes"
    ),
    "the same half of the weights twice": Mutant(KERNEL, "+ rank * (T::BM", "+ 0 * (T::BM", WRONG),
    "both halves of the weights at one place": Mutant(
        KERNEL, "+ rank * HALF", "+ 0 * HALF", "over a copy under way"
    ),
    "the same batch tile in both blocks": Mutant(
        KERNEL, "(n * hopper::CLUSTER + rank)", "(n * hopper::CLUSTER)", "written twice"
    ),
    "no fence before the products": Mutant(KERNEL, "hopper::fence_sums();", "", "since the last wgmma.fence"),
    "rows of a chunk not permuted": Mutant("hopper_maps.cuh", "(byte / 16 ^ row % 8)", "(byte / 16)", WRONG),
    "columns not transposed": Mutant(CLUSTERS, "x4.trans.shared", "x4.shared", WRONG),
    "boxes of a chunk exchanged": Mutant(
        KERNEL,
        "hopper::store_box(map, at.n0 + n,",
        "hopper::store_box(map, at.n0 + (n ^ 64),",
        "written twice",
        KINDS[1],
    ),
    "a chunk of the other rows": Mutant(
        KERNEL, "store_chunk(at, row + part)", "store_chunk(at, row)", "written twice", KINDS[2]
    ),
    "the bias of other rows": Mutant(KERNEL, "row + hopper::sum_row(thread, 2)", "row", WRONG),
    "a tile left out": Mutant(
        KERNEL, "pair / k_tiles % pairs, matrix", "0 * pairs, matrix", "not written exactly once"
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_defect_is_found(tmp_path, name):
    mutant = MUTANTS[name]
    folder = changed_sources(tmp_path / "source", mutant.file, mutant.source, mutant.planted)
    faults = [fault for order in ORDERS for fault in outcome(mutant.kind, REPEATED, order, folder).faults]
    assert any(mutant.seen in fault for fault in faults), faults
