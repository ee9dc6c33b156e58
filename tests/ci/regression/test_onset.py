from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from kswatch.ci.regression.families import JudgedSeries
from kswatch.ci.regression.onset import deviating_since, find_onset
from kswatch.db.queries.regression_inputs import PriorNight
from tests.ci.nights import PROBLEMS

NIGHTS = [PriorNight(run_id, 1, f"{run_id:040x}") for run_id in range(1, 9)]
SERIES = [JudgedSeries(cell, problem, "fused", "latency_ms") for cell, problem in enumerate(PROBLEMS)]


def inputs_of(newest_values: list[float], nights: list[PriorNight]) -> SimpleNamespace:
    """Nights of which the newest were out by these factors."""
    values = np.ones((len(SERIES), len(nights)))
    if newest_values:
        values[:, -len(newest_values) :] = newest_values
    night_before = nights[-1] if nights else None
    past = SimpleNamespace(value=values)
    return SimpleNamespace(nights=nights, night_before=night_before, series=SERIES, past=past)


def verdict(series: JudgedSeries, cause: str = "code") -> SimpleNamespace:
    return SimpleNamespace(key=series.key, level=1.0, change=0.04, cause=cause)


def runs(newest_values: list[float], cause: str = "code", nights: list[PriorNight] = NIGHTS) -> tuple:
    """Run ids of the last good and the first bad night before one that is 4 % slower."""
    inputs = inputs_of(newest_values, nights)
    verdicts = [verdict(one, cause) for one in SERIES]
    return tuple(night and night.run_id for night in find_onset(inputs, verdicts))


@pytest.mark.parametrize(
    ("newest", "found"),
    [
        ([1.0, 1.0], (8, None)),
        ([1.0, 1.039], (7, 8)),
        ([1.03, 1.05], (6, 7)),
        ([1.05, 1.0], (8, None)),
        ([1.0, np.nan], (7, None)),
        ([1.04, np.nan], (6, 7)),
        ([np.nan, np.nan], (6, None)),
    ],
)
def test_the_onset_is_the_first_night_with_half_of_the_change(newest, found):
    assert runs(newest) == found


def test_the_onset_of_a_new_environment_is_the_newest_night():
    assert runs([1.04, 1.04], cause="environment") == (8, None)


def test_without_any_night_before_nothing_is_known():
    assert runs([], nights=[]) == (None, None)
    assert runs([1.04, 1.04], nights=NIGHTS[:2]) == (None, 1)


def test_a_series_deviating_since_an_alert_opened_joins_it():
    since_6 = inputs_of([1.04, 1.01, 1.03], NIGHTS)
    assert deviating_since(since_6, verdict(SERIES[2]), 6)
    assert not deviating_since(since_6, verdict(SERIES[2]), 4)
    assert not deviating_since(inputs_of([1.0, 1.0, np.nan], NIGHTS), verdict(SERIES[2]), 6)
    assert not deviating_since(since_6, verdict(SERIES[2]), 9)  # opened tonight
