"""Which implementation `auto` and `measure` take, and that they decide once."""

from dataclasses import replace

import pytest
import torch

from kswatch.kernels import KSLinear
from kswatch.kernels.catalogue import implementation
from kswatch.kernels.implementation import Product
from kswatch.kernels.layer import algorithm_choice
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(algorithm_choice, "_measured_choices", {})
    monkeypatch.setattr(algorithm_choice, "_predicted_choices", {})
    monkeypatch.setattr("kswatch.kernels.heuristics.learned.learned_sections", tuple)


@pytest.fixture
def problem() -> Problem:
    return Problem(Pattern(2, 8, 8, 4), 16, "fp32", "batch_first")


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Seconds that each implementation seems to take; products that were timed are real."""
    seconds = {"fused": 1.0, "bmm": 2.0, "einsum": 3.0}
    names: dict[int, str] = {}
    for name in seconds:
        candidate = implementation(name)

        def prepare(problem: Problem, weights: torch.Tensor, name: str = name) -> Product:
            product = implementation("dense").prepare(problem, weights)
            names[id(product)] = name
            return product

        monkeypatch.setattr(candidate, "prepare", prepare)
        monkeypatch.setattr(candidate, "unsupported", lambda problem, device: None)
    monkeypatch.setattr(algorithm_choice, "_seconds", lambda product, x: seconds[names[id(product)]])
    return seconds


def weights(problem: Problem) -> torch.Tensor:
    return torch.randn(problem.pattern.as_tuple())


@pytest.mark.parametrize("faster", ["fused", "bmm"])
def test_measure_chooses_the_faster_of_the_first_two(faster: str, problem: Problem, timed) -> None:
    timed[faster] = 0.5
    assert algorithm_choice.choose("measure", problem, CPU, weights(problem)).name == faster


def test_measure_times_the_first_batch_of_each_bucket(problem: Problem, timed) -> None:
    first = algorithm_choice.choose("measure", problem, CPU, weights(problem))
    timed["bmm"] = 0.1
    for batch, same in ((16, True), (9, True), (17, False), (8, False)):
        again = algorithm_choice.choose("measure", replace(problem, batch=batch), CPU, weights(problem))
        assert again is first if same else again.name == "bmm"


def test_a_choice_that_does_not_support_another_batch_of_its_bucket_is_replaced(
    problem: Problem, timed, monkeypatch
) -> None:
    monkeypatch.setattr(
        implementation("fused"), "unsupported", lambda problem, device: "odd" if problem.batch % 2 else None
    )
    names = [
        algorithm_choice.choose("auto", replace(problem, batch=batch), CPU, weights(problem)).name
        for batch in (16, 15)
    ]
    assert names[0] == "fused" != names[1]


def test_an_unsupported_implementation_is_never_chosen(problem: Problem, monkeypatch) -> None:
    monkeypatch.setattr(implementation("fused"), "unsupported", lambda problem, device: "no compiler")
    for algorithm in ("auto", "measure"):
        assert algorithm_choice.choose(algorithm, problem, CPU, weights(problem)).name == "bmm"


def test_auto_chooses_the_best_ranked_one_and_caches_it(problem: Problem, monkeypatch, timed) -> None:
    seen_facts, problem = [], replace(problem, pattern=Pattern(2, 64, 64, 1))
    monkeypatch.setattr(
        algorithm_choice, "ranked", lambda problem, facts: seen_facts.append(facts) or ("einsum", "bmm")
    )
    for _ in range(2):
        assert algorithm_choice.choose("auto", problem, CPU, weights(problem)).name == "einsum"
    assert [facts["kind"] for facts in seen_facts] == ["cpu"]


def test_auto_takes_the_twin_for_a_few_weights(problem: Problem, monkeypatch, timed) -> None:
    monkeypatch.setattr(algorithm_choice, "ranked", lambda problem, facts: ("bmm", "fused"))
    for columns, name in ((8, "fused"), (800, "bmm")):
        sized = replace(problem, pattern=Pattern(2, 8, columns, 4))
        assert algorithm_choice.choose("auto", sized, CPU, weights(sized)).name == name


def test_a_measuring_layer_gives_the_right_product() -> None:
    chosen, plain = (KSLinear([(2, 8, 8, 4)], algorithm=name) for name in ("measure", "bmm"))
    plain.load_state_dict(chosen.state_dict())
    x = torch.randn(16, 64)
    torch.testing.assert_close(chosen(x), plain(x), rtol=1e-4, atol=1e-5)
