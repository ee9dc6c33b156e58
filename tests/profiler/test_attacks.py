"""Attacks on the benchmark: each cheating product meets the real loop, timer and checks on this CPU.

The list, with what is not caught, is `docs/guides/attacks_on_the_benchmark.md`.
"""

from __future__ import annotations

import gc
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from kswatch.kernels.catalogue import implementation
from kswatch.kernels.implementation import Implementation
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from kswatch.profiler.backends.base import CpuBackend
from kswatch.profiler.devices.discovery import cpu_target
from kswatch.profiler.measurement.loop import measure_problem
from kswatch.profiler.probes import timing
from kswatch.profiler.settings import MeasureSettings

PROBLEM = Problem(Pattern(2, 48, 64, 2), 512, "fp32", "batch_first")
QUICK = MeasureSettings(
    cell_cap_ms=40.0, problem_cap_ms=120.0, warm_up_ms=4.0, visit_ms=2.0, min_samples=5, min_timed_ms=4.0
)
SETS_BYTES = 4 << 20
"""Stands in for the last cache: the operands rotate through a few sets, so that they take little time."""

Attack = Callable[..., torch.Tensor]


class Cheating(Implementation):
    """An implementation whose products are made by an attack from an honest product."""

    name = "cheating"

    def __init__(self, attack: Callable[..., Attack]) -> None:
        self._attack = attack

    def unsupported(self, problem: Problem, device: torch.device) -> str | None:
        return None

    def prepare(self, problem: Problem, weights: torch.Tensor) -> Attack:
        honest = implementation("bmm").prepare(problem, weights)
        return self._attack(honest, weights)


@pytest.fixture(scope="module")
def backend():
    made = CpuBackend(cpu_target())
    made.cache_bytes = SETS_BYTES
    torch.set_num_threads(1)  # on a busy machine tiny products would wait for a second thread
    gc.collect()
    gc.freeze()  # each problem collects garbage; what the test session holds is none
    yield made
    gc.unfreeze()


@pytest.fixture
def measured(backend):
    """The records of an attack and of `bmm`, measured together."""

    def run(attack, problem=PROBLEM, settings=QUICK):
        cells = (Cheating(attack), implementation("bmm"))
        return measure_problem(problem, cells, cpu_target(), settings, backend=backend)

    return run


@pytest.fixture
def assert_refused(measured):
    """The attack is incorrect for this reason, and the honest cell beside it keeps its number."""

    def check(attack, reason, problem=PROBLEM):
        cheat, honest = measured(attack, problem)
        assert (cheat.status, cheat.latency_ms) == ("incorrect", None), cheat
        assert reason in cheat.reason
        assert honest.status in ("ok", "not_converged"), honest

    return check


OF_INPUTS = "outputs of timed launches are not those of their inputs"


def test_an_honest_product_passes_in_each_layout_and_precision(measured):
    for layout in ("batch_first", "batch_last"):
        for precision in ("fp32", "bf16"):
            problem = Problem(PROBLEM.pattern, 64, precision, layout)
            for record in measured(lambda honest, weights: honest, problem):
                assert record.status in ("ok", "not_converged"), record.reason


def test_a_batch_of_one_passes(measured):
    problem = Problem(PROBLEM.pattern, 1, "fp32", "batch_last")
    assert {record.status for record in measured(lambda honest, weights: honest, problem)} <= {
        "ok",
        "not_converged",
    }


def cached(key):
    """An attack that keeps its outputs by a key of the input."""

    def attack(honest, weights):
        outputs = {}

        def product(x, empty=torch.empty):
            found = outputs.get(key(x))
            if found is None:
                found = outputs[key(x)] = honest(x, empty=empty)
            return found

        return product

    return attack


def test_a_cached_output_is_refused(assert_refused):
    assert_refused(cached(lambda x: None), OF_INPUTS)


def test_an_output_cached_by_address_is_refused(assert_refused):
    assert_refused(cached(lambda x: x.data_ptr()), OF_INPUTS)


