"""The .cu source on the CPU: every precision and layout, shapes with tails, against float64."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from kernels.fused.machine import Machine
from kernels.fused.tiles import choose
from kernels.pattern import Pattern
from kernels.problem import LAYOUTS, PRECISIONS, Problem

H200 = Machine(90, 132)
TURING = Machine(75, 40)

TAILS = [
    ((2, 20, 24, 1), 40),  # rows and columns end inside a tile
    ((1, 33, 17, 3), 37),  # nothing divides: one element per access
    ((2, 24, 40, 12), 21),  # more j's than one group takes
]


@pytest.mark.parametrize(("pattern", "batch"), TAILS, ids=lambda value: str(value).replace(" ", ""))
@pytest.mark.parametrize(("precision", "layout"), list(itertools.product(PRECISIONS, LAYOUTS)))
def test_the_chosen_tile_is_right_where_shapes_have_tails(run_on_host, precision, layout, pattern, batch):
    problem = Problem(Pattern(*pattern), batch, precision, layout)
    answer = run_on_host(problem, choose(problem, H200))
    assert answer.ok, answer.reason


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_cuda_cores_serve_16_bits_where_tensor_cores_are_missing(run_on_host, precision, layout):
    problem = Problem(Pattern(2, 20, 24, 2), 40, precision, layout)
    tile = choose(problem, TURING)
    assert tile.family == "cores"
    assert run_on_host(problem, tile).ok


@pytest.mark.parametrize(
    ("precision", "layout", "pattern"),
    [
        ("fp32", "batch_last", (1, 130, 40, 1)),
        ("fp32", "batch_first", (1, 70, 20, 16)),
        ("bf16", "batch_last", (1, 130, 70, 1)),
        ("fp16", "batch_first", (1, 130, 70, 1)),
        ("tf32", "batch_first", (1, 70, 20, 16)),
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
