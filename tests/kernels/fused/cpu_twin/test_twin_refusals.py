"""What the CPU twin refuses: other inputs and weights, too little memory, TF32."""

from __future__ import annotations

import gc
import resource
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from kswatch.errors import UnsupportedError, UsageError
from kswatch.kernels.fused.cpu_twin import twin
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Layout, Precision, Problem
from kswatch.kernels.reference import make_operands

pytestmark = [
    pytest.mark.skipif(isinstance(twin.load(), str), reason=str(twin.load())),
    pytest.mark.usefixtures("one_thread"),
]


def a_problem(precision: Precision = "fp32", layout: Layout = "batch_first") -> Problem:
    return Problem(Pattern(2, 5, 7, 3), 9, precision, layout)


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        (torch.zeros(9, 41), "has shape"),
        (torch.zeros(42, 9).t(), "contiguous"),
        (torch.zeros(9, 42, dtype=torch.float64), "float64"),
        (torch.zeros(9, 42, device="meta"), "meta"),
        (torch.zeros(9, 42, requires_grad=True), "KSLinear"),
    ],
    ids=["shape", "strides", "dtype", "device", "gradient"],
)
def test_an_input_unlike_the_prepared_one_is_refused(bad: torch.Tensor, complaint: str):
    weights, _ = make_operands(a_problem(), "cpu", seed=9)
    product = twin.prepare(a_problem(), weights)

    with pytest.raises(UsageError, match=complaint):
        product(bad)


@pytest.mark.parametrize(
    "bad", [torch.zeros(2, 5, 7, 4), torch.zeros(2, 5, 7, 3, dtype=torch.float16)], ids=["shape", "dtype"]
)
def test_weights_of_another_problem_are_refused(bad: torch.Tensor):
    with pytest.raises(UsageError, match="weights"):
        twin.prepare(a_problem(), bad)


@contextmanager
def little_memory(more_bytes: int):
    """Limit the process to this many additional bytes; garbage of earlier tests must not give it more."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.mark.skipif(sys.platform != "linux", reason="limits the process's memory as Linux does")
def test_out_of_memory_names_its_cause_and_a_smaller_product_works():
    heavy = Problem(Pattern(1, 1, 2**24, 1), 1, "fp32", "batch_last")
    lanes = twin.require_twin().limits.vector_width
    deep = Problem(Pattern(1, 1, 2**24 // lanes, 1), 1, "fp32", "batch_last")
    heavy_weights, _ = make_operands(heavy, "cpu", seed=1)
    weights, x = make_operands(deep, "cpu", seed=1)
    product = twin.prepare(deep, weights)
    with little_memory(48 * 2**20):
        with pytest.raises(MemoryError, match="weights; use a smaller problem"):
            twin.prepare(heavy, heavy_weights)
        with pytest.raises(MemoryError, match="panels; use a smaller problem"):
            product(x)
    assert product(x).isfinite().all()


def test_tf32_is_refused_with_the_reason():
    problem = a_problem("tf32")

    assert "tensor cores" in str(twin.unsupported(problem))
    with pytest.raises(UnsupportedError, match="tensor cores"):
        twin.prepare(problem, torch.zeros(2, 5, 7, 3))
