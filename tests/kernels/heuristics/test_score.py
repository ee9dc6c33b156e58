"""Scores of a heuristic, by hand-counted truth."""

import pytest

from kernels.heuristics.score import Outcome, score


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
