"""No chain that can be chosen spills: every tile of either factor is compiled in one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kswatch.kernels.fused.cuda import nvcc
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda_chain import candidates
from kswatch.kernels.fused.cuda_checks.all_chains import choosable_chains
from kswatch.kernels.fused.cuda_checks.all_tiles import spilling
from kswatch.kernels.fused.cuda_checks.chain_ladder import CHAINS, problems_of
from kswatch.kernels.fused.cuda_checks.resources import ARCHITECTURES

needs_nvcc = pytest.mark.skipif(nvcc.find_nvcc() is None, reason="no nvcc: pip install 'kswatch[static]'")
H200 = GpuProperties(90, 132)
SHARES = 8
"""Tests of some minutes each, which processes share."""


def without_width(tile):
    """A tile's parameters besides stages and the widths of its accesses."""
    return replace(tile, stages=2, vector_bytes=16).parameters


def test_every_tile_of_a_published_chain_is_among_them():
    chains = choosable_chains(H200)
    firsts = {(without_width(chain.first), chain.cluster > 1) for chain in chains}
    seconds = {(without_width(chain.second), chain.cluster > 1) for chain in chains}
    for patterns in CHAINS:
        for precision in ("fp32", "fp16"):
            for batch in (16, 25_088):
                tile = candidates.choose(problems_of(patterns, batch, precision), H200)
                if tile is not None:
                    in_clusters = tile.cluster > 1
                    assert (without_width(tile.first), in_clusters) in firsts
                    assert (without_width(tile.second), in_clusters) in seconds


@needs_nvcc
@pytest.mark.slow
def test_the_pairs_that_published_chains_choose_spill_nothing():
    chosen = {
        candidates.choose(problems_of(patterns, batch, precision), H200)
        for patterns in CHAINS
        for batch in (16, 25_088)
        for precision in ("fp32", "fp16")
    }
    assert [(tile.name, used) for tile, used in spilling(sorted(chosen - {None}, key=str), 90)] == []


@needs_nvcc
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_no_chain_that_can_be_chosen_spills(architecture, share):
    chains = choosable_chains(GpuProperties(architecture, 132))
    assert len(chains) > 1_000
    found = spilling(chains[share::SHARES], architecture)
    assert [(tile.name, used) for tile, used in found] == []
