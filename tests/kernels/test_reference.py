from math import inf

import pytest
import torch

from kswatch.kernels import reference as module
from kswatch.kernels.implementation import OUTPUT_DTYPES
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import LAYOUTS, Problem
from kswatch.kernels.reference import (
    check,
    make_operands,
    quantise,
    reference,
    relative_limit,
    round_to_fp8,
    round_to_tf32,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def answer(problem: Problem, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A right answer, rounded once to the type of Y, and the truth."""
    weights, x = make_operands(problem, "cpu", seed)
    truth = reference(problem, weights, x)
    return truth.to(OUTPUT_DTYPES[problem.precision]), truth


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("pattern", [(1, 1, 1, 1), (2, 3, 5, 4), (1, 7, 2, 3), (4, 6, 6, 1)])
def test_the_reference_is_the_matrix_of_the_definition_times_x(
    pattern: tuple[int, ...], layout: str, dense_matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = Problem(Pattern(*pattern), 13, "bf16", layout)
    weights, x = make_operands(problem, "cpu", seed=3)
    matrix = dense_matrix(weights)
    truth = matrix @ x.double() if layout == "batch_last" else x.double() @ matrix.t()
    torch.testing.assert_close(reference(problem, weights, x), truth, rtol=1e-13, atol=1e-13)
    monkeypatch.setattr(module, "CHUNK_ELEMENTS", 100)
    torch.testing.assert_close(reference(problem, weights, x), truth, rtol=1e-13, atol=1e-13)


def test_operands_are_normal_fresh_by_seed_and_give_outputs_of_variance_one() -> None:
    problem = Problem(Pattern(2, 32, 64, 2), 512, "fp16", "batch_first")
    weights, x = make_operands(problem, "cpu", seed=1)
    assert weights.shape == (2, 32, 64, 2) and x.shape == problem.input_shape
    assert weights.dtype == x.dtype == torch.float16
    assert x.float().std().item() == pytest.approx(1, rel=0.02)
    assert weights.float().std().item() == pytest.approx(64**-0.5, rel=0.03)
    assert reference(problem, weights, x).std().item() == pytest.approx(1, rel=0.05)
    again, other = make_operands(problem, "cpu", seed=1), make_operands(problem, "cpu", seed=2)
    assert torch.equal(again[0], weights) and torch.equal(again[1], x)
    assert not torch.equal(other[1], x)


def test_tf32_keeps_ten_bits_of_fraction_rounded_to_nearest_ties_away() -> None:
    values = torch.tensor([1.0, 1 + 2**-10, 1 + 2**-11, 1 + 2**-12, -1 - 2**-11, 2 - 2**-23, 0.0, 3e38])
    kept = torch.tensor([1.0, 1 + 2**-10, 1 + 2**-10, 1.0, -1 - 2**-10, 2.0, 0.0, 3e38])
    rounded = round_to_tf32(values)
    assert torch.equal(rounded[:-1], kept[:-1])
    assert rounded[-1].item() == pytest.approx(3e38, rel=2**-11)
    assert torch.equal(round_to_tf32(rounded), rounded)


def test_the_reference_of_tf32_is_that_of_the_rounded_operands() -> None:
    problem = Problem(Pattern(1, 8, 8, 1), 5, "tf32", "batch_last")
    weights, x = make_operands(problem, "cpu", seed=0)
    exact = Problem(problem.pattern, 5, "fp32", "batch_last")
    rounded = reference(exact, round_to_tf32(weights), round_to_tf32(x))
    assert torch.equal(reference(problem, weights, x), rounded)
    assert not torch.equal(reference(exact, weights, x), rounded)


def test_fp8_has_the_smallest_scale_that_fits_for_each_row_or_for_all() -> None:
    weights = torch.tensor([[448.0, -1.0], [449.0, 17.0], [0.0, 0.0], [3.0e-8, -448 * 2**-34]])
    weights = weights[None, :, :, None]
    elements, scales = quantise(weights)
    assert scales.flatten().tolist() == [1, 2, 1, 2**-33]  # 3e-8 is 258 / 2^33
    assert elements.float()[0, :, :, 0].tolist() == [[448, -1], [224, 8], [0, 0], [256, -224]]
    assert round_to_fp8(weights)[0, 1, :, 0].tolist() == [448, 16]  # 17 has one bit too many: ties to even
    in_one, scale = quantise(weights, "tensor")
    assert set(scale.flatten().tolist()) == {2.0} and scale.shape == (1, 4, 1, 1)
    assert in_one.float()[0, 3, :, 0].tolist() == [0, 0]


def test_weights_of_one_scale_keep_their_values_with_a_scale_for_each_row() -> None:
    generator = torch.Generator().manual_seed(0)
    sizes = 2.0 ** torch.arange(-12, 12).view(1, 24, 1, 1)
    weights = torch.randn(2, 24, 40, 3, generator=generator) * sizes
    rounded = round_to_fp8(weights, "tensor")
    assert torch.equal(round_to_fp8(rounded), rounded)
    assert torch.equal(rounded.bfloat16().float(), rounded)
    in_rows = round_to_fp8(weights)
    assert torch.equal(round_to_fp8(in_rows), in_rows) and torch.equal(in_rows.bfloat16().float(), in_rows)
    normal = weights.abs() > weights.abs().amax(2, keepdim=True) * 2**-14
    assert float(((in_rows - weights) / weights)[normal].abs().max()) <= 2**-4


def test_the_operands_of_fp8_use_its_range_and_any_scales_quantise_them_alike(dense_matrix) -> None:
    problem = Problem(Pattern(2, 16, 24, 2), 512, "fp8", "batch_first")
    weights, x = make_operands(problem, "cpu", seed=1)
    assert (weights.dtype, x.dtype) == (torch.bfloat16, torch.float8_e4m3fn)
    assert x.float().std().item() == pytest.approx(64, rel=0.02) and x.float().abs().max() > 200
    assert torch.equal(round_to_fp8(weights), weights.float())
    truth = reference(problem, weights, x)
    assert truth.std().item() == pytest.approx(1, rel=0.05)
    torch.testing.assert_close(truth, x.double() @ dense_matrix(weights).t(), rtol=1e-13, atol=1e-13)


def test_the_reference_of_fp8_rounds_weights_and_takes_e5m2() -> None:
    problem = Problem(Pattern(1, 4, 8, 1), 3, "fp8", "batch_last")
    weights, x = torch.randn(4, 8).bfloat16()[None, :, :, None], torch.randn(8, 3).to(torch.float8_e5m2)
    expected = round_to_fp8(weights)[0, :, :, 0].double() @ x.double()
    torch.testing.assert_close(reference(problem, weights, x), expected)
    assert not torch.equal(round_to_fp8(weights), weights.float())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "fp16", "fp8"])
def test_a_rounded_reference_is_right(precision: str, layout: str) -> None:
    problem = Problem(Pattern(2, 16, 24, 3), 64, precision, layout)
    y, truth = answer(problem)
    result = check(problem, y, truth)
    assert result.ok and result.reason is None
    expected = float((y.double() - truth).norm() / truth.norm())
    assert result.relative_error == pytest.approx(expected)
    assert result.max_error == pytest.approx(float((y.double() - truth).abs().max()))


def test_one_zeroed_row_of_25088_is_wrong_even_with_a_small_norm() -> None:
    problem = Problem(Pattern(1, 32, 32, 2), 25_088, "bf16", "batch_first")
    y, truth = answer(problem)
    y[12_345] = 0
    result = check(problem, y, truth, bmm_error=5e-3)
    assert result.relative_error <= relative_limit("bf16", bmm_error=5e-3)
    assert not result.ok and "largest error" in str(result.reason)
    assert not check(problem, y, truth).ok


def test_one_zeroed_element_of_millions_is_wrong_despite_a_small_norm() -> None:
    problem = Problem(Pattern(1, 64, 16, 4), 25_088, "fp16", "batch_first")
    y, truth = answer(problem)
    y[777, 7] = 0 if truth[777, 7].abs() > 0.1 else 1
    result = check(problem, y, truth)
    assert result.relative_error < 5e-4
    assert not result.ok and "largest error" in str(result.reason)


@pytest.mark.parametrize("broken", [float("nan"), inf, -inf])
def test_a_single_nan_or_inf_never_passes(broken: float) -> None:
    problem = Problem(Pattern(1, 32, 32, 2), 64, "fp32", "batch_last")
    y, truth = answer(problem)
    y[5, 6] = broken
    result = check(problem, y, truth, bmm_error=1e-6)
    assert not result.ok
    assert (result.relative_error, result.max_error) == (inf, inf)
    assert result.reason == f"1 of {y.numel()} elements are NaN or Inf"


@pytest.mark.parametrize(("precision", "dtype"), [("fp16", torch.float16), ("bf16", torch.bfloat16)])
def test_half_precision_sums_are_wrong(precision: str, dtype: torch.dtype) -> None:
    problem = Problem(Pattern(1, 48, 192, 1), 128, precision, "batch_last")
    weights, x = make_operands(problem, "cpu", seed=0)
    total = torch.zeros(problem.output_shape, dtype=dtype)
    for l in range(192):  # noqa: E741
        total += weights[0, :, l] * x[l]
    result = check(problem, total, reference(problem, weights, x))
    assert not result.ok and "relative error" in str(result.reason)


def test_a_product_of_tf32_is_wrong_as_fp32() -> None:
    problem = Problem(Pattern(1, 48, 48, 1), 128, "fp32", "batch_last")
    weights, x = make_operands(problem, "cpu", seed=0)
    y = reference(problem, round_to_tf32(weights), round_to_tf32(x)).float()
    assert not check(problem, y, reference(problem, weights, x)).ok


def test_a_product_of_another_shape_or_type_is_wrong() -> None:
    problem = Problem(Pattern(1, 4, 4, 1), 8, "fp16", "batch_last")
    y, truth = answer(problem)
    for other in (y.t(), y.float(), y[:, :7]):
        result = check(problem, other, truth)
        assert not result.ok and "output shape and precision" in str(result.reason)


def test_twice_the_error_of_bmm_is_allowed_unless_bmm_is_broken() -> None:
    assert relative_limit("fp32") == 1e-6
    assert relative_limit("fp32", bmm_error=1e-7) == 1e-6
    assert relative_limit("fp32", bmm_error=1.5e-6) == 3e-6
    assert relative_limit("fp32", bmm_error=0.5) == 4e-6
    assert relative_limit("fp32", bmm_error=inf) == relative_limit("fp32", bmm_error=float("nan")) == 1e-6
    problem = Problem(Pattern(1, 4, 4, 1), 8, "fp32", "batch_last")
    y, truth = answer(problem)
    assert not check(problem, torch.zeros_like(y), truth, bmm_error=1.0).ok


def test_a_zero_product_must_be_zero() -> None:
    problem = Problem(Pattern(1, 4, 4, 1), 8, "fp32", "batch_last")
    zero = torch.zeros(problem.output_shape)
    assert check(problem, zero, zero.double()).ok
    assert not check(problem, zero + 1e-30, zero.double()).ok
