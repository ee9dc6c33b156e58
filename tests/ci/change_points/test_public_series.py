"""The detector on series that others labelled; see the README beside them for where they come from.

Tuned on TCPD alone. The figures are printed; the floors are what was reached, rounded down.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

REFERENCE = os.environ.get("KSWATCH_REFERENCE")
pytestmark = pytest.mark.skipif(
    not REFERENCE, reason="KSWATCH_REFERENCE is unset: it names the folder of published data"
)


@pytest.fixture(scope="module")
def score():
    path = Path(REFERENCE or "") / "changepoint" / "score.py"
    if not path.exists():
        pytest.skip(f"{path} is not there: the published series are not in KSWATCH_REFERENCE")
    spec = importlib.util.spec_from_file_location("changepoint_score", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def figures(score):
    """Scores of a detector on a set, in this process: `evaluate` would start others."""

    def scored(detector, set_name):
        tp = fp = fn = points = clean = alarmed = 0
        tcpd_f1 = []
        for _, series, annotators in score.SETS[set_name]():
            found = [index for index in detector(series) if 0 < index < len(series)]
            truth = score.consensus(annotators)
            hits = score.match(truth, found)
            tp, fp, fn = tp + hits, fp + len(found) - hits, fn + len(truth) - hits
            points += len(series)
            clean, alarmed = clean + (not truth), alarmed + (not truth and bool(found))
            tcpd_f1.append(score.tcpd_f1(annotators, found))
        return {
            "F1": 2 * tp / (2 * tp + fp + fn),
            "clean": alarmed / clean,
            "TCPD-F1": sum(tcpd_f1) / len(tcpd_f1),
            "false per 1,000 points": 1000 * fp / points,
        }

    return scored


def shown(name: str, figures: dict[str, float]) -> str:
    return f"{name} (labelled by others): " + ", ".join(
        f"{what} {value:.3f}" for what, value in figures.items()
    )


def test_every_change_of_the_sap_series_is_found_and_nothing_else(figures, figure):
    from kswatch.ci.change_points import change_points

    reached = figures(change_points, "sap_small")
    figure(shown("25 SAP series", reached))
    assert reached["F1"] == 1.0
    assert reached["clean"] == 0.0


def test_the_tcpd_series_are_detected_better_than_by_rules_in_use(figures, figure, score):
    from kswatch.ci.change_points import change_points

    reached = figures(change_points, "tcpd")
    figure(shown("31 TCPD series", reached))
    figure(shown("Perfherder's rule on them", figures(score.perfherder, "tcpd")))
    assert reached["TCPD-F1"] > 0.74
    assert reached["clean"] == 0.0
