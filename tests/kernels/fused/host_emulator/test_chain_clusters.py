"""chain.cu in clusters of blocks on the CPU: the bits of two launches, and defects between the blocks."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import pytest
import torch

from kswatch.declared.precisions import SUITE_PRECISIONS
from kswatch.kernels.fused.cuda_chain import candidates
from kswatch.kernels.fused.cuda_chain.tile import Problems, tile_count
from kswatch.kernels.problem import LAYOUTS
from tests.kernels.chains import H200, SHAPES, make_chain, problems_of, small_tile
from tests.kernels.fused.host_emulator.chain_launches import in_one_launch, in_two_launches, seen_defect

pytestmark = pytest.mark.usefixtures("host_compiler")

QUICK = (
    ("fp32", "batch_last", 1, 4, 4),
    ("tf32", "batch_first", 0, 2, 2),
    ("fp16", "batch_first", 2, 4, 2),
    ("bf16", "batch_last", 2, 8, 8),
)
"""Precision, layout, shape, shares and cluster: one group of j's in a block and several, and several blocks
that read the same group."""


@pytest.mark.parametrize(("precision", "layout", "shape", "shares", "cluster"), QUICK)
def test_a_cluster_computes_the_chain_with_its_bias(precision, layout, shape, shares, cluster):
    problems = problems_of(*SHAPES[shape], precision, layout)
    chain = make_chain(problems)
    tile = small_tile(problems, shares=shares, cluster=cluster)
    assert chain.correctness(in_one_launch(chain, tile, order=shares)).ok


@pytest.mark.slow
@pytest.mark.parametrize("shape", range(len(SHAPES)))
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("precision", SUITE_PRECISIONS)
def test_clusters_give_the_bits_of_two_launches(precision, layout, shape):
    problems = problems_of(*SHAPES[shape], precision, layout)
    chain = make_chain(problems)
    sizes = {tile.cluster for tile in candidates.candidates(problems, H200)} - {1}
    assert 2 in sizes
    for cluster, clusters in itertools.product(sorted(sizes), (1, 2)):
        tile = small_tile(problems, shares=cluster * clusters, cluster=cluster)
        together = in_one_launch(chain, tile, order=tile.shares)
        assert torch.equal(together, in_two_launches(chain, tile))


WIDE = ((64, 64, 64, 1), (1, 64, 256, 16), 16)
"""4,096 features in between, which do not fit into one block in fp32."""


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_intermediate_of_4096_features_in_fp32_is_right_in_the_chosen_cluster(layout):
    problems = problems_of(*WIDE, "fp32", layout)
    tile = candidates.choose(problems, H200)
    assert tile.cluster > 1
    chain = make_chain(problems)
    assert chain.correctness(in_one_launch(chain, tile)).ok


def test_blocks_without_a_tile_of_the_second_factor_still_compute_their_tiles_of_the_first():
    problems = problems_of(*SHAPES[0], "bf16", "batch_last")
    tile = small_tile(problems, shares=8, cluster=2)
    assert tile_count(problems[1], tile.second) < tile.shares
    chain = make_chain(problems)
    assert chain.correctness(in_one_launch(chain, tile)).ok


SEVERAL = problems_of(*SHAPES[2], "bf16", "batch_last")
"""Twelve groups of one j, in three tiles each, with padding in the second factor's columns."""
SEPARATE = problems_of(*SHAPES[1], "bf16", "batch_last")
"""Three i's of the second factor, of which each reads a third of the first one's features."""


class Mutant(NamedTuple):
    """`source` is replaced by `planted` in a file; the chain then has an error with the text `seen`."""

    file: str
    source: str
    planted: str
    seen: str
    shares: int = 8
    cluster: int = 8
    problems: Problems = SEVERAL


MUTANTS = {
    "no barrier at the start": Mutant(
        "chain.cu", "cluster_barrier();  // all", "// all", "may not have started"
    ),
    "a barrier of the block before the slices are read": Mutant(
        "chain.cu", "cluster_barrier();  // the", "barrier();  // the", "race"
    ),
    "no barrier before a block ends": Mutant(
        "chain.cu", "cluster_barrier();  // the", "return;  // the", "no barrier of the cluster follows"
    ),
    "the neighbouring rank": Mutant(
        "chain_cluster.cuh", "store_shared_of(rank, to", "store_shared_of(rank ^ 1, to", "NaN"
    ),
    "only the first block that reads a group": Mutant(
        "chain_cluster.cuh", "(to - 1 - begin) / each", "(from - begin) / each", "NaN"
    ),
    "a rank past the last one": Mutant(
        "chain_cluster.cuh", "if (to > end) to = end;", "to += each;", "race: two"
    ),
    "a slice that is one group too short": Mutant(
        "chain_cluster.cuh", "% held", "% (held - 1)", "race: two", 2, 2
    ),
    "padding of the first group alone": Mutant(
        "chain_cluster.cuh", "return held * neighbours();", "return neighbours();", "NaN", 2, 2
    ),
    "the same turn in every block": Mutant(
        "chain.cu", "needs(all.begin, all.end), share % CLUSTER", "needs(all.begin, all.end), 0", "race: two"
    ),
    "features of the own tiles alone": Mutant(
        "chain.cu", "needs(all.begin, all.end)", "needs(begin, end)", "race: two", 2, 2, SEPARATE
    ),
    "the first cluster's tiles in every one": Mutant(
        "chain_cluster.cuh", "/ CLUSTER * all;", "/ CLUSTER;", "race: two", 4, 2
    ),
}
FAST = {"a barrier of the block before the slices are read", "the neighbouring rank"}


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in MUTANTS]
)
def test_a_planted_defect_is_found(monkeypatch, tmp_path, name):
    mutant = MUTANTS[name]
    tile = small_tile(mutant.problems, shares=mutant.shares, cluster=mutant.cluster)
    seen = seen_defect(monkeypatch, tmp_path, mutant, tile)
    assert mutant.seen in seen
