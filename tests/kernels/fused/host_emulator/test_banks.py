"""Shared memory's banks: in whole tiles, no access waits for another of its warp."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from kswatch.kernels.fused.cuda.arguments import pack_arguments, pack_numbers
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda.nvcc import SOURCE_FOLDER as CUDA_SOURCES
from kswatch.kernels.fused.cuda.tile_candidates import choose
from kswatch.kernels.fused.cuda.weight_layout import lay_out
from kswatch.kernels.fused.host_emulator import emulator as host
from kswatch.kernels.implementation import OUTPUT_DTYPES, STORAGE_DTYPES
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from kswatch.kernels.reference import make_operands
from tests.kernels.changed_sources import changed_sources

H200 = GpuProperties(90, 132)

KINDS = [
    # columns, d: from 96 columns on, fp32 goes to the tensor cores
    ("fp16", "batch_last", 128, 1),
    ("fp16", "batch_first", 128, 1),
    ("fp32", "batch_first", 64, 4),
    ("fp8", "batch_first", 128, 4),
]
MORE = [("fp16", "batch_first", 128, 4), ("fp32", "batch_last", 64, 1)]
MORE += [("tf32", "batch_last", 128, 1), ("tf32", "batch_first", 128, 1), ("tf32", "batch_first", 128, 16)]
MORE += [("fp16", "batch_first", 128, d) for d in (2, 8, 16)]
MORE += [("fp32", "batch_first", 64, d) for d in (1, 2, 16)]
MORE += [("fp64", "batch_last", 64, 1), ("fp64", "batch_first", 64, 1), ("complex64", "batch_first", 64, 2)]
MORE += [("fp8", "batch_last", 1024, 1), *(("fp8", "batch_first", 128, d) for d in (2, 8, 16))]


def traffic(problem, tile, folder=CUDA_SOURCES):
    """For one block and each kind of access, the passes through the banks over the minimum."""
    weights, _ = make_operands(problem, "cpu", seed=1)
    x = torch.zeros(problem.input_shape).to(STORAGE_DTYPES[problem.precision])
    y = torch.empty(problem.output_shape, dtype=OUTPUT_DTYPES[problem.precision])
    laid_out = lay_out(weights, tile)
    numbers = pack_numbers(problem, tile)
    packed = pack_arguments(x.data_ptr(), laid_out.data_ptr(), 0, y.data_ptr(), numbers)
    shape = (1, tile.threads, tile.launch_bytes)
    counted = host.execute(host.build(tile, folder), packed, shape, (x, laid_out, y), 1)
    return {kind: passes / least for kind, (passes, least) in counted.items() if least}


def whole(precision, layout, columns, d):
    """A problem with one full block, and the tile of a similar problem with a large batch."""
    like = Problem(Pattern(1, 128, columns, d), 25_088, precision, layout)
    tile = replace(choose(like, H200), parts=1, walkers=0)
    return Problem(Pattern(1, tile.rows, 2 * tile.depth, d), tile.batch, precision, layout), tile


@pytest.mark.parametrize("kind", [*KINDS, *(pytest.param(kind, marks=pytest.mark.slow) for kind in MORE)])
def test_no_access_has_bank_conflicts(host_compiler, kind):
    found = traffic(*whole(*kind))
    assert found.pop("copies") < 1.34  # rows of 64 bytes, padded for the later reads
    assert set(found.values()) == {1.0}, found


def test_a_pitch_with_bank_conflicts_is_detected(host_compiler, tmp_path, monkeypatch):
    monkeypatch.setenv("KSWATCH_CACHE", str(tmp_path))
    folder = changed_sources(tmp_path / "source", "tile.cuh", "n / 2 % 4", "0")
    assert traffic(*whole(*KINDS[1]), folder)["matrices"] == 4.0
