"""fp8 on emulated tensor cores whose sums keep 14 bits, as Hopper's do: scales, formats, long sums."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda.tile_candidates import candidates, choose
from kswatch.kernels.fused.cuda.weight_layout import lay_out, lay_out_at_once
from kswatch.kernels.implementation import WIDE_RANGE
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import LAYOUTS, Problem
from kswatch.kernels.reference import check, make_operands, reference
from tests.kernels.fused.conftest import launch_on_host

pytestmark = pytest.mark.usefixtures("host_compiler")
H200 = GpuProperties(90, 132)


def quick_in_batch_last():
    return [pytest.param("batch_first", marks=pytest.mark.slow), "batch_last"]


@pytest.mark.parametrize("layout", quick_in_batch_last())
def test_x_of_fp8_may_be_e5m2(layout):
    problem = Problem(Pattern(1, 33, 40, 1), 37, "fp8", layout)
    weights, x = make_operands(problem, "cpu", seed=1)
    x = (x.float() * 64).to(WIDE_RANGE)  # up to 2^15, far over the range of e4m3
    tile = replace(choose(problem, H200), wide_range=True)
    y = launch_on_host(problem, tile, lay_out(weights, tile), x)
    found = check(problem, y, reference(problem, weights, x))
    assert found.ok, found.reason


@pytest.mark.parametrize("layout", quick_in_batch_last())
def test_each_row_of_fp8_weights_has_a_scale(layout):
    """Rows of very different sizes, each of them right: no scale would fit them all."""
    problem = Problem(Pattern(2, 20, 48, 2), 16, "fp8", layout)
    weights, x = make_operands(problem, "cpu", seed=1)
    exponents = torch.arange(2 * 20 * 2).view(2, 20, 1, 2) * 7 % 61 - 30
    weights = (weights * 2.0**exponents).bfloat16()
    tile = choose(problem, H200)
    y, truth = launch_on_host(problem, tile, lay_out(weights, tile), x), reference(problem, weights, x)
    rows = 0 if layout == "batch_last" else 1
    for row, expected in zip(y.unbind(rows), truth.unbind(rows), strict=True):
        assert float((row.double() - expected).norm() / expected.norm()) < 3e-3


@pytest.mark.parametrize(
    "layout",
    [pytest.param("batch_first", marks=pytest.mark.slow), pytest.param("batch_last", marks=pytest.mark.slow)],
)
def test_the_error_of_long_sums_of_fp8_does_not_grow(run_on_host, layout):
    errors = []
    for columns in (64, 1024, 8192):
        problem = Problem(Pattern(1, 16, columns, 1), 16, "fp8", layout)
        tile = next(tile for tile in candidates(problem, H200) if tile.parts == 1)
        found = run_on_host(problem, tile)
        assert found.ok, found.reason
        errors.append(found.relative_error)
    assert max(errors) < 1.15 * errors[0]


def test_hopper_and_ada_have_fp8_by_tensor_cores_alone():
    problem = Problem(Pattern(1, 64, 64, 4), 64, "fp8", "batch_first")
    for architecture, families in ((80, None), (86, None), (89, {"tensor_cores"}), (90, {"tensor_cores"})):
        gpu = GpuProperties(architecture)
        assert gpu.supports(problem) == bool(families)
        if families:
            assert {tile.family for tile in candidates(problem, gpu)} == families


@pytest.mark.parametrize("layout", LAYOUTS)
def test_fp8_weights_are_laid_out_in_pieces_with_their_scales_behind(layout):
    problem = Problem(Pattern(2, 20, 24, 3), 64, "fp8", layout)
    weights, _ = make_operands(problem, "cpu", seed=1)
    tile = choose(problem, H200)
    laid_out = lay_out(weights, tile)
    groups, rows = -(-3 // tile.neighbours), -(-20 // tile.rows)
    pieces = 2 * groups * rows * -(-24 // tile.depth) * tile.weight_elements
    assert laid_out.dtype == torch.uint8 and len(laid_out) == pieces + 4 * 2 * 20 * 3
    scales = laid_out[pieces:].clone().view(torch.float32)
    assert bool((torch.frexp(scales)[0] == 0.5).all())
    held = laid_out[:pieces].view(torch.float8_e4m3fn).float().abs()
    assert int((held > 0).sum()) == int((weights != 0).sum())
    assert torch.equal(lay_out_at_once(weights, tile), laid_out)
