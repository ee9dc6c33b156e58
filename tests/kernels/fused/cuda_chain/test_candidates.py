"""The choice of a chain's tiles, and of one launch or two: pure functions, with truth from arithmetic."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kswatch.declared.precisions import SUITE_PRECISIONS
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda.tile_candidates import choose as choose_single
from kswatch.kernels.fused.cuda_chain import candidates, estimate
from kswatch.kernels.fused.cuda_chain.tile import share_size, tile_count
from kswatch.kernels.problem import LAYOUTS
from tests.kernels.chains import H200, SHAPES, problems_of

VIT_UP = (6, 64, 64, 1), (1, 768, 192, 2)
MONARCH = (8, 128, 128, 1), (1, 8, 8, 128)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("precision", SUITE_PRECISIONS)
@pytest.mark.parametrize("architecture", [80, 86, 90])
def test_every_candidate_fits_the_gpu(architecture, precision, layout):
    gpu = GpuProperties(architecture, 108)
    problems = problems_of(*SHAPES[3][:2], 196, precision, layout)
    every = list(candidates.candidates(problems, gpu))
    assert every
    for tile in every:
        assert tile.launch_bytes(problems[1].pattern) <= gpu.shared_bytes
        assert tile.first.threads == tile.second.threads and tile.first.batch == tile.second.batch
        assert tile.shares <= tile_count(problems[1], tile.second) and tile.shares % tile.cluster == 0
        assert tile.cluster == 1 or (architecture >= 90 and tile.cluster <= 8)
        assert tile.shares * share_size(problems, tile) >= tile_count(problems[1], tile.second)


def test_the_intermediate_takes_its_padded_features():
    """1,024 features of 32 entries in fp16: rows of 80 bytes; 16 planes of 64, each with 16 bytes more."""
    problems = problems_of((16, 64, 256, 1), (1, 64, 64, 16), 4096, "fp16", "batch_last")
    tile = next(t for t in candidates.candidates(problems, H200) if t.first.batch == 32 and t.cluster == 1)
    assert tile.intermediate_bytes(problems[1].pattern) == 16 * (64 * 80 + 16)
    assert replace(tile, shares=4, cluster=4).intermediate_bytes(problems[1].pattern) == 4 * (64 * 80 + 16)


WIDE = problems_of((64, 64, 64, 1), (1, 64, 256, 16), 16, "fp32", "batch_first")


def test_an_intermediate_without_room_in_one_block_is_held_by_a_cluster_where_the_gpu_has_them():
    tile = candidates.choose(WIDE, H200)
    assert tile.cluster > 1
    assert all(one.cluster > 1 for one in candidates.candidates(WIDE, H200))
    assert tile.launch_bytes(WIDE[1].pattern) <= 227 * 1024
    assert candidates.choose(WIDE, GpuProperties(80, 108)) is None
    halves = tuple(replace(one, precision="fp16") for one in WIDE)
    assert candidates.choose(halves, GpuProperties(86, 84)) is None


def test_a_single_wide_matrix_does_not_fit_into_a_cluster_either():
    """All blocks of a cluster read all columns of a second factor with one (i, j)."""
    problems = problems_of((64, 64, 64, 1), (1, 64, 4096, 1), 16, "fp32", "batch_first")
    assert candidates.choose(problems, H200) is None


def planes_read(problems, tile, piece):
    """Groups of j's whose intermediate the tiles of a block read, counted tile by tile."""
    k_tiles, size = -(-problems[1].pattern.b // tile.second.rows), share_size(problems, tile)
    last = min((piece + 1) * size, tile_count(problems[1], tile.second))
    return {number // k_tiles for number in range(piece * size, last)}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [*SHAPES, ((64, 64, 64, 1), (1, 64, 256, 16), 16)])
def test_a_block_of_a_cluster_has_room_for_all_that_its_tiles_read(shape, layout):
    problems = problems_of(*shape, "fp32", layout)
    for tile in list(candidates.candidates(problems, H200))[::5]:
        if tile.cluster > 1:
            most = max(len(planes_read(problems, tile, piece)) for piece in range(tile.shares))
            assert tile.held_groups(problems[1].pattern) == most


def test_a_cluster_computes_the_first_factor_once_and_few_rows_take_less_time():
    """Where all of the second factor's tiles read everything, as at d = 1."""
    problems = problems_of((16, 64, 256, 1), (1, 1024, 1024, 1), 16, "fp16", "batch_first")
    tile = next(t for t in candidates.candidates(problems, H200) if t.shares == t.cluster == 8)
    alone = replace(tile, cluster=1)
    assert estimate.first_tiles(problems, tile) * 8 == estimate.first_tiles(problems, alone)
    assert estimate.cycles(problems, tile, H200) < estimate.cycles(problems, alone, H200)


def test_writes_to_other_blocks_take_the_network(monkeypatch):
    """Each value goes to the one block that reads its plane, in another multiprocessor for 7 of 8."""
    problems = tuple(replace(one, layout="batch_last") for one in WIDE)
    tile = next(
        t
        for t in candidates.candidates(problems, H200)
        if t.shares == t.cluster == 8 and t.first.family == "cores"
    )
    monkeypatch.setattr(estimate, "combine_limits", lambda *busy: busy[3])
    counted = estimate.first_tiles(problems, tile) * tile.first.rows * tile.first.batch
    assert counted == 4096 // 8 * 16
    assert estimate.cycles(problems, tile, H200) == pytest.approx(4 * counted * 7 / 8 / 13)


def test_few_batch_tiles_are_shared_by_more_blocks():
    problems = problems_of(*VIT_UP, 16, "fp16", "batch_first")
    tile = candidates.choose(problems, H200)
    assert tile.shares > 1
    assert estimate.cycles(problems, tile, H200) < estimate.cycles(problems, replace(tile, shares=1), H200)


def test_a_share_of_a_monarch_chain_needs_only_its_rows_of_the_first_factor():
    """Features of j in the second factor are rows k = j of the first one's eight blocks."""
    problems = problems_of(*MONARCH, 16, "fp16", "batch_last")
    tile = next(
        t
        for t in candidates.candidates(problems, H200)
        if t.shares == 8 and t.cluster == 1 and t.first.rows == 32 and t.second.rows == 32
    )
    assert tile_count(problems[0], tile.first) == 32
    assert estimate.first_tiles(problems, tile) == 8
    assert estimate.first_tiles(problems, replace(tile, shares=1)) == 32


def brute_force(problems, tile, share):
    """Tiles of the first factor with a feature that a share or cluster reads, counted feature by feature."""
    first, second = (problem.pattern for problem in problems)
    groups, size = -(-second.d // tile.second.neighbours), tile.cluster * share_size(problems, tile)
    k_tiles = -(-second.b // tile.second.rows)
    read = set()
    for number in range(share * size, min((share + 1) * size, tile_count(problems[1], tile.second))):
        i, group = divmod(number // k_tiles, groups)
        for j in range(group * tile.second.neighbours, min(second.d, (group + 1) * tile.second.neighbours)):
            read |= {(i * second.c + column) * second.d + j for column in range(second.c)}
    found = 0
    for i in range(first.a):
        for j in range(0, first.d, tile.first.neighbours):
            for k in range(0, first.b, tile.first.rows):
                rows = range(k, min(first.b, k + tile.first.rows))
                js = range(j, min(first.d, j + tile.first.neighbours))
                found += any((i * first.b + row) * first.d + one in read for row in rows for one in js)
    return found


@pytest.mark.parametrize("shape", [*SHAPES, (*MONARCH, 16), ((4, 8, 24, 3), (12, 20, 4, 2), 16)])
def test_no_needed_tile_of_the_first_factor_is_left_out(shape):
    problems = problems_of(*shape, "fp32", "batch_first")
    for tile in list(candidates.candidates(problems, H200))[::7]:
        if tile.shares > 1:
            clusters = tile.shares // tile.cluster
            needed = max(brute_force(problems, tile, number) for number in range(clusters))
            assert tile.cluster * estimate.first_tiles(problems, tile) >= needed


def test_one_launch_pays_where_memory_is_the_limit_and_not_where_weights_are_read_again():
    """Per feature of the intermediate: 128 weights, against 830 that are read again for each 64 entries."""
    square = (6, 64, 64, 1)
    for (first, second), expected in ((VIT_UP, False), ((square, square), True)):
        problems = problems_of(first, second, 200_000, "fp16", "batch_last")
        tile = candidates.choose(problems, H200)
        tiles = choose_single(problems[0], H200), choose_single(problems[1], H200)
        assert estimate.pays(problems, tile, tiles, H200) is expected


def test_two_launches_move_the_intermediate_unless_the_cache_keeps_it(monkeypatch):
    monkeypatch.setattr(estimate, "product_cycles", lambda *arguments: 0.0)
    monkeypatch.setattr(estimate, "KEPT_BYTES", 0)
    problems = problems_of(*VIT_UP, 25_088, "fp16", "batch_last")
    tiles = choose_single(problems[0], H200), choose_single(problems[1], H200)
    weights = 6 * 64 * 64 + 768 * 192 * 2
    moved = 2 * (25_088 * (384 + 384 + 384 + 1536) + weights)
    cycles = estimate.two_launches_cycles(problems, tiles, H200) - estimate.LAUNCH_CYCLES
    assert cycles == pytest.approx(moved / (132 * 19))
    monkeypatch.setattr(estimate, "KEPT_BYTES", 1e9)
    kept = estimate.two_launches_cycles(problems, tiles, H200) - estimate.LAUNCH_CYCLES
    assert kept == pytest.approx((moved - 2 * 2 * 25_088 * 384) / (132 * 19))
