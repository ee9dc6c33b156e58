"""The held-out figures of kernels/heuristics/README.md, from the published V100 energies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import kswatch.kernels.heuristics
from kswatch.ci.advisor.scoring import HeuristicReport, score_held_out, score_heuristics
from kswatch.db.interchange.importing import import_file
from kswatch.db.queries.headline import outcomes
from kswatch.db.statistics import PredictionResult, score_predictions
from kswatch.db.store import Store
from kswatch.kernels.heuristics.measured import held_out
from kswatch.kernels.heuristics.training import fitters
from tests.kernels.heuristics.sample_problems import DEVICE

README = Path(kswatch.kernels.heuristics.__file__).with_name("README.md")
REFERENCE = os.environ.get("KSWATCH_REFERENCE")

pytestmark = pytest.mark.skipif(not REFERENCE, reason="KSWATCH_REFERENCE names no folder of published data")

SETS = (("fp32", "batch_last"), ("fp16", "batch_last"), ("fp32", "batch_first"))


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path_factory.mktemp('published') / 'kswatch.db'}")
    import_file(opened, Path(REFERENCE or "") / "ksmm_energy_v100.csv")
    yield opened
    opened.close()


def found(store: Store, precision: str, layout: str):
    return outcomes(store, metric="energy", precision=precision, layout=layout)


def test_the_simple_rules_reproduce_their_published_figures(store: Store) -> None:
    rows = {row.heuristic: row for row in score_heuristics(found(store, "fp32", "batch_last"), "energy")}
    scores = {
        name: (round(row.accuracy or 0, 3), round(row.balanced_accuracy or 0, 3))
        for name, row in rows.items()
    }
    assert rows["permutation"].problems == 346
    assert scores["h_threshold"] == (0.743, 0.604)
    assert scores["dh_threshold"] == (0.835, 0.835)
    assert scores["permutation"][0] == 0.916
    assert scores["gated_h"] == (0.922, 0.889)


@pytest.mark.parametrize(
    ("precision", "layout", "rule", "accuracy"),
    [("fp32", "batch_last", "gated_h", 0.913), ("fp32", "batch_first", "h_threshold", 0.751)],
)
def test_held_out_limits_reach_the_published_accuracy(store, precision, layout, rule, accuracy) -> None:
    assert held_out_score(store, precision, layout, rule).accuracy == pytest.approx(accuracy, abs=5e-4)


@pytest.mark.parametrize(
    ("precision", "layout", "accuracy", "balanced", "regret"),
    [
        ("fp32", "batch_last", 0.89, 0.86, 0.0110),
        ("fp16", "batch_last", 0.95, 0.94, 0.0045),
        ("fp32", "batch_first", 0.865, 0.73, 0.0160),
    ],
)
def test_the_cost_model_keeps_its_accuracy(store, precision, layout, accuracy, balanced, regret) -> None:
    figures = held_out_score(store, precision, layout, "cost_model")
    assert figures.accuracy >= accuracy
    assert figures.balanced_accuracy >= balanced
    assert figures.regret <= regret


def held_out_score(store: Store, precision: str, layout: str, rule: str):
    from kswatch.ci.advisor.from_store import measured_problems

    measured = measured_problems(found(store, precision, layout), "energy")
    predictions = held_out(measured, fitters(DEVICE, "energy")[rule])
    return score_predictions(
        [PredictionResult(prediction.predicts_fused, one.speedup) for one, prediction in predictions]
    )


def readme_row(precision: str, layout: str, heuristic: str) -> str:
    """A heuristic's line in the README's table of the published energies."""
    section = README.read_text().split(f"energy, {precision} {layout}\n")[1]
    return next(line for line in section.splitlines() if line.startswith(f"| {heuristic} |"))


@pytest.mark.slow
@pytest.mark.timeout(1800)  # on a busy machine; half a minute of work
@pytest.mark.parametrize(("precision", "layout"), SETS)
def test_learned_has_exactly_the_figures_of_the_readme(store, precision, layout) -> None:
    """Fitting is the same on every processor, so that no figure needs a tolerance."""
    rows: list[HeuristicReport] = score_held_out(found(store, precision, layout), "energy")
    learned, cost_model = (
        next(row for row in rows if row.heuristic == name) for name in ("learned", "cost_model")
    )
    shares = f"{learned.accuracy:.3f} | {learned.balanced_accuracy:.3f} | {learned.regret:.2%}"
    counts = f"{learned.tp} / {learned.fp} / {learned.fn} / {learned.tn}"
    assert readme_row(precision, layout, "learned").startswith(f"| learned | {shares} | {counts} |")
    assert learned.accuracy >= cost_model.accuracy
    assert learned.balanced_accuracy >= cost_model.balanced_accuracy
    assert learned.regret <= cost_model.regret
    assert learned.calibration_error < 0.1
    for error in learned.cost_errors.values():
        assert error.r2_log > 0.99
        assert error.median_error < 0.13
