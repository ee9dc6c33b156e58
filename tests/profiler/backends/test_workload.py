"""Workloads on the CPU: rotation, unwritten outputs, operands that must not change."""

from dataclasses import replace

import pytest
import torch

from kswatch.kernels.catalogue import implementation
from kswatch.kernels.fused.cpu_twin import twin
from kswatch.kernels.implementation import Implementation
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import LAYOUTS, Problem
from kswatch.profiler.backends.workload import TorchWorkload

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
def workload():
    opened = TorchWorkload(PROBLEM, torch.device("cpu"), seed=3, cache_bytes=5 * SET_BYTES)
    yield opened
    opened.close()


def test_a_correct_product_passes(workload):
    correctness = workload.check(workload.prepare(implementation("bmm")), None)
    assert correctness.ok
    assert 0 < correctness.relative_error < 1e-6


def test_an_unwritten_output_is_detected(workload):
    launchable = workload.prepare(Wrapped(lambda y, weights, x, empty: empty(y.shape, dtype=y.dtype)))
    correctness = workload.check(launchable, None)
    assert not correctness.ok
    assert "NaN" in correctness.reason


@pytest.mark.parametrize(("which", "named"), [(0, "weights"), (1, "input")])
def test_changed_operands_are_detected_and_restored(workload, which, named):
    def spoil(y, weights, x, empty):
        (weights, x)[which].view(-1)[0] = -(weights, x)[which].view(-1)[0]
        return y

    launchable = workload.prepare(Wrapped(spoil))
    for _ in range(2):
        correctness = workload.check(launchable, None)
        assert correctness.reason == f"it changed its {named}"
    assert workload.check(workload.prepare(implementation("bmm")), None).ok


def test_input_sets_together_exceed_twice_the_cache(workload):
    seen = []
    launchable = workload.prepare(Wrapped(lambda y, weights, x, empty: seen.append(x.data_ptr()) or y))
    for turn in range(30):
        launchable.launch(turn)
    assert len(set(seen)) == 11
    assert seen[:11] == seen[11:22]


def test_closing_a_workload_restores_the_arithmetic_settings():
    before = (torch.get_float32_matmul_precision(), torch.is_inference_mode_enabled())
    TorchWorkload(PROBLEM, torch.device("cpu"), seed=3).close()
    assert (torch.get_float32_matmul_precision(), torch.is_inference_mode_enabled()) == before


@pytest.mark.skipif(isinstance(twin.load(), str), reason=str(twin.load()))
@pytest.mark.parametrize("precision", ["fp8", "fp64", "complex64"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_timed_launches_in_other_precisions_are_checked_by_changed_elements(layout, precision):
    """Also where an output of an earlier launch comes again: its input has another element since."""
    workload = TorchWorkload(replace(PROBLEM, precision=precision, layout=layout), torch.device("cpu"), 3)

    class Stale(Implementation):
        name = "stale"
        unsupported = staticmethod(lambda problem, device: None)

        def prepare(self, problem, weights):
            product, kept = implementation("fused").prepare(problem, weights), []

            def stale(x, empty=torch.empty):
                kept[:] = kept or [product(x, empty=empty)]
                return kept[0].clone()

            return stale

    try:
        for tried, right in ((implementation("fused"), True), (Stale(), False)):
            launchable = workload.prepare(tried)
            assert workload.check(launchable, None).ok
            for turn in range(8):
                launchable.before(turn)
                launchable.launch(turn)
                launchable.after(turn)
            assert workload.check(launchable, None).ok == right
    finally:
        workload.close()
