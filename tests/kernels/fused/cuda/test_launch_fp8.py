"""Launches in fp8 on a fake GPU: either format of X, the output and bias in bf16, GPUs without fp8."""

import pytest
import torch

from kswatch.errors import UsageError
from kswatch.kernels.fused.cuda import driver, launch
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.implementation import WIDE_RANGE
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from kswatch.kernels.reference import check, make_operands, reference

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("columns", "layout", "launches"),
    [(24, "batch_first", 1), pytest.param(4096, "batch_last", 2, marks=pytest.mark.slow)],
)
def test_a_product_of_fp8_takes_x_in_either_format(gpu, columns, layout, launches):
    problem = Problem(Pattern(1, 20, columns, 1), 16, "fp8", layout)
    weights, x = make_operands(problem, "cpu", seed=1)
    bias = torch.randn(problem.pattern.rows).bfloat16()
    product = launch.prepare(problem, weights, bias)
    added = bias if layout == "batch_first" else bias[:, None]
    weights_then, weights = weights.clone(), weights.zero_()  # the product has its own
    for number, operand in enumerate((x, x.float().to(WIDE_RANGE), x), start=1):
        y, truth = product(operand), reference(problem, weights_then, operand) + added
        assert check(problem, y, truth).ok
        assert len(gpu.log) == number * launches
    with pytest.raises(UsageError, match="x is torch.bfloat16; this product takes torch.float8_e4m3fn"):
        product(x.bfloat16())
    with pytest.raises(UsageError, match="bias is torch.float32; this product takes torch.bfloat16"):
        launch.prepare(problem, weights, bias.float())


def test_a_gpu_without_fp8_is_told_what_to_choose(gpu, monkeypatch):
    monkeypatch.setattr(driver, "gpu_properties", lambda device: GpuProperties(86, 80))
    problem = Problem(Pattern(1, 16, 16, 1), 16, "fp8", "batch_first")
    reason = launch.unsupported(problem, CPU)
    assert reason == "the GPU is sm_86; fp8 needs sm_89 or newer, choose fp16"
