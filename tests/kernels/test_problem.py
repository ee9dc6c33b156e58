import pytest

from kswatch.errors import UsageError
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem

PATTERN = Pattern(2, 3, 5, 4)


def test_shapes_follow_the_layout() -> None:
    first = Problem(PATTERN, 7, "fp32", "batch_first")
    last = Problem(PATTERN, 7, "fp32", "batch_last")
    assert (first.input_shape, first.output_shape) == ((7, 40), (7, 24))
    assert (last.input_shape, last.output_shape) == ((40, 7), (24, 7))


@pytest.mark.parametrize(("precision", "size"), [("fp32", 4), ("tf32", 4), ("bf16", 2), ("fp16", 2)])
def test_compulsory_bytes_are_inputs_weights_and_outputs_once(precision: str, size: int) -> None:
    problem = Problem(PATTERN, 7, precision, "batch_last")
    assert problem.compulsory_bytes == size * (7 * 40 + 120 + 7 * 24)
    assert problem.compulsory_bytes == problem.input_bytes + problem.output_bytes
    assert problem.flops == 2 * 7 * 120
    assert problem.intensity == problem.flops / problem.compulsory_bytes


def test_the_output_of_fp8_has_two_bytes_an_element() -> None:
    problem = Problem(PATTERN, 7, "fp8", "batch_first")
    assert (problem.input_bytes, problem.output_bytes) == (7 * 40 + 120, 2 * 7 * 24)
    assert (problem.element_bytes, problem.output_element_bytes) == (1, 2)


def test_intensity_tends_to_two_over_bytes_times_h() -> None:
    problem = Problem(Pattern(1, 64, 256, 16), 10**6, "fp16", "batch_last")
    assert problem.intensity == pytest.approx(2 / (2 * float(problem.pattern.h)), rel=1e-3)


@pytest.mark.parametrize("batch", [0, -1, 1.5, True])
def test_a_batch_below_1_or_no_integer_is_refused(batch: int) -> None:
    with pytest.raises(UsageError, match="batch .* is not an integer >= 1"):
        Problem(PATTERN, batch, "fp32", "batch_first")


def test_an_unknown_precision_or_layout_is_refused_with_the_choices() -> None:
    with pytest.raises(UsageError, match="fp128.*choose from fp32, tf32, bf16, fp16"):
        Problem(PATTERN, 1, "fp128", "batch_first")
    with pytest.raises(UsageError, match="channels_last.*choose from batch_first, batch_last"):
        Problem(PATTERN, 1, "fp32", "channels_last")
