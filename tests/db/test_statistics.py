"""Shared statistics, by hand-counted truth."""

from __future__ import annotations

import math

import pytest

from kswatch.db.statistics import (
    PredictionResult,
    PredictionScore,
    accuracy_interval,
    benjamini_hochberg,
    score_predictions,
)


def test_a_confusion_matrix_counted_by_hand():
    found = score_predictions(
        [
            PredictionResult(True, 2.0),
            PredictionResult(True, 0.5),
            PredictionResult(False, 1.25),
            PredictionResult(False, 1.0),  # a tie is the baseline's
        ]
    )
    assert (found.tp, found.fp, found.fn, found.tn) == (1, 1, 1, 1)
    assert (found.majority, found.accuracy, found.balanced_accuracy) == (0.5, 0.5, 0.5)
    assert found.regret == pytest.approx((0 + 1.0 + 0.25 + 0) / 4)  # twice the time once, a quarter more once


def test_balanced_accuracy_exposes_a_constant_prediction():
    found = score_predictions([PredictionResult(True, 2.0)] * 8 + [PredictionResult(True, 0.5)] * 2)
    assert found.accuracy == found.majority == 0.8
    assert found.balanced_accuracy == 0.5


def test_balanced_accuracy_is_unknown_where_one_side_never_won():
    assert score_predictions([PredictionResult(True, 2.0)]).balanced_accuracy is None
    assert PredictionScore.of_counts(3, 0, 1, 0, 0.0).balanced_accuracy is None


def test_no_predictions_give_no_figures():
    found = score_predictions([])
    assert (found.problems, found.accuracy, found.regret) == (0, None, None)
    assert accuracy_interval([]) == (None, None)


def test_only_problems_near_a_tie_widen_the_accuracys_interval():
    assert accuracy_interval([PredictionResult(True, 2.0, 1.9, 2.1)] * 10)[0] == pytest.approx(1.0, abs=1e-6)
    low, high = accuracy_interval([PredictionResult(True, 1.0001, 0.9, 1.1)] * 100)
    assert low == pytest.approx(1 - 1.96 * (0.25 * 100) ** 0.5 / 100, abs=0.002)
    assert high == 1.0


def test_the_win_variance_follows_from_the_chance_that_the_winner_changes():
    sigma = 0.01
    low, middle, high = (math.exp(2 * sigma + reach * sigma) for reach in (-1.96, 0, 1.96))
    result = PredictionResult(True, middle, low, high)
    assert result.win_variance == pytest.approx(0.97725 * 0.02275, rel=1e-3)  # two sigma from the tie


def test_benjamini_hochberg_on_the_example_of_its_paper():
    # Benjamini and Hochberg (1995), section 3.2: fifteen tests, of which four are significant at 0.05
    p_values = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459]
    p_values += [0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    assert benjamini_hochberg(p_values, 0.05) == [True] * 4 + [False] * 11
    assert benjamini_hochberg(p_values[::-1], 0.05) == [False] * 11 + [True] * 4


def test_benjamini_hochberg_ignores_unknown_p_values():
    assert benjamini_hochberg([], 0.05) == []
    assert benjamini_hochberg([math.nan, 0.04, 0.9], 0.05) == [False, False, False]
    assert benjamini_hochberg([math.nan, 0.02, 0.9], 0.05) == [False, True, False]
