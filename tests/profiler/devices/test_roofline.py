"""Floors from canaries, limits from datasheets."""

import pytest

from kswatch.db.records import CanaryRecord, DeviceRecord
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from kswatch.profiler.devices.roofline import Roofline, datasheet, implausible_below_ms

MEMORY_BOUND = Problem(Pattern(96, 48, 48, 1), 25_088, "fp16", "batch_first")
COMPUTE_BOUND = Problem(Pattern(1, 1024, 1024, 4), 25_088, "fp32", "batch_first")
H200 = DeviceRecord("GPU-1", "cuda", "NVIDIA H200", cache_bytes=50 << 20)


def canary(name, rate, precision="fp16", position="start"):
    return CanaryRecord(position, name, precision, 1.0, rate)


def test_the_floor_is_the_longer_of_bytes_and_flops_plus_an_empty_launch():
    roofline = Roofline.from_canaries(
        [canary("copy", 4e12), canary("gemm", 8e14), canary("gemm", 5e13, "fp32")], launch_ms=0.002
    )
    by_bytes = 1e3 * MEMORY_BOUND.compulsory_bytes / 4e12 + 0.002
    by_flops = 1e3 * COMPUTE_BOUND.flops / 5e13 + 0.002
    assert roofline.floor_ms(MEMORY_BOUND) == pytest.approx(by_bytes)
    assert roofline.floor_ms(COMPUTE_BOUND) == pytest.approx(by_flops)
    assert roofline.fastest_ms("fp32", 5 * 10**13) == pytest.approx(1000.0)


def test_fp8_is_implausible_only_under_twice_the_rate_of_16_bits():
    problem = Problem(Pattern(1, 4096, 4096, 1), 25_088, "fp8", "batch_first")
    assert datasheet(H200).flops_per_s("fp8") == 2 * datasheet(H200).flops_per_s("fp16")
    half = Problem(problem.pattern, problem.batch, "fp16", problem.layout)
    assert implausible_below_ms(problem, H200) == pytest.approx(implausible_below_ms(half, H200) / 2)


def test_a_disturbed_canary_does_not_raise_the_floor():
    calm = Roofline.from_canaries([canary("copy", 4e12), canary("gemm", 8e14)])
    disturbed = Roofline.from_canaries(
        [canary("copy", 1e12), canary("copy", 4e12, position="middle"), canary("gemm", 8e14)]
    )
    assert disturbed == calm


def test_no_precision_has_a_lower_rate_than_registers_alone():
    read = [canary("gemm", 7e10, "fp32"), canary("gemm", 3e10, "fp16"), canary("gemm", 4e11, "bf16")]
    roofline = Roofline.from_canaries([*read, canary("peak", 1.7e11, "fp32")])
    assert roofline.flops_per_s == {"fp32": 1.7e11, "fp16": 1.7e11, "bf16": 4e11}


def test_without_canaries_there_is_no_floor():
    assert Roofline.from_canaries([]).floor_ms(MEMORY_BOUND) is None
    assert Roofline.from_canaries([canary("copy", 4e12)]).floor_ms(MEMORY_BOUND) is None


@pytest.mark.parametrize(
    ("model", "bytes_per_s"),
    [
        ("NVIDIA H200", 4.8e12),
        ("NVIDIA H100 PCIe", 2.04e12),
        ("NVIDIA H100 80GB HBM3", 3.94e12),
        ("NVIDIA A100-SXM4-80GB", 2.04e12),
        ("Tesla V100-PCIE-16GB", 0.9e12),
        ("NVIDIA L4", 0.3e12),
        ("NVIDIA L40S", 0.864e12),
        ("NVIDIA GeForce RTX 4090", 1.01e12),
    ],
)
def test_a_datasheet_is_found_by_the_words_of_the_model(model, bytes_per_s):
    assert datasheet(DeviceRecord("GPU-1", "cuda", model)).bytes_per_s == bytes_per_s


def test_no_limit_is_applied_to_a_cpu_or_an_unknown_board():
    for device in (DeviceRecord("cpu-1", "cpu", "H200"), DeviceRecord("GPU-1", "cuda", "NVIDIA GB300")):
        assert implausible_below_ms(MEMORY_BOUND, device) is None


def test_the_limit_counts_neither_cached_outputs_nor_hot_inputs():
    problem = Problem(Pattern(1, 64, 64, 1), 25_088, "fp16", "batch_first")
    assert problem.compulsory_bytes < H200.cache_bytes
    cold_ms = 1e3 * 0.8 * problem.input_bytes / 4.8e12
    hot_ms = 1e3 * 0.8 * problem.flops / 989.4e12
    assert implausible_below_ms(problem, H200) == pytest.approx(cold_ms)
    assert implausible_below_ms(problem, H200, "hot") == pytest.approx(hot_ms)


def test_three_tf32_products_may_beat_the_plain_fp32_peak():
    assert implausible_below_ms(COMPUTE_BOUND, H200) == pytest.approx(
        1e3 * 0.8 * COMPUTE_BOUND.flops / (494.7e12 / 3)
    )
