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
        assert tile.shares <= tile_count(problems[1], tile.second)
        assert tile.shares * share_size(problems, tile) >= tile_count(problems[1], tile.second)


def test_the_intermediate_takes_its_padded_features():
    """1,024 features of 32 entries in fp16: rows of 80 bytes; 16 planes of 64, each with 16 bytes more."""
    problems = problems_of((16, 64, 256, 1), (1, 64, 64, 16), 4096, "fp16", "batch_last")
    tile = next(t for t in candidates.candidates(problems, H200) if t.first.batch == 32)
    assert tile.intermediate_bytes(problems[1].pattern) == 16 * (64 * 80 + 16)


def test_without_room_for_the_narrowest_intermediate_there_is_no_pair():
    problems = problems_of((64, 64, 64, 1), (1, 64, 256, 16), 16, "fp32", "batch_first")
    assert candidates.choose(problems, H200) is None
    halves = tuple(replace(one, precision="fp16") for one in problems)
    assert candidates.choose(halves, H200) is not None
    assert candidates.choose(halves, GpuProperties(86, 84)) is None


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
        if t.shares == 8 and t.first.rows == 32 and t.second.rows == 32
    )
    assert tile_count(problems[0], tile.first) == 32
    assert estimate.first_tiles(problems, tile) == 8
    assert estimate.first_tiles(problems, replace(tile, shares=1)) == 32


def brute_force(problems, tile, share):
    """Tiles of the first factor with a feature that the share reads, counted feature by feature."""
    first, second = (problem.pattern for problem in problems)
    groups, size = -(-second.d // tile.second.neighbours), share_size(problems, tile)
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
            needed = max(brute_force(problems, tile, share) for share in range(tile.shares))
            assert estimate.first_tiles(problems, tile) >= needed


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
