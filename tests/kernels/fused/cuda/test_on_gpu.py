"""The kernel on a real GPU: `make gpu-check`."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest
import torch

from kswatch.kernels.fused.cuda import driver, launch, trust_record
from kswatch.kernels.fused.cuda.tile_candidates import HOPPER
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import LAYOUTS, PRECISIONS, Problem
from kswatch.kernels.reference import check, make_operands, reference
from tests.kernels.products import poisoned

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU"),
]

PATTERNS = [
    (2, 20, 24, 1),
    (1, 33, 17, 3),
    (2, 24, 40, 12),
    (1, 64, 64, 48),
    (6, 64, 256, 1),
    (1, 384, 384, 2),
]
BATCHES = (1, 37, 4096)
GPU = torch.device("cuda", 0)


def prepared(problem):
    weights, x = make_operands(problem, GPU, seed=1)
    return launch.prepare(problem, weights), x, reference(problem, weights, x)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
@pytest.mark.parametrize(("precision", "layout"), list(itertools.product(PRECISIONS, LAYOUTS)))
def test_the_product_is_right(precision, layout, pattern, batch):
    problem = Problem(Pattern(*pattern), batch, precision, layout)
    if reason := launch.unsupported(problem, GPU):
        pytest.skip(reason)
    product, x, truth = prepared(problem)
    answer = check(problem, product(x, empty=poisoned), truth)
    assert answer.ok, answer.reason


VARIANTS = {
    "a bias": (Problem(Pattern(2, 72, 200, 3), 520, "fp16", "batch_first"), lambda tile: True),
    "parts of c": (Problem(Pattern(1, 256, 1024, 1), 16, "bf16", "batch_last"), lambda tile: tile.parts > 1),
    "walkers": (Problem(Pattern(6, 64, 64, 16), 4096, "fp16", "batch_first"), lambda tile: tile.walkers),
    "3xTF32": (Problem(Pattern(1, 128, 512, 2), 1000, "fp32", "batch_last"), lambda tile: tile.split),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_right(variant):
    problem, matches = VARIANTS[variant]
    tile = next((tile for tile in launch.candidates(problem, GPU) if matches(tile)), None)
    if tile is None:
        pytest.skip("not on this GPU")
    weights, x = make_operands(problem, GPU, seed=1)
    bias = torch.randn(problem.pattern.rows, device=GPU).to(weights.dtype)
    product = launch.prepare(problem, weights, bias, tile)
    added = bias.double() if problem.layout == "batch_first" else bias.double()[:, None]
    answer = check(problem, product(x, empty=poisoned), reference(problem, weights, x) + added)
    assert answer.ok, answer.reason


def test_wgmma_is_right():
    """Checked in a separate process, which stores the result: from here on wgmma may be chosen."""
    if driver.gpu_properties(GPU).architecture != HOPPER:
        pytest.skip("only sm_90 has wgmma")
    done = subprocess.run(
        [sys.executable, "-m", "kswatch.kernels.fused.cuda_checks.trust"],
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    checks = trust_record.checks_by_group(driver.gpu_properties(GPU))
    tiles = [tile for pairs in checks.values() for _, tile in pairs]
    assert not [reason for tile in tiles if (reason := trust_record.untrusted_reason(GPU, tile))]


@pytest.mark.parametrize("kind", ["default", "PyCUDA's", "torch's"])
def test_a_launch_is_ordered_with_torchs_work(kind):
    problem = Problem(Pattern(1, 256, 256, 4), 8192, "fp32", "batch_first")
    product, x, truth = prepared(problem)
    stream = {
        "default": torch.cuda.default_stream,
        "PyCUDA's": lambda: driver.new_stream(GPU),
        "torch's": torch.cuda.Stream,
    }[kind]()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        late = torch.zeros_like(x)
        torch.cuda._sleep(20_000_000)
        late.copy_(x)
        doubled = product(late, empty=poisoned) * 2
    torch.cuda.synchronize()
    assert check(problem, doubled / 2, truth).ok


def test_a_graph_captures_the_launch():
    problem = Problem(Pattern(2, 64, 64, 3), 1024, "fp16", "batch_last")
    product, x, truth = prepared(problem)
    product(x)
    y = torch.empty(problem.output_shape, dtype=x.dtype, device=GPU)
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        product(x, empty=lambda *size, **options: y)
    y.fill_(torch.nan)
    graph.replay()
    torch.cuda.synchronize()
    assert check(problem, y, truth).ok


def test_a_view_with_an_unaligned_start_is_right():
    problem = Problem(Pattern(2, 64, 64, 1), 64, "fp16", "batch_last")
    product, x, truth = prepared(problem)
    shifted = torch.empty(x.numel() + 1, dtype=x.dtype, device=GPU)[1:].view_as(x).copy_(x)
    assert check(problem, product(shifted, empty=poisoned), truth).ok


def test_offsets_beyond_32_bits_are_right():
    problem = Problem(Pattern(1, 32, 32, 64), 2**20 + 8, "fp16", "batch_last")
    assert problem.batch * problem.pattern.columns > 2**31
    if torch.cuda.mem_get_info(GPU)[0] < 40 * 2**30:
        pytest.skip("needs 40 GB of free GPU memory")
    product, x, truth = prepared(problem)
    assert check(problem, product(x, empty=poisoned), truth).ok
