"""The choice of a tile: limits of the device, strides of the problem, work that is not wasted."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kswatch.kernels.fused.cuda.estimate import cycles
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda.tile import ceil_div
from kswatch.kernels.fused.cuda.tile_candidates import (
    candidates,
    choose,
    groupings,
    persistent_tiles,
    vector_bytes,
)
from kswatch.kernels.fused.cuda_checks.ladder import CLOCK_HZ, floor_ms
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import LAYOUTS, PRECISIONS, Problem
from kswatch.profiler.planning import suites as suite

ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)

sizes = st.integers(1, 300)
problems = st.builds(
    Problem,
    pattern=st.builds(Pattern, st.integers(1, 8), sizes, sizes, st.integers(1, 70)),
    batch=st.sampled_from([1, 3, 64, 1000, 25_088]),
    precision=st.sampled_from(PRECISIONS),
    layout=st.sampled_from(LAYOUTS),
)
large_sizes = st.sampled_from([63, 64, 72, 100, 128, 260, 264])
large_problems = st.builds(
    Problem,
    pattern=st.builds(Pattern, st.integers(1, 8), large_sizes, large_sizes, st.sampled_from([1, 1, 3])),
    batch=st.sampled_from([8, 64, 100, 104, 25_088]),
    precision=st.sampled_from(PRECISIONS),
    layout=st.sampled_from(LAYOUTS),
)


@settings(max_examples=60, deadline=None)
@given(problem=problems, architecture=st.sampled_from(ARCHITECTURES))
def test_every_candidate_fits_the_device(problem, architecture):
    gpu = GpuProperties(architecture)
    for tile in candidates(problem, gpu):
        assert tile.threads % 32 == 0
        assert tile.threads <= 256
        assert tile.shared_bytes <= gpu.shared_bytes
        assert tile.sums <= 128


@settings(max_examples=100, deadline=None)
@given(problem=problems)
def test_accesses_divide_every_stride(problem):
    tile = choose(problem, GpuProperties(90))
    pattern, width = problem.pattern, tile.vector_bytes
    assert problem.element_bytes <= width <= 16
    if problem.layout == "batch_last":
        strides = [problem.batch]
    else:
        strides = [pattern.c * pattern.d, pattern.b * pattern.d] + ([] if tile.flat else [pattern.d])
    assert all(stride * problem.element_bytes % width == 0 for stride in strides)


@settings(max_examples=100, deadline=None)
@given(problem=problems)
def test_the_blocks_cover_the_problem_once(problem):
    tile, pattern = choose(problem, GpuProperties(90)), problem.pattern
    each = ceil_div(ceil_div(problem.batch, tile.batch), tile.walkers) if tile.walkers else 1
    covered = tile.rows * tile.batch * tile.neighbours * each * tile.blocks(problem) // tile.parts
    assert covered >= problem.batch * pattern.rows
    assert (tile.rows - 1) * (tile.batch - 1) < covered


@pytest.mark.parametrize(("d", "neighbours"), [(1, 1), (2, 2), (3, 4), (6, 8)])
def test_few_js_form_one_run(d, neighbours):
    assert groupings(Problem(Pattern(1, 64, 64, d), 64, "fp16", "batch_first"))[0] == (neighbours, True)


def test_many_js_are_grouped_into_whole_sectors():
    for precision in PRECISIONS:
        problem = Problem(Pattern(1, 64, 64, 48), 25_088, precision, "batch_first")
        tile = choose(problem, GpuProperties(90, 132))
        assert not tile.flat
        assert tile.neighbours * problem.element_bytes >= 32


def test_batch_last_uses_one_j_for_any_d():
    assert groupings(Problem(Pattern(1, 64, 64, 48), 64, "fp16", "batch_last")) == [(1, False)]


def test_an_odd_batch_is_read_element_by_element():
    assert vector_bytes(Problem(Pattern(1, 64, 64, 1), 37, "fp16", "batch_last"), False) == 2


def test_large_problems_get_large_tiles_and_small_ones_many_blocks():
    gpu = GpuProperties(90, 132)
    large = choose(Problem(Pattern(1, 1024, 1024, 1), 25_088, "fp16", "batch_last"), gpu)
    small = Problem(Pattern(1, 256, 256, 1), 64, "fp16", "batch_last")
    assert large.rows * large.batch >= 128 * 128
    assert choose(small, gpu).blocks(small) >= 32


def test_padding_rows_increase_the_estimate():
    gpu = GpuProperties(90, 132)
    problem = Problem(Pattern(1, 48, 48, 1), 25_088, "fp16", "batch_last")
    tiles = {(tile.rows, tile.batch): tile for tile in candidates(problem, gpu)}
    assert cycles(problem, tiles[48, 128], gpu) < cycles(problem, tiles[64, 128], gpu)
    assert choose(problem, gpu).rows == 48


@settings(max_examples=60, deadline=None)
@given(problem=large_problems, multiprocessors=st.sampled_from([2, 78, 114, 132]))
def test_persistent_blocks_fit_the_device_and_have_work(problem, multiprocessors):
    """Where TMA can read X and store Y: strides of 16 bytes, at least 64 rows, columns and batch entries."""
    a, b, c, d = problem.pattern.as_tuple()
    tiles = persistent_tiles(problem, GpuProperties(90, multiprocessors))
    last = problem.layout == "batch_last"
    strides = [problem.batch] if last else [b, c]
    possible = min(b, c, problem.batch) >= 64 and not any(n * problem.element_bytes % 16 for n in strides)
    possible &= problem.precision in (("fp16", "bf16") if last else ("fp16", "bf16", "tf32"))
    assert len(tiles) == (possible and (last or d == 1))
    for tile in tiles:
        pairs = ceil_div(b, tile.rows) * ceil_div(problem.batch, 2 * tile.batch) * a * d
        assert tile.blocks(problem) == 2 * min(pairs, multiprocessors // 2)
        assert tile.launch_bytes <= GpuProperties(90).shared_bytes
        registers = 40 * 128 + 232 * 256  # after they have moved between the warpgroups
        assert registers <= 168 * tile.threads <= 65_536
    assert not persistent_tiles(problem, GpuProperties(80, multiprocessors))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "wanting", "of"), [("paper", 0, 876), ("nightly", 0, 280), ("small_batch", 52, 144)]
)
def test_the_number_of_problems_with_fewer_blocks_than_multiprocessors_is_as_logged(name, wanting, of):
    gpu = GpuProperties(90, 132)
    alone = [problem for problem in suite.find(name).problems() if problem.pattern.d == 1]
    few = [problem for problem in alone if choose(problem, gpu).blocks(problem) < gpu.multiprocessors]
    assert (len(few), len(alone)) == (wanting, of)
    assert min(problem.pattern.b * problem.pattern.c for problem in alone) == 48 * 48


@pytest.mark.parametrize(
    ("size", "precision", "share"), [(8, "fp16", 0.3), (16, "fp16", 0.6), (16, "fp32", 0.98)]
)
def test_tiny_products_are_as_far_from_their_floor_as_logged(size, precision, share):
    problem = Problem(Pattern(256, size, size, 1), 25_088, precision, "batch_first")
    gpu = GpuProperties(90, 132)
    floor_cycles = 1e-3 * floor_ms(problem) * CLOCK_HZ
    assert floor_cycles / cycles(problem, choose(problem, gpu), gpu) == pytest.approx(share, abs=0.01)
