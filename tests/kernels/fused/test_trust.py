"""Whom the launcher trusts, and what it tells the driver of X."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from kernels.fused import driver, launch, tensor_map, trust
from kernels.fused.machine import Machine
from kernels.fused.tiles import by_warpgroups
from kernels.pattern import Pattern
from kernels.problem import LAYOUTS, Problem
from kernels.reference import make_operands, reference
from kswatch_errors import UnsupportedError

GPU = torch.device("cuda", 0)


@pytest.fixture
def hopper(monkeypatch, tmp_path):
    monkeypatch.setenv("KSWATCH_CACHE", str(tmp_path))
    monkeypatch.setattr(driver, "machine", lambda device: Machine(90, 132))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="GPU-0"))
    trust.record.cache_clear()
    yield
    trust.record.cache_clear()


def test_a_gpu_that_was_never_checked_says_how(hopper):
    assert trust.COMMAND in trust.untrusted(GPU)


def test_what_was_seen_is_remembered_with_its_reason(hopper):
    trust.remember(GPU, False, "rows exchanged")
    assert "rows exchanged" in trust.untrusted(GPU)
    trust.remember(GPU, True, None)
    assert trust.untrusted(GPU) is None


def computed(problem, weights, bias, tile):
    """A stand-in for the launcher that multiplies by the reference."""
    rounded = {"fp16": torch.float16, "bf16": torch.bfloat16}[problem.precision]
    return lambda x, empty: reference(problem, weights, x).to(rounded)


@pytest.mark.parametrize("wrong", [False, True])
def test_the_check_trusts_what_is_right_and_nothing_else(hopper, monkeypatch, wrong):
    cpu = torch.device("cpu")
    few = [problem for problem in trust.PROBLEMS if problem.batch == 72]
    monkeypatch.setattr(trust, "PROBLEMS", few)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)

    def launcher(*arguments):
        product = computed(*arguments)
        return lambda x, empty: product(x, empty) + wrong

    monkeypatch.setattr(launch, "launcher", launcher)
    assert trust.main(cpu) == wrong
    assert (trust.untrusted(cpu) is None) != wrong


def test_a_check_that_does_not_come_back_is_remembered_as_wrong(hopper, monkeypatch):
    def dies(*arguments):
        raise SystemExit

    monkeypatch.setattr(launch, "launcher", dies)
    with pytest.raises(SystemExit):
        trust.main(torch.device("cpu"))
    assert "did not come to its end" in trust.untrusted(torch.device("cpu"))


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
