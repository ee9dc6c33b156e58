"""fp8 by stock torch: `torch._scaled_mm` where it applies, and a reason everywhere else."""

from __future__ import annotations

import pytest
import torch

from kswatch.declared.implementations import names
from kswatch.kernels.catalogue import IMPLEMENTATIONS, implementation
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import LAYOUTS, Problem
from kswatch.kernels.reference import check, make_operands, reference
from tests.kernels.products import poisoned

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
BASELINES = [candidate.name for candidate in IMPLEMENTATIONS if candidate.name != "fused"]


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_computes_fp8_or_says_why_not(name):
    computed = set()
    for pattern in ((1, 16, 32, 1), (3, 48, 16, 1), (1, 16, 16, 2), (2, 20, 24, 1)):
        for layout in LAYOUTS:
            problem = Problem(Pattern(*pattern), 24, "fp8", layout)
            reason = implementation(name).unsupported(problem, CPU)
            if reason is not None:
                assert "fp8" in reason or "torch._scaled_mm" in reason
                continue
            weights, x = make_operands(problem, CPU, seed=1)
            y = implementation(name).prepare(problem, weights)(x, empty=poisoned)
            found = check(problem, y, reference(problem, weights, x))
            assert found.ok, found.reason
            computed.add((pattern, layout))
    allowed = {"dense": 3, "bmm_strided": 2}.get(name, 0)
    assert len(computed) in (0, allowed)  # 0 where this torch has no product of fp8 on the CPU


@pytest.mark.parametrize(
    ("name", "pattern", "layout", "reason"),
    [
        ("dense", (2, 16, 16, 2), "batch_last", "reads X by samples, as in batch_first"),
        ("dense", (1, 20, 16, 2), "batch_first", "multiples of 16, not a matrix of 40x32"),
        ("bmm_strided", (1, 16, 16, 2), "batch_first", "contiguous rows, so d = 1"),
        ("bmm_strided", (3, 16, 24, 1), "batch_first", "multiples of 16, not a matrix of 16x24"),
        ("bmm", (1, 16, 16, 1), "batch_first", "torch._scaled_mm alone"),
    ],
)
def test_the_reason_names_the_limit_of_fp8(name, pattern, layout, reason):
    problem = Problem(Pattern(*pattern), 8, "fp8", layout)
    assert reason in str(implementation(name).unsupported(problem, CPU))


def test_no_rival_computes_fp8():
    problem = Problem(Pattern(1, 16, 16, 1), 8, "fp8", "batch_last")
    for name in names("rival"):
        assert implementation(name).unsupported(problem, CPU)
