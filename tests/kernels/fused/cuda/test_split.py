"""fp32 on the tensor cores: by two tf32 numbers each, no worse than plain fp32 where it is chosen."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from kswatch.kernels.fused.cuda.gpu_properties import MAX_SPLIT_COLUMNS, MIN_SPLIT_COLUMNS, GpuProperties
from kswatch.kernels.fused.cuda.tile_candidates import assemble, candidates, choose
from kswatch.kernels.fused.cuda.weight_layout import lay_out
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import LAYOUTS, Problem
from kswatch.kernels.reference import RELATIVE_LIMITS, make_operands
from tests.kernels.fused.conftest import launch_on_host

H200 = GpuProperties(90, 132)
BATCH = 32


def problem_of(columns, layout="batch_last"):
    return Problem(Pattern(1, 16, columns, 1), BATCH, "fp32", layout)


def tile_of(family, layout="batch_last"):
    tile = assemble(problem_of(64, layout), family, 16, 64 if family == "cores" else BATCH, 1, False)
    return replace(tile, vector_bytes=4)


LONGER = [pytest.param(columns, marks=pytest.mark.slow) for columns in (256, 1024)]


@pytest.mark.parametrize("columns", [MIN_SPLIT_COLUMNS, *LONGER])
def test_the_error_is_at_most_that_of_plain_fp32(run_on_host, columns):
    errors = {
        family: [
            run_on_host(problem_of(columns), tile_of(family), seed=seed).relative_error for seed in range(5)
        ]
        for family in ("cores", "tensor_cores")
    }
    assert max(errors["tensor_cores"]) <= max(errors["cores"])


@pytest.mark.parametrize(
    ("family", "columns"),
    [
        ("cores", 4096),
        *(pytest.param("cores", columns, marks=pytest.mark.slow) for columns in (8192, 32_768)),
        *(
            pytest.param("tensor_cores", columns, marks=pytest.mark.slow)
            for columns in (8192, MAX_SPLIT_COLUMNS)
        ),
    ],
)
def test_the_error_of_long_sums_stays_within_the_limit_of_fp32(run_on_host, family, columns):
    tile = replace(assemble(problem_of(columns), family, 16, 64, 1, False), vector_bytes=4)
    answer = run_on_host(problem_of(columns), tile)
    assert RELATIVE_LIMITS["fp32"] == 1e-6
    assert answer.ok, answer.reason


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("columns", "blocked"), [(1024, False), (1025, True), (8192, True), (65_536, True)])
def test_cuda_cores_add_long_sums_in_blocks(layout, columns, blocked):
    every = [tile for tile in candidates(problem_of(columns, layout), H200) if tile.family == "cores"]
    assert {tile.blocked for tile in every} == {blocked}
    half = replace(problem_of(columns, layout), precision="fp16")
    assert not choose(half, GpuProperties(75)).blocked  # its limit is far above the error of fp32 sums


def test_sums_too_long_for_3xtf32_go_to_the_cuda_cores():
    families = {tile.family for tile in candidates(problem_of(MAX_SPLIT_COLUMNS + 1), H200)}
    assert families == {"cores"}


def test_3xtf32_is_not_chosen_where_plain_fp32_is_more_accurate(run_on_host):
    short = problem_of(MIN_SPLIT_COLUMNS // 4)
    errors = {
        family: run_on_host(short, tile_of(family)).relative_error for family in ("cores", "tensor_cores")
    }
    assert errors["cores"] < errors["tensor_cores"]
    assert {tile.family for tile in candidates(short, H200)} == {"cores"}
    assert {tile.family for tile in candidates(problem_of(MIN_SPLIT_COLUMNS), H200)} == {
        "cores",
        "tensor_cores",
    }


@pytest.mark.parametrize("layout", LAYOUTS)
def test_partial_tiles_are_right_in_both_layouts(run_on_host, layout):
    problem = replace(problem_of(37, layout), pattern=Pattern(2, 20, 37, 3), batch=21)
    longer = replace(problem, pattern=Pattern(2, 20, 128, 3))
    tile = next(tile for tile in candidates(longer, H200) if tile.split and tile.parts == 1)
    assert run_on_host(problem, replace(tile, vector_bytes=4), with_bias=True).ok


def test_results_are_finite_exactly_where_plain_fp32_is(host_compiler):
    problem = problem_of(32)
    weights, x = make_operands(problem, "cpu", seed=1)
    x[3, 5], x[3, 6], x[4, 7] = torch.inf, -torch.inf, torch.nan
    x[5, 8] = torch.tensor(0x7FFFFFFF, dtype=torch.int32).view(torch.float32)  # as a GPU writes NaN
    ys = [
        launch_on_host(problem, tile_of(f), lay_out(weights, tile_of(f)), x)
        for f in ("cores", "tensor_cores")
    ]
    assert torch.isinf(ys[0]).any()
    assert torch.isnan(ys[1][:, 8]).all()
    assert torch.equal(torch.isfinite(ys[0]), torch.isfinite(ys[1]))
