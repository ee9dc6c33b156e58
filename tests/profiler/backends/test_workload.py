"""A problem set up for real on the CPU: rotation, poisoned outputs, operands that must not change."""

import pytest
import torch

from kswatch.kernels.catalogue import implementation
from kswatch.kernels.implementation import Implementation
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from kswatch.profiler.backends.workload import TorchStage

PROBLEM = Problem(Pattern(2, 8, 16, 3), 32, "fp32", "batch_last")
SET_BYTES = PROBLEM.output_bytes + 4 * 32 * PROBLEM.pattern.columns


class Wrapped(Implementation):
    """`bmm`, with something done to its product or operands."""

    name = "wrapped"

    def __init__(self, spoil):
        self.spoil = spoil

    def unsupported(self, problem, device):
        return None

    def prepare(self, problem, weights):
        product = implementation("bmm").prepare(problem, weights)

        def spoiled(x, empty=torch.empty):
            return self.spoil(product(x), weights, x, empty)

        return spoiled


@pytest.fixture
def stage():
    opened = TorchStage(PROBLEM, torch.device("cpu"), seed=3, cache_bytes=5 * SET_BYTES)
    yield opened
    opened.close()


def test_a_right_product_is_right(stage):
    correctness = stage.check(stage.prepare(implementation("bmm")), None)
    assert correctness.ok
    assert 0 < correctness.relative_error < 1e-6


def test_an_output_that_is_never_written_is_seen(stage):
    work = stage.prepare(Wrapped(lambda y, weights, x, empty: empty(y.shape, dtype=y.dtype)))
    correctness = stage.check(work, None)
    assert not correctness.ok
    assert "NaN" in correctness.reason


@pytest.mark.parametrize(("which", "named"), [(0, "weights"), (1, "input")])
def test_operands_that_change_are_seen_and_put_back(stage, which, named):
    def spoil(y, weights, x, empty):
        (weights, x)[which].view(-1)[0] = -(weights, x)[which].view(-1)[0]
        return y

    work = stage.prepare(Wrapped(spoil))
    for _ in range(2):
        correctness = stage.check(work, None)
        assert correctness.reason == f"it changed its {named}"
    assert stage.check(stage.prepare(implementation("bmm")), None).ok


def test_input_sets_rotate_through_more_than_twice_the_cache(stage):
    seen = []
    work = stage.prepare(Wrapped(lambda y, weights, x, empty: seen.append(x.data_ptr()) or y))
    for turn in range(30):
        work.launch(turn)
    assert len(set(seen)) == 11
    assert seen[:11] == seen[11:22]


def test_the_arithmetic_settings_come_back_when_a_stage_is_closed():
    before = (torch.get_float32_matmul_precision(), torch.is_inference_mode_enabled())
    TorchStage(PROBLEM, torch.device("cpu"), seed=3).close()
    assert (torch.get_float32_matmul_precision(), torch.is_inference_mode_enabled()) == before
