"""The .cu source on the CPU: every precision and layout, shapes with tails, against float64."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch

from kswatch.kernels.fused.cuda.arguments import pack_arguments, pack_numbers
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda.tile import ceil_div
from kswatch.kernels.fused.cuda.tile_candidates import candidates, choose
from kswatch.kernels.fused.cuda.weight_layout import lay_out
from kswatch.kernels.fused.host_emulator import emulator as host
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import LAYOUTS, PRECISIONS, Problem
from kswatch.kernels.reference import check, make_operands, reference

H200 = GpuProperties(90, 132)
TURING = GpuProperties(75, 40)

TAILS = [
    ((2, 20, 24, 1), 40),  # rows and columns end inside a tile
    ((1, 33, 17, 3), 37),  # nothing divides: one element per access
    ((2, 24, 40, 12), 21),  # more j's than one group takes
]


QUICK = TAILS[1], ("fp16", "bf16")
"""What of the tails runs every time: the shape that nothing divides, and in 16 bits all shapes."""


def tails():
    for (pattern, batch), precision, layout in itertools.product(TAILS, PRECISIONS, LAYOUTS):
        quick = (pattern, batch) == QUICK[0] or (precision, layout) in zip(QUICK[1], LAYOUTS, strict=True)
        marks = () if quick else pytest.mark.slow
        name = f"{precision}-{layout}-{pattern}-{batch}".replace(" ", "")
        yield pytest.param(precision, layout, pattern, batch, marks=marks, id=name)


@pytest.mark.parametrize(("precision", "layout", "pattern", "batch"), list(tails()))
def test_the_chosen_tile_is_right_for_partial_tiles(run_on_host, precision, layout, pattern, batch):
    problem = Problem(Pattern(*pattern), batch, precision, layout)
    answer = run_on_host(problem, choose(problem, H200))
    assert answer.ok, answer.reason


@pytest.mark.parametrize(
    ("precision", "layout"),
    [
        ("fp16", "batch_first"),
        ("bf16", "batch_last"),
        pytest.param("fp16", "batch_last", marks=pytest.mark.slow),
        pytest.param("bf16", "batch_first", marks=pytest.mark.slow),
    ],
)
def test_cuda_cores_compute_16_bits_without_tensor_cores(run_on_host, precision, layout):
    problem = Problem(Pattern(2, 20, 24, 2), 40, precision, layout)
    tile = choose(problem, TURING)
    assert tile.family == "cores"
    assert run_on_host(problem, tile).ok


@pytest.mark.parametrize(
    ("precision", "layout", "pattern"),
    [
        ("fp32", "batch_last", (1, 130, 40, 1)),
        ("fp16", "batch_first", (1, 130, 70, 1)),
        pytest.param("fp32", "batch_first", (1, 70, 20, 16), marks=pytest.mark.slow),
        pytest.param("bf16", "batch_last", (1, 130, 70, 1), marks=pytest.mark.slow),
        pytest.param("tf32", "batch_first", (1, 70, 20, 16), marks=pytest.mark.slow),
    ],
)
def test_the_tiles_of_large_batches_are_right_at_their_edges(run_on_host, precision, layout, pattern):
    problem = Problem(Pattern(*pattern), 25_088, precision, layout)
    tile = choose(problem, H200)
    answer = run_on_host(replace(problem, batch=tile.batch + 8), tile)
    assert answer.ok, answer.reason


def test_the_order_of_threads_changes_no_bit(run_on_host):
    problem = Problem(Pattern(1, 24, 40, 3), 40, "fp16", "batch_first")
    tile = choose(problem, H200)
    errors = {run_on_host(problem, tile, seed=1, order=order).relative_error for order in range(5)}
    assert len(errors) == 1


KINDS = list(itertools.product(PRECISIONS, LAYOUTS))


def some(*quick):
    """All kinds, most of them in the slow run."""
    return [pytest.param(*kind, marks=() if kind in quick else pytest.mark.slow) for kind in KINDS]


@pytest.mark.parametrize(("precision", "layout"), KINDS)
def test_a_bias_is_added_before_the_rounding(run_on_host, precision, layout):
    problem = Problem(Pattern(1, 33, 17, 3), 37, precision, layout)
    answer = run_on_host(problem, choose(problem, H200), with_bias=True)
    assert answer.ok, answer.reason


@pytest.mark.parametrize("steps", [1, 5, 7])
@pytest.mark.parametrize(
    ("precision", "layout"), some(("fp32", "batch_first"), ("fp16", "batch_first"), ("bf16", "batch_last"))
)
def test_parts_of_c_add_up_for_any_size_of_the_last_part(run_on_host, precision, layout, steps):
    problem = Problem(Pattern(2, 18, 200, 3), 37, precision, layout)
    tile = replace(small(problem), vector_bytes=problem.element_bytes)
    problem = replace(problem, pattern=Pattern(2, 18, steps * tile.depth - 3, 3))
    answer = run_on_host(problem, replace(tile, parts=4), with_bias=True)
    assert answer.ok, answer.reason


@pytest.mark.parametrize("batch", [5, 150])
@pytest.mark.parametrize(
    ("precision", "layout"), some(("fp32", "batch_first"), ("fp16", "batch_first"), ("tf32", "batch_last"))
)
def test_a_walker_keeps_its_weights_for_all_its_batch_tiles(run_on_host, precision, layout, batch):
    problem = Problem(Pattern(2, 20, 24, 9), batch, precision, layout)
    tile = small(problem)
    steps = ceil_div(problem.pattern.c, tile.depth)
    answer = run_on_host(problem, replace(tile, walkers=2, weight_steps=steps), with_bias=True)
    assert answer.ok, answer.reason


def small(problem):
    """The smallest tile without parts and walkers: 16 rows and 32 batch entries, or what 64 threads need."""
    plain = (tile for tile in candidates(problem, H200) if not tile.walkers and tile.parts == 1)
    return min(plain, key=lambda tile: (tile.rows * tile.batch, tile.neighbours != 1))


def test_parts_are_added_in_one_order(run_on_host):
    problem = Problem(Pattern(1, 16, 200, 1), 37, "fp16", "batch_last")
    tile = replace(choose(problem, H200), parts=4)
    assert len({run_on_host(problem, tile, order=order).relative_error for order in range(4)}) == 1


@pytest.mark.parametrize("layout", LAYOUTS)
def test_elements_beyond_32_bits_are_addressed(host_compiler, layout):
    """Only the pages that one block touches become real; the rest of the 2^31 elements are addresses."""
    problem = Problem(Pattern(1, 16, 16, 1), 2**27 + 8, "fp16", layout)
    tile = small(problem)
    weights, _ = make_operands(replace(problem, batch=8), "cpu", seed=1)
    x = torch.empty(problem.input_shape, dtype=torch.float16)
    y = torch.empty(problem.output_shape, dtype=torch.float16)
    assert x.numel() > 2**31
    last = slice(-8, None)
    where = (last, slice(None)) if layout == "batch_first" else (slice(None), last)
    x[where], y[where] = torch.randn(x[where].shape).half(), torch.nan
    laid_out = lay_out(weights, tile)
    numbers = pack_numbers(problem, tile)
    packed = pack_arguments(x.data_ptr(), laid_out.data_ptr(), 0, y.data_ptr(), numbers)
    shape = (tile.blocks(problem), tile.threads, tile.launch_bytes)
    host.execute(host.build(tile), packed, shape, (x, laid_out, y), 1, first=shape[0] - 1)
    judged = replace(problem, batch=8)
    assert check(judged, y[where].contiguous(), reference(judged, weights, x[where].contiguous())).ok