def test_a_result_reused_for_equal_inputs_is_refused(assert_refused):
    assert_refused(cached(lambda x: tuple(x.view(-1)[:: x.numel() // 16].tolist())), OF_INPUTS)


def test_a_whole_output_replayed_into_new_memory_is_refused(assert_refused):
    def attack(honest, weights):
        first = []

        def product(x, empty=torch.empty):
            if not first:
                first.append(honest(x))
            return empty(first[0].shape).copy_(first[0])

        return product

    assert_refused(attack, OF_INPUTS)


def test_an_output_of_the_call_before_is_refused(assert_refused):
    def attack(honest, weights):
        before = []

        def product(x, empty=torch.empty):
            before.append(honest(x, empty=empty))
            return before.pop(0) if len(before) > 1 else before[0]

        return product

    assert_refused(attack, "relative error")


def test_nothing_computed_where_the_output_is_not_poisoned_is_refused(assert_refused):
    def attack(honest, weights):
        def product(x, empty=torch.empty):
            return honest(x, empty=empty) if empty is not torch.empty else torch.empty(PROBLEM.output_shape)

        return product

    assert_refused(attack, OF_INPUTS)


def test_work_moved_to_another_thread_is_refused(assert_refused):
    def attack(honest, weights):
        threads = []

        def product(x, empty=torch.empty):
            if empty is not torch.empty:
                return honest(x, empty=empty)
            y = torch.empty(PROBLEM.output_shape)
            for thread in threads:
                thread.join()
            threads[:] = [threading.Thread(target=fill, args=(y, x))]
            threads[0].start()
            return y

        def fill(y, x):
            with torch.inference_mode():
                y.copy_(honest(x))

        return product

    assert_refused(attack, OF_INPUTS)


class Lazy(torch.Tensor):
    """A tensor that is computed when something reads it."""

    pending: Callable[[], torch.Tensor]

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunctionSubclass():
            found = [one.pending() if isinstance(one, Lazy) else one for one in args]
            return function(*found, **(kwargs or {}))


def test_an_output_that_computes_when_it_is_read_is_refused(assert_refused):
    def attack(honest, weights):
        def product(x, empty=torch.empty):
            y = torch.empty(PROBLEM.output_shape).as_subclass(Lazy)
            y.pending = lambda: honest(x)
            return y

        return product

    assert_refused(attack, "it returns a Lazy, not a plain tensor")


def test_reduced_precision_is_refused(assert_refused):
    def attack(honest, weights):
        narrow = implementation("bmm").prepare(
            Problem(PROBLEM.pattern, PROBLEM.batch, "bf16", PROBLEM.layout), weights.bfloat16()
        )
        return lambda x, empty=torch.empty: narrow(x.bfloat16()).float()

    assert_refused(attack, "relative error")


def test_precision_reduced_in_timed_launches_alone_is_refused(assert_refused):
    def attack(honest, weights):
        def product(x, empty=torch.empty):
            y = honest(x, empty=empty)
            return y if empty is not torch.empty else y.bfloat16().float()

        return product

    assert_refused(attack, OF_INPUTS)


def test_a_skipped_tail_is_refused(assert_refused):
    def attack(honest, weights):
        def product(x, empty=torch.empty):
            y = empty(PROBLEM.output_shape)
            y[:-1] = honest(x)[:-1]
            return y

        return product

    assert_refused(attack, "NaN")


def test_a_tail_skipped_in_timed_launches_alone_is_refused(assert_refused):
    def attack(honest, weights):
        def product(x, empty=torch.empty):
            y = honest(x, empty=empty)
            if empty is torch.empty:
                y[-1] = 0
            return y

        return product

    assert_refused(attack, OF_INPUTS)


def test_a_replaced_clock_is_refused_and_put_back(assert_refused):
    original = time.perf_counter_ns

    def attack(honest, weights):
        begin_ns = original()
        time.perf_counter_ns = lambda: begin_ns + (original() - begin_ns) // 100
        return honest

    assert_refused(attack, "it replaced time.perf_counter_ns")
    assert time.perf_counter_ns is original


def test_a_replaced_timer_is_refused_and_put_back(assert_refused):
    original = timing.CpuTimer._sample_ms

    def attack(honest, weights):
        timing.CpuTimer._sample_ms = lambda *arguments: original(*arguments) / 100
        return honest

    assert_refused(attack, "it replaced CpuTimer._sample_ms")
    assert timing.CpuTimer._sample_ms is original


def test_the_reference_found_in_memory_is_refused(assert_refused):
    def attack(honest, weights):
        def product(x, empty=torch.empty):
            found = [
                one
                for one in gc.get_objects()
                if type(one) is torch.Tensor
                and one.dtype == torch.float64
                and tuple(one.shape) == PROBLEM.output_shape
            ]
            answers.append(len(found))
            return found[0].float() if found else honest(x, empty=empty)

        return product

    answers: list[int] = []
    assert_refused(attack, OF_INPUTS)
    assert any(answers), "the attack found no reference, so it proves nothing"


def test_changed_inputs_are_refused(assert_refused):
    def attack(honest, weights):
        def product(x, empty=torch.empty):
            if empty is torch.empty:
                x.zero_()
            return honest(x, empty=empty)

        return product

    assert_refused(attack, "it changed its input")


def test_threads_taken_from_the_others_are_refused(assert_refused):
    threads = torch.get_num_threads()

    def attack(honest, weights):
        def product(x, empty=torch.empty):
            y = honest(x, empty=empty)
            if empty is torch.empty:
                torch.set_num_threads(threads + 1)
            return y

        return product

    assert_refused(attack, "it changed the number of torch's threads")
    assert torch.get_num_threads() == threads


def test_time_spent_in_timed_calls_is_charged(measured):
    def attack(honest, weights):
        def product(x, empty=torch.empty):
            y = honest(x, empty=empty)
            for _ in range(3):
                y = honest(x, empty=empty)
            return y

        return product

    cheat, honest = measured(attack)
    assert cheat.status in ("ok", "not_converged")
    assert cheat.latency_ms > 2 * honest.latency_ms


def test_the_guide_names_every_attack_and_no_other():
    guide = Path(__file__).parents[2] / "docs" / "guides" / "attacks_on_the_benchmark.md"
    named = set(re.findall(r"`(test_\w+)`", guide.read_text(encoding="utf-8")))
    here = {name for name in globals() if name.startswith("test_")}
    assert named == here - {"test_the_guide_names_every_attack_and_no_other"}
