"""The detector on series that others labelled; see the README beside them for where they come from.

The figures are printed; docs/change_points.md has how the settings were chosen.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kswatch.ci.change_points import change_points
from kswatch.ci.change_points.settings import DEFAULTS
from tests.ci.change_points import scoring

REFERENCE = os.environ.get("KSWATCH_REFERENCE")
pytestmark = pytest.mark.skipif(
    not REFERENCE, reason="KSWATCH_REFERENCE is unset: it names the folder of published data"
)


@pytest.fixture(scope="module")
def score():
    path = Path(REFERENCE or "")
    if not (path / "changepoint" / "score.py").exists():
        pytest.skip(f"{path} has no changepoint/score.py: the published series are not in KSWATCH_REFERENCE")
    return scoring.load_scorer(path)


@pytest.fixture(scope="module")
def thresholds(score):
    """Tallies of the series that up to five people marked, by the least t-statistic of a change."""
    return scoring.by_threshold(score, "sap_human_dev", DEFAULTS)


def shown(name: str, reached: scoring.Tally) -> str:
    return (
        f"{name} (labelled by others): F1 {reached.f1:.3f}, precision {reached.precision:.3f}, "
        f"recall {reached.recall:.3f}, quiet series with an alarm {reached.quiet_share:.3f}, "
        f"false per 1,000 points {reached.false_per_1000:.2f}"
    )


def assert_goals(reached: scoring.Tally) -> None:
    assert reached.f1 >= 0.68
    assert reached.quiet_share <= 0.10
    assert reached.false_per_1000 <= 0.9


def test_the_changes_that_people_marked_are_detected(thresholds, figure):
    reached = scoring.total(thresholds[DEFAULTS].values())
    figure(shown("222 SAP series, fitted", reached))
    assert_goals(reached)


def test_a_threshold_chosen_on_other_series_reaches_the_same(thresholds, figure):
    reached = scoring.cross_validated(thresholds)
    figure(shown("222 SAP series, threshold cross-validated", reached))
    assert_goals(reached)


@pytest.mark.slow
def test_all_settings_chosen_on_other_series_reach_nearly_the_same(score, figure):
    table = {}
    for settings in scoring.GRID:
        table |= scoring.by_threshold(score, "sap_human_dev", settings)
    reached = scoring.cross_validated(table)
    figure(shown(f"222 SAP series, {len(table)} settings cross-validated", reached))
    assert_goals(reached)


def test_short_levels_are_found_too(score, figure):
    """Of changes with under 20 points on one side; the detector before this one found one in eight."""
    found = marked = 0
    for _, series, (truth,) in score.SETS["sap_human_dev"]():
        bounds = [0, *truth, len(series)]
        short = [
            change
            for first, change, last in zip(bounds, truth, bounds[2:], strict=False)
            if min(change - first, last - change) < 20
        ]
        found += score.match(short, change_points(series)) if short else 0
        marked += len(short)
    figure(f"changes with under 20 points on one side (labelled by others): {found} of {marked} found")
    assert found / marked >= 0.6


def test_every_change_of_the_small_sap_set_is_found_and_nothing_else(score, figure):
    reached = scoring.total(scoring.tallies(score, "sap_small", change_points).values())
    figure(shown("25 SAP series", reached))
    assert reached.f1 == 1.0
    assert reached.quiet_share == 0.0


def test_the_tcpd_series_are_detected_better_than_by_rules_in_use(score, figure):
    data = list(score.SETS["tcpd"]())
    ours, rule = (
        sum(score.tcpd_f1(annotators, detector(series)) for _, series, annotators in data) / len(data)
        for detector in (change_points, score.perfherder)
    )
    figure(f"31 TCPD series (labelled by others): TCPD-F1 {ours:.3f}; Perfherder's rule {rule:.3f}")
    assert ours > 0.74
    assert ours > rule
    assert scoring.total(scoring.tallies(score, "tcpd", change_points).values()).quiet_share == 0.0
