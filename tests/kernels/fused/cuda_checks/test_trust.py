"""Whom the launcher trusts, and what it tells the driver of X."""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from kswatch.errors import UnsupportedError
from kswatch.kernels.fused.cuda import driver, launch, tensor_map
from kswatch.kernels.fused.cuda.machine import Machine
from kswatch.kernels.fused.cuda.tile_candidates import by_warpgroups, of_warpgroups
from kswatch.kernels.fused.cuda_checks import trust
from kswatch.kernels.implementation import STORAGE_DTYPES
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import LAYOUTS, Problem
from kswatch.kernels.reference import make_operands, reference

GPU = torch.device("cuda", 0)


@pytest.fixture
def hopper(monkeypatch, tmp_path):
    monkeypatch.setenv("KSWATCH_CACHE", str(tmp_path))
    monkeypatch.setattr(driver, "machine", lambda device: Machine(90, 132))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="GPU-0"))
    trust.record.cache_clear()
    yield
    trust.record.cache_clear()


PROBLEM = Problem(Pattern(1, 128, 128, 1), 256, "fp16", "batch_last")
TILE = by_warpgroups(PROBLEM, Machine(90, 132))


def test_a_gpu_that_was_never_checked_says_how(hopper):
    assert trust.COMMAND in trust.untrusted(GPU, TILE)


def test_what_was_seen_is_remembered_with_its_reason(hopper):
    trust.remember(GPU, trust.name(TILE), "rows exchanged")
    assert "rows exchanged" in trust.untrusted(GPU, TILE)
    trust.remember(GPU, trust.name(TILE), None)
    assert trust.untrusted(GPU, TILE) is None


def test_a_wrong_tile_leaves_the_others_trusted(hopper):
    other = replace(TILE, batch=256, worker_batch=256)
    trust.remember(GPU, trust.name(TILE), None)
    trust.remember(GPU, trust.name(other), "rows exchanged")
    assert trust.untrusted(GPU, TILE) is None
    assert "rows exchanged" in trust.untrusted(GPU, other)


def test_every_tile_is_checked_with_one_step_and_with_many():
    machine = Machine(90, 132)
    for layout, precision in itertools.product(LAYOUTS, ("fp16", "bf16")):
        problem = replace(PROBLEM, layout=layout, precision=precision)
        for tile in of_warpgroups(problem, machine):
            stages = {tile.stages for _, tile in trust.wanted(machine)[trust.name(tile)]}
            assert {1, tile.stages} <= stages | {min(tile.stages, 2)}
            assert any(p.pattern.c > 4 * 64 for p, _ in trust.wanted(machine)[trust.name(tile)])


def computed(problem, weights, bias, tile):
    """A stand-in for the launcher that multiplies by the reference."""
    dtype = STORAGE_DTYPES[problem.precision]
    return lambda x, empty: reference(problem, weights, x).to(dtype)


@pytest.fixture
def few(monkeypatch, hopper):
    """Small problems on the CPU in place of a GPU."""
    monkeypatch.setattr(trust, "PROBLEMS", [p for p in trust.PROBLEMS if p.batch == 72 and p.pattern.c < 100])
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(launch, "launcher", computed)
    return torch.device("cpu")


@pytest.mark.parametrize("wrong", ["fp16", None])
def test_the_check_trusts_what_is_right_and_nothing_else(few, monkeypatch, wrong):
    def launcher(problem, *arguments):
        product = computed(problem, *arguments)
        return lambda x, empty: product(x, empty) + (problem.precision == wrong)

    monkeypatch.setattr(launch, "launcher", launcher)
    assert trust.examine(few)
    assert not trust.examine(few), "all is remembered"
    bad = {name.split()[0] for name in trust.wanted(Machine(90, 132)) if trust._seen(few)[name]}
    assert bad == ({wrong} - {None})


def test_an_error_of_the_driver_is_remembered_and_ends_the_process(few, monkeypatch):
    def fails(*arguments):
        raise RuntimeError("illegal memory access\nat some place")

    monkeypatch.setattr(launch, "launcher", fails)
    with pytest.raises(RuntimeError):
        trust.examine(few)
    assert list(trust._seen(few).values()) == ["illegal memory access"]


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
"""Hangs over its first tile, dies of its second, finds all others right; a process for each."""


def test_a_tile_that_hangs_or_kills_costs_no_other_its_check(few, monkeypatch):
    names = [f"fp16 batch_last {n}" for n in range(3)]
    monkeypatch.setattr(trust, "wanted", lambda machine: dict.fromkeys(names, []))
    record = trust.record(few)
    record.parent.mkdir(parents=True, exist_ok=True)
    child = [sys.executable, "-S", "-c", CHILD, str(record), *names]
    assert trust.main(few, child, silent_s=3.0) == 1  # on a busy machine Python starts in less
    assert trust._seen(few) == {names[0]: "begun", names[1]: "begun", names[2]: None}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_map_names_every_element_of_x(layout):
    """A box's element (n, j, l, i) or (l, 0, i, n) is at the offset that the strides give, in bytes."""
    problem = Problem(Pattern(2, 64, 72, 1 if layout == "batch_first" else 3), 80, "fp16", layout)
    tile = by_warpgroups(problem, Machine(90))
    fields = tensor_map.fields(problem, tile)
    _, x = make_operands(problem, "cpu", seed=1)
    a, _, c, d = problem.pattern.as_tuple()
    seen = torch.as_strided(x, fields.extents[::-1], (*(s // 2 for s in fields.stride_bytes[::-1]), 1))
    wanted = x.view(a, c, d, 80).permute(0, 1, 2, 3) if layout == "batch_last" else x.view(80, a, 1, c)
    assert torch.equal(seen, wanted)
    assert all(stride % tensor_map.ADDRESS_BYTES == 0 for stride in fields.stride_bytes)
    assert fields.box[0] * 2 == 128


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a driver")
def test_without_a_driver_there_is_no_map():
    problem = Problem(Pattern(1, 64, 64, 1), 64, "fp16", "batch_last")
    with pytest.raises(UnsupportedError, match="no driver that makes tensor maps"):
        tensor_map.encode(problem, by_warpgroups(problem, Machine(90)), 0)
