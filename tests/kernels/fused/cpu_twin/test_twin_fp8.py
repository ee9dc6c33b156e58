"""fp8 by the CPU twin: operands and quantised weights are exact in bf16, in which it multiplies."""

import pytest
import torch

from kswatch.errors import UsageError
from kswatch.kernels.catalogue import implementation
from kswatch.kernels.fused.cpu_twin import twin
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import LAYOUTS, Problem
from kswatch.kernels.reference import check, make_operands, reference, round_to_fp8
from tests.kernels.products import poisoned

pytestmark = [
    pytest.mark.skipif(isinstance(twin.load(), str), reason=str(twin.load())),
    pytest.mark.usefixtures("one_thread"),
]
FUSED = implementation("fused")
PATTERNS = [((1, 1, 1, 1), 1), ((2, 20, 24, 1), 37), ((1, 33, 17, 3), 40), ((2, 24, 40, 12), 104)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("pattern", "batch"), PATTERNS)
def test_a_product_of_fp8_is_right_in_either_format_of_x(pattern, batch, layout):
    problem = Problem(Pattern(*pattern), batch, "fp8", layout)
    weights, x = make_operands(problem, "cpu", seed=1)
    product = FUSED.prepare(problem, weights)
    for operand in (x, (x.float() * 100).to(torch.float8_e5m2)):
        y = product(operand, empty=poisoned)
        found = check(problem, y, reference(problem, weights, operand))
        assert y.dtype == torch.bfloat16 and found.ok, found.reason


@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_of_fp8_are_quantised_when_they_are_prepared_by_the_rows_of_the_product(layout):
    problem = Problem(Pattern(2, 6, 10, 3), 9, "fp8", layout)
    _, x = make_operands(problem, "cpu", seed=1)
    weights = (torch.randn(2, 6, 10, 3) * 2.0 ** torch.arange(6).view(1, 6, 1, 1)).bfloat16()
    of_transpose = weights.transpose(1, 2).contiguous()
    truth = reference(problem, weights, x)
    unrounded = reference(Problem(problem.pattern, 9, "bf16", layout), weights, x)
    packed = [twin.lay_out(problem, weights), twin.lay_out(problem, of_transpose, transposed=True)]
    products = [twin.product(problem, each)(x) for each in packed]
    products += [twin.unpacked_product(problem)(weights, x)]
    products += [twin.unpacked_product(problem, transposed=True)(of_transpose, x)]
    assert all(check(problem, y, truth).ok for y in products)
    assert not any(check(problem, y, unrounded).ok for y in products)
    assert not torch.equal(round_to_fp8(weights).bfloat16(), weights)


def test_an_input_of_another_type_than_fp8_is_refused():
    problem = Problem(Pattern(1, 4, 4, 1), 3, "fp8", "batch_first")
    weights, x = make_operands(problem, "cpu", seed=1)
    product = FUSED.prepare(problem, weights)
    with pytest.raises(UsageError, match="x is torch.bfloat16; this product takes torch.float8_e4m3fn"):
        product(x.bfloat16())
    with pytest.raises(UsageError, match="weights is torch.float32; this product takes torch.bfloat16"):
        FUSED.prepare(problem, weights.float())


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
@pytest.mark.parametrize("count", [256, 66_000])
def test_every_number_of_eight_bits_is_widened_exactly(dtype, count):
    """All 256, infinities and NaN included, as torch converts them; also by several threads, with a tail."""
    x = (torch.arange(count) % 256).to(torch.uint8).view(dtype).view(1, count)
    problem = Problem(Pattern(1, 1, count, 1), 1, "fp8", "batch_first")
    widened, expected = twin._input_check(problem)(x), x.to(torch.bfloat16)
    assert torch.equal(widened.isnan(), expected.isnan()) and bool(widened.isnan().any())
    there = ~expected.isnan()
    assert torch.equal(widened[there].view(torch.int16), expected[there].view(torch.int16))
