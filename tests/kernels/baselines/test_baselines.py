import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kswatch.errors import UnsupportedError
from kswatch.kernels.baselines.base import Baseline
from kswatch.kernels.catalogue import IMPLEMENTATIONS, implementation
from kswatch.kernels.implementation import Product
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.precision import precision_scope
from kswatch.kernels.problem import LAYOUTS, Problem
from kswatch.kernels.reference import make_operands
from tests.kernels.products import poisoned, supported_products

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
BASELINES = [candidate.name for candidate in IMPLEMENTATIONS if candidate.name != "fused"]
PATTERNS = [
    (1, 1, 1, 1),
    (1, 5, 3, 1),
    (1, 7, 1, 1),
    (1, 64, 8, 1),
    (6, 16, 16, 1),
    (3, 4, 8, 1),
    (1, 7, 5, 3),
    (1, 32, 16, 4),
    (2, 3, 5, 4),
    (5, 4, 6, 2),
    (2, 24, 48, 2),
    (3, 1, 4, 5),
]


def may_be_unsupported(name: str, problem: Problem) -> bool:
    if name == "bmm_strided":
        return problem.layout == "batch_first" and problem.pattern.d > 1
    return name in {"csr", "bsr"} and problem.precision != "fp32"


def computed(name: str, problem: Problem) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None:
    """(y, weights, x), y allocated full of NaN; None where the method correctly refuses the problem."""
    weights, x = make_operands(problem, CPU, seed=problem.batch)
    before = weights.clone(), x.clone()
    products = supported_products([name], problem, weights)
    if not products:
        assert may_be_unsupported(name, problem)
        return None
    with precision_scope(problem):
        y = products[name](x, empty=poisoned)
    assert torch.equal(weights, before[0])
    assert torch.equal(x, before[1])
    return y, weights, x


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_gives_the_product_of_the_definition(
    name: str, precision: str, layout: str, assert_product
) -> None:
    for pattern in PATTERNS:
        for batch in (1, 7, 64):
            problem = Problem(Pattern(*pattern), batch, precision, layout)
            result = computed(name, problem)
            if result:
                y, weights, x = result
                assert_product(y, weights, x, layout)


@given(
    name=st.sampled_from(BASELINES),
    pattern=st.tuples(*[st.integers(1, 6)] * 4),
    batch=st.integers(1, 12),
    precision=st.sampled_from(["fp32", "bf16", "fp16"]),
    layout=st.sampled_from(LAYOUTS),
)
@settings(derandomize=True, max_examples=200, deadline=None)
def test_any_small_problem_is_right_or_refused(
    assert_product, name: str, pattern: tuple[int, int, int, int], batch: int, precision: str, layout: str
) -> None:
    result = computed(name, Problem(Pattern(*pattern), batch, precision, layout))
    if result:
        assert_product(*result, layout)


@pytest.mark.parametrize("name", BASELINES)
def test_tf32_is_unsupported_on_a_cpu_with_the_reason(name: str) -> None:
    problem = Problem(Pattern(2, 16, 16, 1), 8, "tf32", "batch_last")
    reason = implementation(name).unsupported(problem, CPU)
    assert reason is not None and "tensor cores" in reason
    with pytest.raises(UnsupportedError, match=f"{name} cannot compute .*tf32.* on cpu"):
        implementation(name).prepare(problem, torch.zeros(2, 16, 16, 1))


def test_bmm_strided_needs_a_view_that_batch_first_has_at_d_1_only() -> None:
    strided = implementation("bmm_strided")
    for layout, d, supported in [
        ("batch_first", 2, False),
        ("batch_first", 1, True),
        ("batch_last", 2, True),
    ]:
        problem = Problem(Pattern(2, 16, 16, d), 8, "fp32", layout)
        assert (strided.unsupported(problem, CPU) is None) == supported


@pytest.mark.parametrize("pattern", [(1, 16, 8, 3), (4, 16, 8, 2), (2, 8, 16, 5), (3, 8, 8, 1)])
def test_bmm_strided_copies_no_activations_and_gives_the_bits_of_bmm(pattern: tuple[int, ...]) -> None:
    problem = Problem(Pattern(*pattern), 32, "fp32", "batch_last")
    weights, x = make_operands(problem, CPU, seed=0)
    strided = implementation("bmm_strided").prepare(problem, weights)
    with torch.profiler.profile() as profile:
        y = strided(x)
    assert not {event.key for event in profile.key_averages()} & {
        "aten::copy_",
        "aten::clone",
        "aten::contiguous",
    }
    launches = next(event.count for event in profile.key_averages() if event.key == "aten::bmm")
    assert launches == min(problem.pattern.a, problem.pattern.d)
    assert torch.equal(y, implementation("bmm").prepare(problem, weights)(x))


@pytest.mark.parametrize("name", BASELINES)
def test_weights_are_read_only_at_prepare(name: str) -> None:
    problem = Problem(Pattern(2, 4, 4, 3), 8, "fp32", "batch_last")
    weights, x = make_operands(problem, CPU, seed=0)
    product = implementation(name).prepare(problem, weights)
    before = product(x)
    weights.zero_()
    assert torch.equal(product(x), before)


def test_extra_operations_of_a_method_are_counted() -> None:
    problem = Problem(Pattern(2, 3, 5, 4), 7, "fp32", "batch_last")
    assert implementation("bmm").flops(problem) == problem.flops
    assert implementation("bmm_blockdense").flops(problem) == 4 * problem.flops
    assert implementation("dense").flops(problem) == 2 * 7 * 24 * 40 == 8 * problem.flops
    assert implementation("dense").memory_bytes(problem) >= problem.compulsory_bytes + 4 * 24 * 40
    assert (
        implementation("bmm_blockdense").memory_bytes(problem) >= problem.compulsory_bytes + 4 * 2 * 12 * 20
    )
    assert implementation("csr").memory_bytes(problem) >= problem.compulsory_bytes + 4 * 120
    assert implementation("bmm").memory_bytes(problem) == 2 * problem.compulsory_bytes
    assert implementation("bmm_strided").memory_bytes(problem) == problem.compulsory_bytes + 4 * 120


class Refused(Baseline):
    name = "refused"

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.attempts = 0

    def build(self, problem: Problem, weights: torch.Tensor) -> Product:
        self.attempts += 1
        raise self.error


def test_an_error_of_torch_is_reported_as_unsupported_and_cached() -> None:
    refused = Refused(RuntimeError("no kernel for 'Half'\nException raised from somewhere"))
    for batch in (8, 9):
        problem = Problem(Pattern(2, 16, 16, 1), batch, "fp16", "batch_last")
        reason = refused.unsupported(problem, CPU)
        assert reason is not None and reason.endswith("refuses fp16 on cpu: no kernel for 'Half'")
    assert refused.attempts == 1


def test_out_of_memory_is_not_reported_as_unsupported() -> None:
    refused = Refused(torch.OutOfMemoryError("out of memory"))
    with pytest.raises(torch.OutOfMemoryError):
        refused.unsupported(Problem(Pattern(2, 16, 16, 1), 8, "fp16", "batch_last"), CPU)
