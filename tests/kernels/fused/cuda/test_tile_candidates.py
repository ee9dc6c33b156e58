"""The choice of a tile: limits of the device, strides of the problem, work that is not wasted."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kswatch.kernels.fused.cuda.estimate import cycles
from kswatch.kernels.fused.cuda.machine import Machine
from kswatch.kernels.fused.cuda.tile import ceil
from kswatch.kernels.fused.cuda.tile_candidates import candidates, choose, groupings, vector_bytes
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


@settings(max_examples=60, deadline=None)
@given(problem=problems, architecture=st.sampled_from(ARCHITECTURES))
def test_every_candidate_fits_the_device(problem, architecture):
    machine = Machine(architecture)
    for tile in candidates(problem, machine):
        assert tile.threads % 32 == 0
        assert tile.threads <= 256
        assert tile.shared_bytes <= machine.shared_bytes
        assert tile.sums <= 128


@settings(max_examples=100, deadline=None)
@given(problem=problems, alignment_bytes=st.sampled_from([2, 4, 8, 16]))
def test_accesses_divide_every_stride_and_address(problem, alignment_bytes):
    tile = choose(problem, Machine(90), max(alignment_bytes, problem.element_bytes))
    pattern, width = problem.pattern, tile.vector_bytes
    assert width <= max(alignment_bytes, problem.element_bytes)
    if problem.layout == "batch_last":
        strides = [problem.batch]
    else:
        strides = [pattern.c * pattern.d, pattern.b * pattern.d] + ([] if tile.flat else [pattern.d])
    assert all(stride * problem.element_bytes % width == 0 for stride in strides)


@settings(max_examples=100, deadline=None)
@given(problem=problems)
def test_the_blocks_cover_the_problem_once(problem):
    tile, pattern = choose(problem, Machine(90)), problem.pattern
    each = ceil(ceil(problem.batch, tile.batch), tile.walkers) if tile.walkers else 1
    covered = tile.rows * tile.batch * tile.neighbours * each * tile.blocks(problem) // tile.parts
    assert covered >= problem.batch * pattern.rows
    assert (tile.rows - 1) * (tile.batch - 1) < covered


@pytest.mark.parametrize(("d", "neighbours"), [(1, 1), (2, 2), (3, 4), (6, 8)])
def test_few_js_are_taken_together_as_one_run(d, neighbours):
    assert groupings(Problem(Pattern(1, 64, 64, d), 64, "fp16", "batch_first"))[0] == (neighbours, True)


def test_many_js_are_taken_by_whole_sectors():
    for precision in PRECISIONS:
        problem = Problem(Pattern(1, 64, 64, 48), 25_088, precision, "batch_first")
        tile = choose(problem, Machine(90, 132))
        assert not tile.flat
        assert tile.neighbours * problem.element_bytes >= 32


def test_batch_last_takes_one_j_whatever_d_is():
    assert groupings(Problem(Pattern(1, 64, 64, 48), 64, "fp16", "batch_last")) == [(1, False)]


def test_an_odd_batch_is_read_one_element_at_a_time():
    assert vector_bytes(Problem(Pattern(1, 64, 64, 1), 37, "fp16", "batch_last"), False, 16) == 2


def test_a_large_problem_is_not_cut_small_nor_a_small_one_left_to_few_blocks():
    machine = Machine(90, 132)
    large = choose(Problem(Pattern(1, 1024, 1024, 1), 25_088, "fp16", "batch_last"), machine)
    small = Problem(Pattern(1, 256, 256, 1), 64, "fp16", "batch_last")
    assert large.rows * large.batch >= 128 * 128
    assert choose(small, machine).blocks(small) >= 32


def test_rows_that_would_be_padding_cost():
    machine = Machine(90, 132)
    problem = Problem(Pattern(1, 48, 48, 1), 25_088, "fp16", "batch_last")
    tiles = {(tile.rows, tile.batch): tile for tile in candidates(problem, machine)}
    assert cycles(problem, tiles[48, 128], machine) < cycles(problem, tiles[64, 128], machine)
    assert choose(problem, machine).rows == 48


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "wanting", "of"), [("paper", 0, 876), ("nightly", 0, 280), ("small_batch", 52, 144)]
)
def test_so_many_problems_with_d_of_one_have_fewer_blocks_than_the_gpu_multiprocessors(name, wanting, of):
    machine = Machine(90, 132)
    alone = [problem for problem in suite.find(name).problems() if problem.pattern.d == 1]
    few = [problem for problem in alone if choose(problem, machine).blocks(problem) < machine.multiprocessors]
    assert (len(few), len(alone)) == (wanting, of)
    assert min(problem.pattern.b * problem.pattern.c for problem in alone) == 48 * 48


@pytest.mark.parametrize(
    ("size", "precision", "share"), [(8, "fp16", 0.3), (16, "fp16", 0.6), (16, "fp32", 0.98)]
)
def test_many_tiny_products_are_as_far_from_their_floor_as_the_log_says(size, precision, share):
    problem = Problem(Pattern(256, size, size, 1), 25_088, precision, "batch_first")
    machine = Machine(90, 132)
    floor_cycles = 1e-3 * floor_ms(problem) * CLOCK_HZ
    assert floor_cycles / cycles(problem, choose(problem, machine), machine) == pytest.approx(share, abs=0.01)
