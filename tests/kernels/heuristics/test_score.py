"""Calibration and cost errors of a heuristic, by hand-counted truth."""

import pytest

from kswatch.kernels.heuristics.score import calibration, calibration_error, cost_errors, median_error


def test_calibration_agrees_with_a_hand_computation() -> None:
    predictions = [(0.55, True), (0.55, False), (0.85, True), (0.85, True), (1.0, True)]
    bins = calibration(predictions)
    assert [(one.problems, one.accuracy) for one in bins] == [(2, 0.5), (2, 1.0), (1, 1.0)]
    assert calibration_error(bins) == pytest.approx((2 * 0.05 + 2 * 0.15 + 0) / 5)
    assert calibration_error([]) is None


def test_cost_errors_agree_with_a_hand_computation() -> None:
    costs = [({"bmm": 1.0, "fused": 1.0}, {"bmm": 1.0}), ({"bmm": 5.0}, {"bmm": 4.0, "fused": 9.0})]
    errors = cost_errors(costs)
    assert set(errors) == {"bmm"}
    assert errors["bmm"].problems == 2
    assert errors["bmm"].median_error == pytest.approx(0.125)
    # log 5/4 left of the variance of log 1 and log 4
    assert errors["bmm"].r2_log == pytest.approx(1 - 0.22314**2 / (1.38629**2 / 2), abs=1e-4)


def test_equal_costs_have_no_share_of_variance() -> None:
    assert cost_errors([({"bmm": 1.0}, {"bmm": 2.0})])["bmm"].r2_log is None
    assert median_error([]) is None
