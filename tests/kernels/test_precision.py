from collections.abc import Iterator

import pytest
import torch

from kswatch.kernels.pattern import Pattern
from kswatch.kernels.precision import allows_tf32, precision_scope, unsupported_precision
from kswatch.kernels.problem import Problem

CPU = torch.device("cpu")
MATMUL = torch.backends.cuda.matmul


def problem(precision: str) -> Problem:
    return Problem(Pattern(1, 2, 2, 1), 1, precision, "batch_last")


def settings() -> dict[str, object]:
    names = [
        "allow_fp16_reduced_precision_reduction",
        "allow_fp16_reduced_precision_reduction_split_k",
        "allow_bf16_reduced_precision_reduction",
        "allow_fp16_accumulation",
        "fp32_precision",
    ]
    found = {name: getattr(MATMUL, name, None) for name in names}
    try:
        return {**found, "older": torch.get_float32_matmul_precision()}
    except RuntimeError:
        return {**found, "older": "disagrees with the newer"}


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    before = settings()
    yield
    torch.set_float32_matmul_precision(str(before["older"]))
    if before["fp32_precision"] is not None:
        MATMUL.fp32_precision = before["fp32_precision"]
    MATMUL.allow_fp16_reduced_precision_reduction = before["allow_fp16_reduced_precision_reduction"]


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "fp16"])
def test_tf32_is_on_only_for_tf32_and_half_precision_sums_are_off(precision: str) -> None:
    with precision_scope(problem(precision)):
        assert MATMUL.allow_tf32 == (precision == "tf32")
        assert not MATMUL.allow_fp16_reduced_precision_reduction
        assert not MATMUL.allow_bf16_reduced_precision_reduction
        assert not getattr(MATMUL, "allow_fp16_accumulation", False)


@pytest.mark.parametrize("older", ["highest", "high", "medium"])
@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_the_previous_settings_are_restored_even_after_an_error(older: str, precision: str) -> None:
    torch.set_float32_matmul_precision(older)
    MATMUL.allow_fp16_reduced_precision_reduction = (
        (False, False) if hasattr(MATMUL, "allow_fp16_reduced_precision_reduction_split_k") else False
    )
    before = settings()
    with pytest.raises(ZeroDivisionError), precision_scope(problem(precision)):
        raise ZeroDivisionError
    assert settings() == before


@pytest.mark.skipif(not hasattr(MATMUL, "fp32_precision"), reason="this torch has no newer precision switch")
@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_torchs_newer_switch_is_restored(precision: str) -> None:
    MATMUL.fp32_precision = "tf32"
    with precision_scope(problem(precision)):
        assert MATMUL.fp32_precision == ("tf32" if precision == "tf32" else "ieee")
    assert MATMUL.fp32_precision == "tf32"


def test_the_cpu_has_every_precision_but_tf32() -> None:
    assert [unsupported_precision(name, CPU) for name in ("fp32", "bf16", "fp16")] == [None] * 3
    assert "tensor cores" in str(unsupported_precision("tf32", CPU))
    torch.set_float32_matmul_precision("high")
    assert not allows_tf32(CPU)
