"""The check of warpgroup tiles, its record, and the tensor map of X."""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from kswatch.errors import UnsupportedError
from kswatch.kernels.fused.cuda import driver, launch, tensor_map, trust_record
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda.tile import ceil_div
from kswatch.kernels.fused.cuda.tile_candidates import warpgroup_tiles
from kswatch.kernels.fused.cuda_checks import trust
from kswatch.kernels.implementation import OUTPUT_DTYPES
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import LAYOUTS, Problem
from kswatch.kernels.reference import make_operands, reference

GPU = torch.device("cuda", 0)


@pytest.fixture
def hopper(monkeypatch, tmp_path):
    monkeypatch.setenv("KSWATCH_CACHE", str(tmp_path))
    monkeypatch.setattr(driver, "gpu_properties", lambda device: GpuProperties(90, 132))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="GPU-0"))
    trust_record.record_path.cache_clear()
    yield
    trust_record.record_path.cache_clear()


PROBLEM = Problem(Pattern(1, 128, 128, 1), 256, "fp16", "batch_last")
TILE = warpgroup_tiles(PROBLEM, GpuProperties(90, 132))[0]


def test_an_unchecked_gpu_names_the_command(hopper):
    assert trust_record.COMMAND in trust_record.untrusted_reason(GPU, TILE)


def test_a_result_is_stored_with_its_reason(hopper):
    trust_record.write_result(GPU, trust_record.tile_group(TILE), "rows exchanged")
    assert "rows exchanged" in trust_record.untrusted_reason(GPU, TILE)
    trust_record.write_result(GPU, trust_record.tile_group(TILE), None)
    assert trust_record.untrusted_reason(GPU, TILE) is None


def test_a_wrong_tile_leaves_the_others_trusted(hopper):
    other = replace(TILE, batch=256, worker_batch=256)
    trust_record.write_result(GPU, trust_record.tile_group(TILE), None)
    trust_record.write_result(GPU, trust_record.tile_group(other), "rows exchanged")
    assert trust_record.untrusted_reason(GPU, TILE) is None
    assert "rows exchanged" in trust_record.untrusted_reason(GPU, other)


def test_every_tile_is_checked_with_one_step_and_with_many():
    gpu = GpuProperties(90, 132)
    for layout, precision in itertools.product(LAYOUTS, ("fp16", "bf16")):
        problem = replace(PROBLEM, layout=layout, precision=precision)
        for tile in warpgroup_tiles(problem, gpu):
            pairs = trust_record.checks_by_group(gpu)[trust_record.tile_group(tile)]
            assert {1, tile.stages} <= {tile.stages for _, tile in pairs} | {min(tile.stages, 2)}
            assert any(p.pattern.c > 4 * 64 for p, _ in pairs)


def test_persistent_blocks_are_checked_with_several_tiles_each():
    pairs = [
        pair for several in trust_record.checks_by_group(GpuProperties(90, 132)).values() for pair in several
    ]
    persistent = [(problem, tile) for problem, tile in pairs if tile.family == "persistent"]
    kinds = {(p.precision, p.layout) for p, t in persistent if t.walkers == 66 and tiles_of(p, t) > 2 * 66}
    assert kinds == {(p.precision, p.layout) for p, _ in pairs if p.precision != "fp8"}
    assert all("persistent" in trust_record.tile_group(tile) for _, tile in persistent)


def tiles_of(problem, tile):
    return ceil_div(problem.pattern.b, tile.rows) * ceil_div(problem.batch, tile.batch) * problem.pattern.a


def computed(problem, weights, bias, tile):
    """A stand-in for `launch.prepare_unchecked` that multiplies with the reference."""
    dtype = OUTPUT_DTYPES[problem.precision]
    return lambda x, empty: reference(problem, weights, x).to(dtype)


