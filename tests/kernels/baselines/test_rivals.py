"""The rivals: right in all that they claim, refused with a reason elsewhere.

`cutensor` is computed here by a simulation of nvmath's interface; Triton by its interpreter, where it is
installed; `lazylinop` where it and an OpenCL for this CPU are. The compiled forms are checked uncompiled,
and once as compiled (slow).
"""

import importlib.util
import sys
from dataclasses import replace
from itertools import product
from types import ModuleType, SimpleNamespace

import pytest
import torch

from kswatch.errors import UnsupportedError
from kswatch.kernels.baselines import compiled, cutensor, lazylinop, triton
from kswatch.kernels.baselines.lazylinop import usable_pocl
from kswatch.kernels.baselines.rival import quickest, sample_input
from kswatch.kernels.catalogue import RIVALS, implementation
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.precision import precision_scope
from kswatch.kernels.problem import LAYOUTS, Problem
from kswatch.kernels.reference import make_operands
from tests.kernels.products import poisoned

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
PATTERNS = [(1, 1, 1, 1), (6, 16, 16, 1), (1, 7, 5, 3), (2, 24, 8, 2), (3, 5, 4, 5)]
PRECISIONS = ("fp32", "bf16", "fp16")


def build(rival, problem: Problem) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(y, weights, x) without asking whether the problem is supported on this device."""
    weights, x = make_operands(problem, CPU, seed=problem.batch)
    before = weights.clone(), x.clone()
    with torch.inference_mode(), precision_scope(problem):
        y = rival.build(problem, weights)(x, empty=poisoned)
    assert torch.equal(weights, before[0]) and torch.equal(x, before[1])
    return y, weights, x


@pytest.mark.parametrize("rival", RIVALS, ids=lambda rival: rival.name)
def test_a_rival_that_is_not_installed_is_refused_with_the_command(rival, monkeypatch) -> None:
    reason = "not installed: pip install -c constraints.txt 'kswatch[rivals]'"
    monkeypatch.setattr("kswatch.kernels.baselines.rival.missing_libraries", lambda *about: reason)
    problem = Problem(Pattern(2, 16, 16, 1), 8, "fp32", "batch_last")
    assert rival.unsupported(problem, CPU) == reason
    with pytest.raises(UnsupportedError, match=f"{rival.name} cannot compute .*not installed"):
        rival.prepare(problem, torch.zeros(2, 16, 16, 1))


@pytest.mark.parametrize("name", ["cutensor", "triton"])
def test_a_rival_for_gpus_is_refused_on_a_cpu(name: str) -> None:
    reason = implementation(name).unsupported(Problem(Pattern(2, 16, 16, 1), 8, "fp32", "batch_last"), CPU)
    assert reason is not None and reason.endswith("computes on NVIDIA GPUs only, not on the cpu")


def test_the_quickest_product_is_chosen_and_a_single_one_without_a_call() -> None:
    x = torch.ones(4)
    calls = []

    def slow(x: torch.Tensor) -> None:
        calls.append("slow")
        for _ in range(2_000):
            x.sum()

    def quick(x: torch.Tensor) -> None:
        calls.append("quick")

    assert quickest({"slow": slow, "quick": quick}, x) == "quick"
    calls.clear()
    assert quickest({"slow": slow}, x) == "slow"
    assert calls == []


@pytest.fixture
def eager_compiler(monkeypatch):
    """torch.compile that compiles nothing, and keeps what it was asked for."""
    asked = []

    def eager(form, **options):
        asked.append(options)
        return form

    monkeypatch.setattr(torch, "compile", eager)
    monkeypatch.setattr(compiled, "_compiler_settings", torch.no_grad)
    return asked


@pytest.mark.parametrize("form", ["einsum", "bmm"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_both_compiled_forms_give_the_product(
    form: str, layout: str, eager_compiler, monkeypatch, assert_product
) -> None:
    monkeypatch.setattr(compiled, "quickest", lambda products, x: form)
    rival = compiled.Compiled()
    for pattern in PATTERNS:
        for precision in PRECISIONS:
            problem = Problem(Pattern(*pattern), 7, precision, layout)
            assert_product(*build(rival, problem), layout)
            assert rival.tile(problem, CPU) == form
            assert rival.compile_ms(problem, CPU) > 0
    assert {(each["mode"], each["fullgraph"], each["dynamic"]) for each in eager_compiler} == {
        ("max-autotune", True, False)
    }


def test_nothing_is_known_of_a_problem_that_was_not_compiled() -> None:
    problem = Problem(Pattern(2, 16, 16, 1), 8, "fp32", "batch_last")
    assert compiled.Compiled().compile_ms(problem, CPU) is None
    assert compiled.Compiled().tile(problem, CPU) is None


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_compiled_product_is_right_and_compiled_once(layout: str, assert_product) -> None:
    rival = compiled.Compiled()
    problem = Problem(Pattern(2, 24, 8, 2), 64, "fp32", layout)
    assert rival.unsupported(problem, CPU) is None
    assert_product(*build(rival, problem), layout)
    first_ms = rival.compile_ms(problem, CPU)
    build(rival, problem)
    assert rival.compile_ms(problem, CPU) > first_ms / 5, "an earlier compilation was reused"


class SimulatedContraction:
    """`nvmath.tensor.BinaryContraction` on the CPU: the same life, computed by `torch.einsum`."""

    made: list["SimulatedContraction"] = []

    def __init__(self, equation, a, b, out, options) -> None:
        self.equation, self.a, self.b, self.out, self.arithmetic = (
            equation,
            a,
            b,
            out,
            options["compute_type"],
        )
        self.plan_preference = SimpleNamespace(algo=None)
        self.planned = self.freed = False
        self.made.append(self)

    def plan(self) -> None:
        if self.plan_preference.algo == "TTGT":
            raise Exception("CUTENSOR_STATUS_NOT_SUPPORTED")
        self.planned = True

    def reset_operands_unchecked(self, a, out) -> None:
        assert (a.shape, a.stride(), out.shape) == (self.a.shape, self.a.stride(), self.out.shape)
        self.a, self.out = a, out

    def execute(self) -> None:
        assert self.planned and not self.freed
        noise = 1 + 2e-6 * (self.arithmetic == "3XTF32")
        self.out.copy_(noise * torch.einsum(self.equation, self.a.float(), self.b.float()))

    def free(self) -> None:
        self.freed = True


@pytest.fixture
def simulated_nvmath(monkeypatch):
    arithmetics = {name for names in cutensor.ARITHMETICS.values() for name in names}
    tensor = SimpleNamespace(
        BinaryContraction=SimulatedContraction,
        ComputeDesc=SimpleNamespace(**{f"COMPUTE_{name}": lambda name=name: name for name in arithmetics}),
        ContractionAlgo=SimpleNamespace(**{name: name for name in cutensor.ALGORITHMS}),
    )
    module = ModuleType("nvmath")
    module.tensor = tensor
    monkeypatch.setitem(sys.modules, "nvmath", module)
    monkeypatch.setattr(SimulatedContraction, "made", [])
    return SimulatedContraction.made


@pytest.mark.parametrize("layout", LAYOUTS)
def test_cutensor_contracts_where_the_operands_lie(
    layout: str, simulated_nvmath, monkeypatch, assert_product
) -> None:
    monkeypatch.setattr(cutensor, "quickest", lambda products, x: next(iter(products)))
    rival = cutensor.Cutensor()
    for pattern in PATTERNS:
        for precision in PRECISIONS:
            problem = Problem(Pattern(*pattern), 7, precision, layout)
            assert_product(*build(rival, problem), layout)


def test_an_arithmetic_of_cutensor_beyond_the_limit_is_not_kept_and_other_plans_are_freed(
    simulated_nvmath,
) -> None:
    rival = cutensor.Cutensor()
    problem = Problem(Pattern(2, 24, 8, 2), 7, "fp32", "batch_first")
    build(rival, problem)
    assert rival.tile(problem, CPU).startswith("32F ")
    kept = [one for one in simulated_nvmath if not one.freed]
    assert [one.arithmetic for one in kept] == ["32F"]
    assert {one.plan_preference.algo for one in simulated_nvmath} == set(cutensor.ALGORITHMS)


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
def test_the_triton_kernel_is_right_in_its_interpreter(monkeypatch, assert_product) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(triton, "TILES", {"16x64x64": triton.TILES["16x64x64"]})
    triton._kernel.cache_clear()
    # bf16 is left out: the interpreter multiplies the bits of bfloat16 as integers.
    for pattern in ((2, 3, 5, 4), (1, 70, 80, 1), (3, 17, 33, 2)):
        for precision in ("fp32", "fp16"):
            for layout in LAYOUTS:
                problem = Problem(Pattern(*pattern), 19, precision, layout)
                assert_product(*build(triton.Triton(), problem), layout)
    triton._kernel.cache_clear()


def test_lazylinop_claims_fp32_in_batch_last_and_flags_its_copies() -> None:
    rival = lazylinop.Lazylinop()
    pattern = Pattern(2, 16, 16, 1)
    assert rival.limitation(Problem(pattern, 8, "fp32", "batch_last")) is None
    assert "two transpositions" in rival.limitation(Problem(pattern, 8, "fp32", "batch_first"))
    assert "half precision" in rival.limitation(Problem(pattern, 8, "fp16", "batch_last"))
    assert rival.caveats(Problem(pattern, 8, "fp32", "batch_last"), CPU) == ("copies_included",)


def test_lazylinop_is_right_where_it_computes(assert_product) -> None:
    rival = lazylinop.Lazylinop()
    problem = Problem(Pattern(2, 32, 64, 3), 64, "fp32", "batch_last")
    threads = torch.get_num_threads()
    if reason := rival.unsupported(problem, CPU):
        pytest.skip(reason)
    for pattern, precision in product(((2, 32, 64, 3), (1, 64, 64, 1)), ("fp32", "complex64")):
        problem = Problem(Pattern(*pattern), 64, precision, "batch_last")
        assert_product(*build(rival, problem), "batch_last")
    problem = replace(problem, precision="fp32")
    assert torch.get_num_threads() == threads
    assert usable_pocl(threads)[1].max_compute_units == threads
    first, second = (rival.build(problem, make_operands(problem, CPU, 0)[0]) for _ in range(2))
    x = sample_input(problem, CPU)
    kept = first(x).clone()
    second(2 * x)
    assert torch.equal(first(x), kept), "two products share a buffer"
