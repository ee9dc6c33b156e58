"""What is fitted recovers a known law, says how sure it is, and answers without scikit-learn."""

import json
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from kswatch.kernels.heuristics.cost_model import term_table
from kswatch.kernels.heuristics.features import FEATURES, feature_table
from kswatch.kernels.heuristics.forest import Forest
from kswatch.kernels.heuristics.learned import estimate, predict_from
from kswatch.kernels.heuristics.measured import held_out
from kswatch.kernels.heuristics.model_file import write_sections
from kswatch.kernels.heuristics.score import Outcome, cost_errors, score
from kswatch.kernels.heuristics.section import log_speedup_of
from kswatch.kernels.heuristics.training import TREES, fit_constants, fit_forest, fit_sections, fits
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from tests.kernels.heuristics.sample_problems import DEVICE, bmm_ms, fused_ms, measured, problems


@pytest.fixture(scope="module")
def section():
    (only,) = fit_sections(measured(), DEVICE, "latency")
    return only


def test_constants_of_a_sum_of_terms_are_found_again() -> None:
    table = term_table(problems(), "bmm")
    truth = np.array([0.01, 1, 2, 0.5, 0, 0, 0.25, 3, 0, 0, 0])
    found = fit_constants(table, table @ truth)
    assert table @ found == pytest.approx(table @ truth, rel=1e-6)
    assert (found >= 0).all()


def test_dense_pays_for_the_zeros_and_permutes_nothing() -> None:
    problem = Problem(Pattern(3, 8, 8, 5), 16, "fp32", "batch_last")
    dense, bmm = (term_table([problem], name)[0].tolist() for name in ("dense", "bmm"))
    assert dense[7] == pytest.approx(15 * bmm[7])
    assert dense[3:7] == [0, 0, 0, 0]
    assert bmm[3] == bmm[1]


def test_trees_as_arrays_say_what_scikit_learn_says() -> None:
    from sklearn.ensemble import GradientBoostingRegressor

    table = feature_table(problems())
    values = np.sin(table[:, 0]) + table[:, 3] * table[:, 1]
    forest = fit_forest(table, values)
    # scikit-learn compares in single precision, so ask between the thresholds
    asked = table + 1e-3
    expected = np.mean(
        [
            GradientBoostingRegressor(**TREES, random_state=s).fit(table, values).predict(asked)
            for s in (0, 1, 2)
        ],
        axis=0,
    )
    assert forest.predict(asked) == pytest.approx(expected, rel=1e-6)
    again = Forest.from_plain(json.loads(json.dumps(forest.to_plain())))
    assert again.predict(asked) == pytest.approx(expected, rel=1e-3)


def test_a_law_of_passes_and_operations_is_predicted_for_blocks_never_seen() -> None:
    said = held_out(measured(), fits(DEVICE, "latency")["cost_model"])
    figures = score([Outcome(prediction.predicts_fused, one.speedup) for one, prediction in said])
    assert figures.accuracy == 1.0
    assert figures.majority < 0.8
    for error in cost_errors([(prediction.costs, one.costs) for one, prediction in said]).values():
        assert error.r2_log > 0.999
        assert error.median_error < 0.01


def test_the_gain_and_both_costs_are_predicted(section) -> None:
    problem = Problem(Pattern(4, 64, 64, 8), 4096, "fp32", "batch_last")
    said = estimate(problem, DEVICE, ("latency",), [section])
    assert said.costs["fused"] == pytest.approx(fused_ms(problem), rel=0.05)
    assert said.costs["bmm"] == pytest.approx(bmm_ms(problem), rel=0.05)
    assert said.predicted_speedup == pytest.approx(bmm_ms(problem) / fused_ms(problem), rel=0.05)
    assert said.confidence > 0.9
    assert said.caveats == ()


def test_outside_the_measured_range_the_confidence_falls_and_it_says_why(section) -> None:
    problem = Problem(Pattern(4, 64, 64, 8), 64, "fp32", "batch_last")
    covering = replace(section, lowest=(0.0, 5.0, 5.0, 0.0, 6.0))
    said, known = (estimate(problem, DEVICE, ("latency",), [one]) for one in (section, covering))
    assert section.outside(problem) == [("batch", 6.0)]
    assert said.caveats == ("batch lies 6.0 doublings outside what was measured",)
    assert 0.5 < said.confidence < known.confidence


def test_one_class_only_is_fitted_and_is_never_quite_certain() -> None:
    (always,) = fit_sections(measured(fused=lambda one: bmm_ms(one) / 2), DEVICE, "latency")
    for problem in problems()[::7]:
        log_speedup = log_speedup_of(always.log_costs(problem))
        assert log_speedup == pytest.approx(math.log(2), abs=0.01)
        assert 0.9 < always.probability(problem, log_speedup) <= 1


def test_fewer_than_eight_problems_or_no_baseline_give_no_section() -> None:
    few = measured()[:7]
    assert fit_sections(few, DEVICE, "latency") == []
    assert fit_sections([], DEVICE, "latency") == []


def test_fitting_again_gives_the_same(section) -> None:
    (again,) = fit_sections(measured(), DEVICE, "latency")
    assert again.to_plain() == section.to_plain()


def test_without_any_section_the_rule_d_above_1_answers() -> None:
    predict = predict_from([], corrected=True)
    assert [predict(problem, DEVICE).predicts_fused for problem in problems()[:3]] == [False, True, True]
    assert predict(problems()[0], DEVICE).confidence is None


def test_answers_need_neither_torch_nor_scikit_learn_nor_scipy(section, tmp_path, monkeypatch) -> None:
    path = tmp_path / "model.json"
    write_sections(path, [section])
    code = (
        "import sys\nfrom kswatch.kernels.heuristics import HEURISTICS\nfrom kswatch.kernels.pattern import Pattern\n"
        "from kswatch.kernels.problem import Problem\n"
        "said = HEURISTICS[-1].predict(Problem(Pattern(4,64,64,8),4096,'fp32','batch_last'), "
        "{'model': 'Made-up 80GB'})\n"
        "assert said.predicted_speedup\n"
        "print([name for name in ('torch', 'sklearn', 'scipy') if name in sys.modules])"
    )
    monkeypatch.setenv("KSWATCH_HEURISTICS", str(path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_feature_has_its_column() -> None:
    assert feature_table(problems()[:2]).shape == (2, len(FEATURES))
