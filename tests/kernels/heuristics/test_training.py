"""Fitting recovers a known cost law with a confidence; predictions need no scikit-learn."""

import json
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from kswatch.db.statistics import PredictionResult, score_predictions
from kswatch.kernels.heuristics.cost_model import term_table
from kswatch.kernels.heuristics.features import FEATURES, feature_table
from kswatch.kernels.heuristics.forest import Forest
from kswatch.kernels.heuristics.learned import estimate_costs, predict_from
from kswatch.kernels.heuristics.measured import held_out
from kswatch.kernels.heuristics.model_file import write_sections
from kswatch.kernels.heuristics.score import cost_errors
from kswatch.kernels.heuristics.section import log_speedups
from kswatch.kernels.heuristics.training import (
    TREES,
    fit_constants,
    fit_forest,
    fit_sections,
    fitters,
    round_to_grid,
)
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from tests.kernels.heuristics.sample_problems import DEVICE, bmm_ms, fused_ms, measured, problems


@pytest.fixture(scope="module")
def section():
    (only,) = fit_sections(measured(), DEVICE, "latency")
    return only


def test_known_constants_are_recovered() -> None:
    table = term_table(problems(), "bmm")
    truth = np.array([0.01, 1, 2, 0.5, 0, 0, 0.25, 3, 0, 0, 0])
    found = fit_constants(table, table @ truth)
    assert table @ found == pytest.approx(table @ truth, rel=1e-6)
    assert (found >= 0).all()


def test_dense_costs_the_zeros_and_no_permutation() -> None:
    problem = Problem(Pattern(3, 8, 8, 5), 16, "fp32", "batch_last")
    dense, bmm = (term_table([problem], name)[0].tolist() for name in ("dense", "bmm"))
    assert dense[7] == pytest.approx(15 * bmm[7])
    assert dense[3:7] == [0, 0, 0, 0]
    assert bmm[3] == bmm[1]


def test_trees_as_arrays_predict_like_scikit_learn() -> None:
    from sklearn.ensemble import GradientBoostingRegressor

    table = round_to_grid(feature_table(problems()))
    values = round_to_grid(np.sin(table[:, 0]) + table[:, 3] * table[:, 1])
    forest = fit_forest(table, values)
    # scikit-learn compares in single precision, so the values lie between the thresholds
    queries = table + 1e-3
    expected = np.mean(
        [
            GradientBoostingRegressor(**TREES, random_state=s).fit(table, values).predict(queries)
            for s in (0, 1, 2)
        ],
        axis=0,
    )
    assert forest.predict(queries) == pytest.approx(expected, rel=1e-6)
    again = Forest.from_plain(json.loads(json.dumps(forest.to_plain())))
    assert again.predict(queries) == pytest.approx(expected, rel=1e-3)


def test_a_known_cost_law_is_predicted_for_held_out_blocks() -> None:
    predictions = held_out(measured(), fitters(DEVICE, "latency")["cost_model"])
    figures = score_predictions(
        [PredictionResult(prediction.predicts_fused, one.speedup) for one, prediction in predictions]
    )
    assert figures.accuracy == 1.0
    assert figures.majority < 0.8
    for error in cost_errors([(prediction.costs, one.costs) for one, prediction in predictions]).values():
        assert error.r2_log > 0.999
        assert error.median_error < 0.01


def test_the_gain_and_both_costs_are_predicted(section) -> None:
    problem = Problem(Pattern(4, 64, 64, 8), 4096, "fp32", "batch_last")
    estimate = estimate_costs(problem, DEVICE, ("latency",), [section])
    assert estimate.costs["fused"] == pytest.approx(fused_ms(problem), rel=0.05)
    assert estimate.costs["bmm"] == pytest.approx(bmm_ms(problem), rel=0.05)
    assert estimate.predicted_speedup == pytest.approx(bmm_ms(problem) / fused_ms(problem), rel=0.05)
    assert estimate.confidence > 0.9
    assert estimate.caveats == ()


def test_outside_the_measured_range_the_confidence_falls_with_a_caveat(section) -> None:
    problem = Problem(Pattern(4, 64, 64, 8), 64, "fp32", "batch_last")
    covering = replace(section, lowest=(0.0, 5.0, 5.0, 0.0, 6.0))
    estimate, known = (estimate_costs(problem, DEVICE, ("latency",), [one]) for one in (section, covering))
    assert section.range_excess([problem]).tolist() == [[0, 0, 0, 0, 6.0]]
    assert estimate.caveats == ("batch is 6.0 doublings outside the measured range",)
    assert 0.5 < estimate.confidence < known.confidence


def test_a_single_class_is_fitted_without_full_certainty() -> None:
    (always,) = fit_sections(measured(fused=lambda one: bmm_ms(one) / 2), DEVICE, "latency")
    some = problems()[::7]
    found = log_speedups(always.log_costs(some))
    assert found == pytest.approx(math.log(2), abs=0.01)
    probabilities = always.probabilities(always.range_excess(some), found)
    assert ((probabilities > 0.9) & (probabilities <= 1)).all()


def test_fewer_than_eight_problems_or_no_baseline_give_no_section() -> None:
    few = measured()[:7]
    assert fit_sections(few, DEVICE, "latency") == []
    assert fit_sections([], DEVICE, "latency") == []


def test_fitting_is_reproducible(section) -> None:
    (again,) = fit_sections(measured(), DEVICE, "latency")
    assert again.to_plain() == section.to_plain()


def test_the_last_bits_of_the_measurements_change_no_tree() -> None:
    """Processors differ in them, and equally good splits are common: some features are sums of others."""
    generator = np.random.default_rng(1)
    a, b = np.log2(generator.integers(1, 9, (2, 200)))
    table, values = np.stack([a, b, a + b, a - b, b - a, -b], axis=1), np.log(generator.uniform(1, 2, 200))
    other = (np.nextafter(part, part + generator.choice([-1, 1], part.shape)) for part in (table, values))
    fitted = [fit_forest(table, values), fit_forest(*other)]
    for name in ("split_features", "thresholds", "leaves"):
        assert np.array_equal(getattr(fitted[0], name), getattr(fitted[1], name))


def test_without_any_section_the_rule_d_above_1_decides() -> None:
    predictions = predict_from([], True, problems()[:3], DEVICE)
    assert [prediction.predicts_fused for prediction in predictions] == [False, True, True]
    assert predictions[0].confidence is None


def test_predictions_need_neither_torch_nor_scikit_learn_nor_scipy(section, tmp_path, monkeypatch) -> None:
    path = tmp_path / "model.json"
    write_sections(path, [section])
    code = (
        "import sys\nfrom kswatch.kernels.heuristics.catalogue import HEURISTICS\n"
        "from kswatch.kernels.pattern import Pattern\n"
        "from kswatch.kernels.problem import Problem\n"
        "prediction = HEURISTICS[-1].predict(Problem(Pattern(4,64,64,8),4096,'fp32','batch_last'), "
        "{'model': 'Made-up 80GB'})\n"
        "assert prediction.predicted_speedup\n"
        "print([name for name in ('torch', 'sklearn', 'scipy') if name in sys.modules])"
    )
    monkeypatch.setenv("KSWATCH_HEURISTICS", str(path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_feature_has_its_column() -> None:
    assert feature_table(problems()[:2]).shape == (2, len(FEATURES))
