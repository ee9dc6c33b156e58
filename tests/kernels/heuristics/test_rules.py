"""Rules over the pattern, and the fitting of their limits."""

from fractions import Fraction

import pytest

from kswatch.kernels.heuristics.catalogue import HEURISTICS
from kswatch.kernels.heuristics.measured import MeasuredProblem, held_out
from kswatch.kernels.heuristics.rules import RANKINGS, fit_limit, fit_majority, fit_threshold
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem


def problem(a: int, b: int, c: int, d: int) -> Problem:
    return Problem(Pattern(a, b, c, d), 1024, "fp32", "batch_last")


def answers(one: Problem) -> dict[str, bool]:
    return {rule.name: rule.predict(one, {}).predicts_fused for rule in HEURISTICS}


def test_thresholds_are_compared_exactly_at_their_limits() -> None:
    at_limit = problem(1, 384, 384, 2)  # h = 1/192
    assert answers(at_limit)["h_threshold"]
    assert not answers(problem(1, 384, 385, 2))["h_threshold"]
    assert answers(problem(1, 768, 768, 2))["gated_h"]  # h = 1/384
    assert not answers(problem(1, 768, 769, 2))["gated_h"]
    assert answers(problem(1, 256, 256, 5))["dh_threshold"]  # d·h = 5/128
    assert not answers(problem(1, 256, 257, 5))["dh_threshold"]


def test_the_permutation_rule_depends_only_on_d() -> None:
    assert answers(problem(9, 64, 64, 2))["permutation"]
    assert not answers(problem(9, 64, 64, 1))["permutation"]
    assert not answers(problem(9, 4, 4, 1))["gated_h"]


def test_names_are_unique_and_every_rule_has_a_statement() -> None:
    assert len({rule.name for rule in HEURISTICS}) == len(HEURISTICS)
    assert all(rule.statement and rule.version >= 1 for rule in HEURISTICS)


def winners(speedups: dict[int, float]) -> list[MeasuredProblem]:
    return [MeasuredProblem(problem(1, size, size, 2), {}, speedup) for size, speedup in speedups.items()]


def test_a_planted_threshold_is_found_as_an_exact_fraction() -> None:
    measured = winners({32: 2.0, 64: 1.5, 96: 1.2, 128: 0.9, 256: 0.8})
    assert fit_limit(measured, RANKINGS["h_threshold"]) == Fraction(2, 96)


@pytest.mark.parametrize(("speedup", "limit"), [(2.0, Fraction(2, 64)), (0.5, None)])
def test_a_single_class_is_always_predicted(speedup: float, limit: Fraction | None) -> None:
    measured = winners({32: speedup, 64: speedup})
    assert fit_limit(measured, RANKINGS["h_threshold"]) == limit
    rule = fit_threshold("h_threshold", measured)
    assert rule(problem(1, 48, 48, 2)).predicts_fused == (speedup > 1)
    assert fit_majority(measured)(problem(1, 1, 1, 1)).predicts_fused == (speedup > 1)


def test_held_out_predictions_are_fitted_without_their_block() -> None:
    measured = winners({32: 2.0, 64: 0.5, 96: 0.5})
    seen = []

    def fit(training):
        seen.append({one.block for one in training})
        return fit_majority(training)

    predictions = held_out(measured, fit)
    assert seen == [{(64, 64), (96, 96)}, {(32, 32), (96, 96)}, {(32, 32), (64, 64)}]
    # without its own block, 64 and 96 see one win and one loss: a tie, which is no majority for fused
    assert [prediction.predicts_fused for _, prediction in predictions] == [False, False, False]


@pytest.mark.parametrize("rule", HEURISTICS, ids=lambda rule: rule.name)
def test_many_problems_get_the_same_predictions_as_one_by_one(rule):
    sample = [
        Problem(Pattern(a, 64, 48, d), 4096, precision, layout)
        for a in (1, 6)
        for d in (1, 4)
        for precision in ("fp32", "fp16")
        for layout in ("batch_first", "batch_last")
    ]
    facts = {"model": "Tesla V100-PCIE-16GB", "kind": "cuda", "metric": "energy"}
    for problem, together in zip(sample, rule.predict_all(sample, facts), strict=True):
        alone = rule.predict(problem, facts)
        assert (together.predicts_fused, list(together.costs)) == (alone.predicts_fused, list(alone.costs))
        assert together.predicted_speedup == pytest.approx(alone.predicted_speedup)
        assert together.confidence == pytest.approx(alone.confidence)
