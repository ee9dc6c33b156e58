"""Scores of a heuristic, by hand-counted truth."""

import pytest

from kswatch.kernels.heuristics.score import (
    Outcome,
    calibration,
    calibration_error,
    cost_errors,
    median_error,
    score,
)


def test_a_confusion_matrix_counted_by_hand() -> None:
    outcomes = [Outcome(True, 2.0), Outcome(True, 0.5), Outcome(False, 1.25), Outcome(False, 0.8)]
    result = score(outcomes)
    assert (result.tp, result.fp, result.fn, result.tn) == (1, 1, 1, 1)
    assert result.accuracy == result.balanced_accuracy == result.majority == 0.5
    assert result.regret == pytest.approx((0 + 1.0 + 0.25 + 0) / 4)


def test_a_rule_that_never_decides_is_unmasked_by_its_balance() -> None:
    result = score([Outcome(True, 2.0)] * 8 + [Outcome(True, 0.5)] * 2)
    assert result.accuracy == result.majority == 0.8
    assert result.balanced_accuracy == 0.5


def test_balance_is_unknown_where_only_one_class_was_seen() -> None:
    assert score([Outcome(True, 2.0)]).balanced_accuracy is None


def test_no_outcomes_give_no_figures() -> None:
    assert score([]).accuracy is None


def test_calibration_counted_by_hand() -> None:
    said = [(0.55, True), (0.55, False), (0.85, True), (0.85, True), (1.0, True)]
    bins = calibration(said)
    assert [(one.problems, one.accuracy) for one in bins] == [(2, 0.5), (2, 1.0), (1, 1.0)]
    assert calibration_error(bins) == pytest.approx((2 * 0.05 + 2 * 0.15 + 0) / 5)
    assert calibration_error([]) is None


def test_cost_errors_counted_by_hand() -> None:
    said = [({"bmm": 1.0, "fused": 1.0}, {"bmm": 1.0}), ({"bmm": 5.0}, {"bmm": 4.0, "fused": 9.0})]
    errors = cost_errors(said)
    assert set(errors) == {"bmm"}
    assert errors["bmm"].problems == 2
    assert errors["bmm"].median_error == pytest.approx(0.125)
    # log 5/4 left of the variance of log 1 and log 4
    assert errors["bmm"].r2_log == pytest.approx(1 - 0.22314**2 / (1.38629**2 / 2), abs=1e-4)


def test_equal_costs_have_no_share_of_variance() -> None:
    assert cost_errors([({"bmm": 1.0}, {"bmm": 2.0})])["bmm"].r2_log is None
    assert median_error([]) is None
