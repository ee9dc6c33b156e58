"""fp64 and complex64: sizes, operations, limits, and the reference against exact sums."""

from __future__ import annotations

from fractions import Fraction
from math import sqrt

import pytest
import torch

from kswatch.declared.precisions import SUITE_PRECISIONS
from kswatch.kernels.catalogue import IMPLEMENTATIONS, RIVALS
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import LAYOUTS, Problem
from kswatch.kernels.reference import RELATIVE_LIMITS, check, make_operands, reference
from tests.kernels.products import poisoned, supported_products

pytestmark = pytest.mark.usefixtures("one_thread")

WIDE = ("fp64", "complex64")
CPU = torch.device("cpu")


@pytest.mark.parametrize(("precision", "flops"), [("fp32", 2), ("fp64", 2), ("complex64", 8)])
def test_a_complex_product_has_four_times_the_operations(precision: str, flops: int) -> None:
    problem = Problem(Pattern(2, 3, 5, 7), 11, precision, "batch_first")
    assert problem.flops == flops * 11 * 2 * 3 * 5 * 7
    assert problem.output_bytes == (4 if precision == "fp32" else 8) * 11 * 2 * 3 * 7


def exact_errors(problem: Problem) -> tuple[float, float]:
    """Relative errors of the reference and of `bmm`, against sums of fractions."""
    weights, x = make_operands(problem, CPU, seed=5)
    w_exact = [[Fraction(one) for one in row] for row in weights[0, :, :, 0].tolist()]
    x_exact = [[Fraction(one) for one in row] for row in x.tolist()]
    truth = [[sum(u * v for u, v in zip(w, row, strict=True)) for w in w_exact] for row in x_exact]
    norm = sqrt(sum(float(one) ** 2 for row in truth for one in row))
    found = []
    for y in (reference(problem, weights, x), supported_products(["bmm"], problem, weights)["bmm"](x)):
        pairs = (
            pair for own, row in zip(y.tolist(), truth, strict=True) for pair in zip(own, row, strict=True)
        )
        found.append(sqrt(sum(float(Fraction(own) - one) ** 2 for own, one in pairs)) / norm)
    return found[0], found[1]


@pytest.mark.parametrize("c", [16, 256, 1024])
def test_the_float64_reference_errs_far_less_than_the_limit_of_fp64(c: int) -> None:
    problem = Problem(Pattern(1, 8, c, 1), 8, "fp64", "batch_first")
    of_reference, of_bmm = exact_errors(problem)
    assert 0 < of_reference < 2e-16 * sqrt(c) < RELATIVE_LIMITS["fp64"]
    assert of_bmm < 2e-16 * sqrt(c)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("precision", WIDE)
@pytest.mark.parametrize("pattern", [(2, 16, 24, 1), (3, 8, 12, 5)], ids=str)
def test_every_baseline_of_torch_is_right_or_says_why_not(pattern, precision, layout, assert_product) -> None:
    problem = Problem(Pattern(*pattern), 32, precision, layout)
    weights, x = make_operands(problem, CPU, seed=1)
    names = [one.name for one in IMPLEMENTATIONS if one.name != "fused"]
    products = supported_products(names, problem, weights)
    assert set(products) >= {"bmm", "einsum", "dense", "bmm_blockdense", "csr"}
    for name, product in products.items():
        y = product(x, empty=poisoned)
        assert_product(y, weights, x, layout)
        assert check(problem, y, reference(problem, weights, x)).ok, name


@pytest.mark.parametrize("precision", WIDE)
def test_operands_use_all_digits_of_the_precision(precision: str) -> None:
    problem = Problem(Pattern(1, 256, 256, 1), 256, precision, "batch_first")
    weights, x = make_operands(problem, CPU, seed=2)
    for drawn, variance in ((weights, 1 / 256), (x, 1.0)):
        assert drawn.abs().square().mean().item() == pytest.approx(variance, rel=0.05)
    assert reference(problem, weights, x).abs().square().mean().item() == pytest.approx(1, rel=0.05)
    if precision == "fp64":
        assert not torch.equal(weights, weights.float().double())
    else:
        assert weights.imag.abs().min() > 0


def test_sums_in_fp32_are_wrong_in_fp64() -> None:
    problem = Problem(Pattern(1, 16, 16, 1), 32, "fp64", "batch_last")
    weights, x = make_operands(problem, CPU, seed=3)
    truth = reference(problem, weights, x)
    assert check(problem, truth.clone(), truth).ok
    assert not check(problem, truth.float().double(), truth).ok


def test_a_conjugate_a_swap_or_a_lost_imaginary_part_is_wrong_in_complex64() -> None:
    problem = Problem(Pattern(1, 16, 16, 1), 32, "complex64", "batch_first")
    weights, x = make_operands(problem, CPU, seed=3)
    truth = reference(problem, weights, x)
    assert check(problem, truth.to(torch.complex64), truth).ok
    wrong = (truth.conj(), truth * 1j, truth.real + 0j, reference(problem, weights.conj().resolve_conj(), x))
    for one in wrong:
        assert not check(problem, one.to(torch.complex64), truth).ok


def test_one_not_finite_part_is_found() -> None:
    problem = Problem(Pattern(1, 4, 4, 1), 4, "complex64", "batch_first")
    weights, x = make_operands(problem, CPU, seed=4)
    truth = reference(problem, weights, x)
    y = truth.to(torch.complex64)
    torch.view_as_real(y)[1, 2, 1] = torch.nan
    assert check(problem, y, truth).reason == "1 of 16 elements are NaN or Inf"


@pytest.mark.parametrize("precision", WIDE)
def test_rivals_that_were_not_tried_say_so(precision: str) -> None:
    problem = Problem(Pattern(1, 64, 64, 1), 64, precision, "batch_last")
    for rival in RIVALS:
        if (rival.name, precision) != ("lazylinop", "complex64"):
            assert rival.limitation(problem), rival.name  # type: ignore[attr-defined]
        usual = Problem(problem.pattern, 64, "fp32", "batch_last")
        assert "fp32" in SUITE_PRECISIONS and rival.limitation(usual) is None  # type: ignore[attr-defined]