@pytest.fixture
def few(monkeypatch, hopper):
    """Small problems on the CPU in place of a GPU."""
    problems = [p for p in trust_record.CHECK_PROBLEMS if p.batch == 72 and p.pattern.c < 100]
    monkeypatch.setattr(trust_record, "CHECK_PROBLEMS", problems)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(launch, "prepare_unchecked", computed)
    return torch.device("cpu")


@pytest.mark.parametrize("wrong", ["fp16", None])
def test_the_check_trusts_only_correct_tiles(few, monkeypatch, wrong):
    def prepare_unchecked(problem, *arguments):
        product = computed(problem, *arguments)
        return lambda x, empty: product(x, empty) + (problem.precision == wrong)

    monkeypatch.setattr(launch, "prepare_unchecked", prepare_unchecked)
    assert trust.check_untested(few)
    assert not trust.check_untested(few), "all results are stored"
    bad = {group.split()[0] for group, reason in trust_record.read_results(few).items() if reason}
    assert bad == ({wrong} - {None})
    assert (
        trust_record.read_results(few).keys() == trust_record.checks_by_group(GpuProperties(90, 132)).keys()
    )


def test_a_driver_error_is_recorded_and_raised(few, monkeypatch):
    def fails(*arguments):
        raise RuntimeError("illegal memory access\nat some place")

    monkeypatch.setattr(launch, "prepare_unchecked", fails)
    with pytest.raises(RuntimeError):
        trust.check_untested(few)
    assert list(trust_record.read_results(few).values()) == ["illegal memory access"]


CHILD = """
import sys, time
from pathlib import Path
record, names = Path(sys.argv[1]), sys.argv[2:]
import json
seen = json.loads(record.read_text()) if record.exists() else {}
name = next(name for name in names if name not in seen)
record.write_text(json.dumps({**seen, name: "begun"}))
if name == names[0]: time.sleep(60)
if name == names[1]: sys.exit(3)
record.write_text(json.dumps({**seen, name: None}))
"""
"""Hangs on the first tile, exits on the second, finds all others right; one process for each tile."""


@pytest.mark.slow
def test_the_check_continues_after_a_hang_or_a_crash(few, monkeypatch):
    names = [f"fp16 batch_last {n}" for n in range(3)]
    monkeypatch.setattr(trust_record, "checks_by_group", lambda gpu: dict.fromkeys(names, []))
    record = trust_record.record_path(few)
    record.parent.mkdir(parents=True, exist_ok=True)
    child = [sys.executable, "-S", "-c", CHILD, str(record), *names]
    assert trust.main(few, child, stall_timeout_s=3.0) == 1  # on a busy machine Python starts in less
    assert trust_record.read_results(few) == {names[0]: "begun", names[1]: "begun", names[2]: None}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_map_addresses_every_element_of_x(layout):
    """Element (n, j, l, i) or (l, 0, i, n) of a box is at the offset given by the strides, in bytes."""
    problem = Problem(Pattern(2, 64, 72, 1 if layout == "batch_first" else 3), 80, "fp16", layout)
    tile = warpgroup_tiles(problem, GpuProperties(90))[0]
    extents, stride_bytes, box = tensor_map.fields(problem, tile)
    _, x = make_operands(problem, "cpu", seed=1)
    a, _, c, d = problem.pattern.as_tuple()
    seen = torch.as_strided(x, extents[::-1], (*(s // 2 for s in stride_bytes[::-1]), 1))
    expected = x.view(a, c, d, 80).permute(0, 1, 2, 3) if layout == "batch_last" else x.view(80, a, 1, c)
    assert torch.equal(seen, expected)
    assert all(stride % tensor_map.ADDRESS_BYTES == 0 for stride in stride_bytes)
    assert box[0] * 2 == 128


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a driver")
def test_without_a_driver_there_is_no_map():
    problem = Problem(Pattern(1, 64, 64, 1), 64, "fp16", "batch_last")
    with pytest.raises(UnsupportedError, match="no driver with tensor maps"):
        tensor_map.encode(problem, warpgroup_tiles(problem, GpuProperties(90))[0], 0)
