"""The position of every weight in the layout of a tile."""

from __future__ import annotations

import pytest
import torch

from kswatch.declared.precisions import SUITE_PRECISIONS
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda.tile_candidates import candidates, choose
from kswatch.kernels.fused.cuda.weight_layout import lay_out, lay_out_at_once
from kswatch.kernels.implementation import STORAGE_DTYPES
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem


def first_tile(problem, architecture=90):
    return next(iter(candidates(problem, GpuProperties(architecture))))


def numbered(problem):
    """Weights 0, 1, 2, ..., few enough to be distinct in every precision."""
    count = torch.arange(problem.pattern.nonzeros).to(STORAGE_DTYPES[problem.precision])
    return count.reshape(problem.pattern.as_tuple())


@pytest.mark.parametrize("precision", SUITE_PRECISIONS)  # fp8 has scales, too: host_emulator/test_fp8.py
@pytest.mark.parametrize("layout", ["batch_first", "batch_last"])
def test_every_weight_appears_once_and_the_rest_is_zero(precision, layout):
    problem = Problem(Pattern(1, 10, 12, 2), 64, precision, layout)
    tile = choose(problem, GpuProperties(90))
    weights = numbered(problem) + 1
    laid_out = lay_out(weights, tile)
    present = laid_out[laid_out != 0]
    assert laid_out.numel() % tile.weight_elements == 0
    values = present.real if present.is_complex() else present
    assert torch.equal(values.sort().values.to(weights.dtype), weights.flatten())


def test_cuda_cores_read_neighbouring_rows():
    problem = Problem(Pattern(1, 16, 24, 1), 64, "fp32", "batch_last")
    tile = first_tile(problem)
    weights = torch.randn(1, 16, 24, 1)
    piece = lay_out(weights, tile)[: tile.weight_elements].view(tile.depth, tile.rows)
    assert torch.equal(piece[:, :16], weights[0, :, : tile.depth, 0].T)


@pytest.mark.parametrize(("precision", "elements"), [("fp16", 2), ("tf32", 1)])
def test_a_lane_holds_its_fragment_of_the_instruction(precision, elements):
    """PTX ISA, fragments of A: lane 4g + t has rows g, g + 8 and words t, t + 4 of 32 bytes."""
    problem = Problem(Pattern(1, 16, 8 * elements, 1), 64, precision, "batch_last")
    tile = first_tile(problem)
    weights = numbered(problem)
    lanes = lay_out(weights, tile)[: 16 * 8 * elements].view(32, 4, elements)
    g, t = 5, 3
    for word, (row, column) in enumerate([(g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4)]):
        expected = weights[0, row, column * elements : (column + 1) * elements, 0]
        assert torch.equal(lanes[4 * g + t, word], expected)


def test_tf32_weights_are_rounded_in_the_layout():
    problem = Problem(Pattern(1, 16, 16, 1), 64, "tf32", "batch_last")
    laid_out = lay_out(torch.full((1, 16, 16, 1), 1 + 2.0**-11), first_tile(problem))
    assert set(laid_out.unique().tolist()) <= {0.0, 1 + 2.0**-10}


@pytest.mark.parametrize("precision", SUITE_PRECISIONS)
@pytest.mark.parametrize(
    "pattern", [(1, 10, 12, 2), (2, 128, 64, 3), (1, 64, 64, 16), (1, 256, 192, 1)], ids=str
)
def test_laying_out_at_once_gives_the_same_bits_for_every_tile(precision, pattern):
    problem = Problem(Pattern(*pattern), 64, precision, "batch_first")
    weights = torch.randn(pattern).to(STORAGE_DTYPES[precision])
    tiles = list(candidates(problem, GpuProperties(90)))
    assert tiles
    for tile in tiles[:: max(1, len(tiles) // 12)]:
        assert torch.equal(lay_out_at_once(weights, tile), lay_out(weights, tile))
