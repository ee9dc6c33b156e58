"""chain.cu in clusters of blocks, as nvcc compiles it for sm_90."""

from __future__ import annotations

import itertools

import pytest

from kswatch.declared.precisions import SUITE_PRECISIONS
from kswatch.kernels.fused.cuda_chain.tile import ChainTile, Problems
from kswatch.kernels.problem import LAYOUTS, Layout, Precision
from tests.kernels.chains import SHAPES, problems_of, small_tile
from tests.kernels.changed_sources import changed_sources
from tests.kernels.ptx.interpreter import Options
from tests.kernels.ptx.test_chain import faults

pytestmark = pytest.mark.usefixtures("nvcc")


def case(precision: Precision, layout: Layout, shape: int, cluster: int) -> tuple[Problems, ChainTile]:
    """A chain by a small pair of tiles, with two clusters for each batch tile where these have two blocks."""
    problems = problems_of(*SHAPES[shape], precision, layout)
    return problems, small_tile(problems, shares=4 if cluster == 2 else cluster, cluster=cluster)


FAST = [
    case("fp16", "batch_first", 2, 2),
    case("tf32", "batch_first", 0, 2),
    case("fp32", "batch_last", 1, 4),
]
SLOW = [
    case(precision, layout, shape, cluster)
    for precision, layout in itertools.product(SUITE_PRECISIONS, LAYOUTS)
    for shape, cluster in ((0, 2), (1, 2), (2, 8))
]


@pytest.mark.parametrize("number", range(len(FAST)))
def test_a_chain_in_clusters_is_right_and_every_access_is_clean(number):
    assert faults(FAST, number) == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("number", range(len(SLOW)))
def test_every_precision_and_layout_is_right_and_clean(number):
    for seed in (1, 2, 3):  # in the third run one block runs ahead of the others
        assert faults(SLOW, number, options=Options(seed=seed)) == []


MUTANTS = {
    "a barrier of the block before the slices are read": (
        "chain.cu",
        "cluster_barrier();  // the",
        "barrier();  // the",
        "",
    ),
    "no barrier before a block ends": ("chain.cu", "cluster_barrier();  // the", "return;  // the", "ended"),
    "the neighbouring rank": (
        "chain_cluster.cuh",
        "store_shared_of(rank, to",
        "store_shared_of(rank ^ 1, to",
        "never written",
    ),
    "only the first block that reads a group": (
        "chain_cluster.cuh",
        "(to - 1 - begin) / each",
        "(from - begin) / each",
        "never written",
    ),
    "a rank past the last one": (
        "chain_cluster.cuh",
        "if (to > end) to = end;",
        "to += each;",
        "mapa of no block",
    ),
    "the same turn in every block": (
        "chain.cu",
        "needs(all.begin, all.end), share % CLUSTER",
        "needs(all.begin, all.end), 0",
        "without a barrier",
    ),
    "a relaxed barrier": (
        "device.cuh",
        "cluster.arrive.release;",
        "cluster.arrive.relaxed;",
        "without a barrier",
    ),
}
MUTATED = [case("bf16", "batch_last", 2, 8)]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_defect_is_found(name, tmp_path):
    file, source, planted, seen = MUTANTS[name]
    folder = changed_sources(tmp_path / "source", file, source, planted)
    found = [
        fault
        for seed in (1, 2, 3)
        for fault in faults(MUTATED, 0, folder=folder, options=Options(seed=seed, max_steps=2_000_000))
    ]
    assert any(seen in fault for fault in found), found
