"""No tile that can be chosen spills, whatever its problem: all of them compiled, many in one run of nvcc."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kswatch.kernels.fused.cuda import nvcc, tile_candidates
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda.tile import Family, Tile
from kswatch.kernels.fused.cuda.tile_candidates import assemble, choose
from kswatch.kernels.fused.cuda_checks import all_tiles
from kswatch.kernels.fused.cuda_checks.all_tiles import (
    choosable_tiles,
    spilling,
    with_narrow_accesses,
)
from kswatch.kernels.fused.cuda_checks.resources import ARCHITECTURES
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Precision, Problem
from kswatch.profiler.planning import suites
from tests.kernels.changed_sources import changed_sources

needs_nvcc = pytest.mark.skipif(nvcc.find_nvcc() is None, reason="no nvcc: pip install 'kswatch[static]'")
H200 = GpuProperties(90, 132)
SHARES = 4
"""Tests of some minutes each, which processes share."""


def in_parts(precision: Precision, family: Family, rows: int, batch: int, width: int) -> Tile:
    """A tile of batch_first in two parts of c, with accesses of this width."""
    problem = Problem(Pattern(1, 64, 512, 1), 64, precision, "batch_first")
    tile = assemble(problem, family, rows, batch, 1, True)
    return replace(tile, parts=2, vector_bytes=width)


TIGHT = [
    in_parts("fp32", "cores", 16, 256, 16),
    in_parts("fp32", "cores", 16, 256, 4),
    in_parts("bf16", "tensor_cores", 64, 256, 8),
    in_parts("bf16", "tensor_cores", 96, 128, 16),
    in_parts("tf32", "tensor_cores", 64, 64, 16),
    in_parts("tf32", "tensor_cores", 32, 256, 16),
    assemble(Problem(Pattern(1, 64, 4096, 1), 4096, "fp32", "batch_last"), "cores", 128, 128, 1, False),
]
"""Those that need most registers for their limit: in two parts, and with sums in blocks."""


@needs_nvcc
def test_the_tiles_that_need_most_registers_spill_nothing():
    assert spilling(TIGHT, 90) == []


@needs_nvcc
@pytest.mark.slow
def test_a_tile_that_spills_is_found():
    """256 sums in a thread that has at most 255 registers."""
    crowded = replace(TIGHT[-1], worker_rows=16, worker_batch=16, depth=8, blocked=False)
    ((tile, used),) = spilling([TIGHT[-1], crowded], 90)
    assert tile is crowded and used > 0


@needs_nvcc
@pytest.mark.slow
def test_a_tile_that_was_taken_out_of_the_candidates_would_spill(monkeypatch):
    problem = Problem(Pattern(1, 16, 512, 17), 4096, "fp16", "batch_first")
    sizes = (problem, "tensor_cores", 16, 128, 8, False)
    assert assemble(*sizes) is None
    monkeypatch.setattr(tile_candidates, "_spills", lambda tile: False)
    tile = assemble(*sizes)
    assert [found for found, _ in spilling([tile], 80)] == [tile]


@needs_nvcc
@pytest.mark.slow
def test_tiles_in_two_parts_need_their_higher_limit_of_registers(monkeypatch, tmp_path):
    folder = changed_sources(tmp_path / "source", "tile.cuh", "CROWDED ? 168", "RESIDENT ? 168")
    monkeypatch.setattr(all_tiles, "SOURCE_FOLDER", folder)
    assert [tile for tile, _ in spilling(TIGHT, 90)] == TIGHT[:4]


@needs_nvcc
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_no_tile_that_can_be_chosen_spills(architecture, share):
    tiles = choosable_tiles(GpuProperties(architecture, 132))
    assert len(tiles) > 3_000
    found = spilling(tiles[share::SHARES], architecture)
    assert [(tile.name, used) for tile, used in found] == []


@pytest.fixture(scope="module")
def every():
    """The parameters of all tiles of an H200."""
    return {tile.parameters for tile in choosable_tiles(H200)}


def test_every_tile_that_the_suites_choose_is_among_them(every):
    chosen = {
        choose(problem, H200)
        for name in ("vit_s16", "paper", "small_batch")
        for problem in list(suites.find(name).problems())[::7]
    }
    assert {tile.parts > 1 for tile in chosen} == {tile.walkers > 0 for tile in chosen} == {True, False}
    assert [tile.name for tile in chosen if tile.parameters not in every] == []


def test_sizes_between_those_of_the_problems_have_no_further_tile(every, monkeypatch):
    monkeypatch.setattr(all_tiles, "ROWS", 96)
    monkeypatch.setattr(all_tiles, "COLUMNS", (80, 576, 1792, 8192))
    monkeypatch.setattr(all_tiles, "NEIGHBOURS", (4, 7, 12, 15, 32))
    monkeypatch.setattr(all_tiles, "BATCHES", (1, 100, 25_088))
    others = [tile for tile in choosable_tiles(H200) if tile.parameters not in every]
    assert [tile.name for tile in others] == []


@pytest.mark.parametrize(("precision", "widths"), [("fp16", [16, 8, 4, 2]), ("fp32", [16, 8, 4])])
def test_narrow_accesses_reach_down_to_one_element(precision, widths):
    tile = choose(Problem(Pattern(1, 64, 64, 1), 4096, precision, "batch_last"), H200)
    assert [narrow.vector_bytes for narrow in with_narrow_accesses(tile)] == widths
