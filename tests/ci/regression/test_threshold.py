from __future__ import annotations

import numpy as np
import pytest

from kswatch.ci.config import CiConfig
from kswatch.ci.regression.threshold import Points, apply_threshold, estimate_level
from kswatch.errors import ConfigurationError

CONFIG = CiConfig()


def points(values, half_width=0.002) -> Points:
    values = np.asarray(values, dtype=float)
    return Points(values, values * (1 - half_width), values * (1 + half_width))


def rulings(newest, history, higher_is_better=False, half_width=0.002):
    level = estimate_level(points([history], half_width), CONFIG)
    return apply_threshold(points([newest], half_width), level, np.array([higher_is_better]), CONFIG)


QUIET = [1.000, 1.003, 0.998, 1.001, 0.999, 1.002, 0.997, 1.000, 1.001, 0.999]


def test_ten_percent_more_time_is_slower():
    found = rulings(1.1, QUIET)
    assert found.slower[0] and not found.faster[0] and not found.ambiguous[0]
    assert found.change[0] == pytest.approx(0.1, abs=1e-3)
    assert found.change_low[0] < 0.1 < found.change_high[0]


def test_ten_percent_less_time_is_faster():
    assert rulings(0.9, QUIET).faster[0]


def test_a_higher_speedup_is_faster_and_a_lower_one_slower():
    assert rulings(1.1, QUIET, higher_is_better=True).faster[0]
    assert rulings(0.9, QUIET, higher_is_better=True).slower[0]


def test_a_change_under_the_floor_is_the_same_however_sure_it_is():
    found = rulings(1.019, [1.0] * 10, half_width=0.0001)
    assert not (found.slower[0] or found.ambiguous[0])


def test_a_change_within_the_noise_of_the_nights_is_the_same():
    noisy = [1.0, 1.1, 0.9, 1.05, 0.95, 1.08, 0.92, 1.02, 0.98, 1.0]
    assert not rulings(1.1, noisy).slower[0]


def test_a_large_change_whose_interval_reaches_the_level_is_ambiguous():
    level = estimate_level(points([QUIET]), CONFIG)
    wide = Points(np.array([1.1]), np.array([0.95]), np.array([1.25]))
    found = apply_threshold(wide, level, np.array([False]), CONFIG)
    assert found.ambiguous[0] and not found.slower[0]


def test_two_comparable_runs_are_too_little_history():
    found = rulings(2.0, [1.0, 1.0])
    assert found.too_little_history[0] and not found.slower[0]


def test_no_history_at_all_is_judged_without_a_warning(recwarn):
    assert rulings(1.0, [np.nan, np.nan]).too_little_history[0]
    assert not recwarn.list


def test_only_the_newest_ten_known_points_make_the_level():
    history = [5.0] * 20 + [1.0, np.nan] * 10
    level = estimate_level(points([history]), CONFIG)
    assert level.value[0] == 1.0 and level.comparable_runs[0] == 10


@pytest.mark.parametrize("level", [0.0, -1.0])
def test_a_level_that_is_not_positive_is_not_judged(level):
    assert rulings(1.0, [level] * 10).too_little_history[0]


def test_ties_on_every_night_are_no_certainty():
    found = rulings(1.021, [1.0] * 30, half_width=0.0)
    assert found.slower[0]
    assert found.units[0] < 6  # nobody's nights are quieter than a fifth of the floor


def test_gaps_neither_make_nor_hide_a_change():
    gaps = [value for night in QUIET for value in (night, np.nan)]
    assert rulings(1.1, gaps).slower[0] and not rulings(1.0, gaps).slower[0]
    assert rulings(np.nan, QUIET).too_little_history[0]


def test_the_noise_unit_of_three_nights_is_larger_than_that_of_ten():
    three = estimate_level(points([[1.0, 1.01, 0.99]]), CONFIG).noise[0]
    ten = estimate_level(points([[1.0, 1.01, 0.99] * 3 + [1.0]]), CONFIG).noise[0]
    assert three > 2 * ten


def test_one_wild_night_in_ten_does_not_widen_the_noise():
    quiet = estimate_level(points([QUIET]), CONFIG).noise[0]
    assert estimate_level(points([[*QUIET[:-1], 3.0]]), CONFIG).noise[0] < 1.3 * quiet


def test_a_second_mode_widens_the_noise():
    two_modes = [1.0, 1.1, 1.0, 1.0, 1.1, 1.0, 1.0, 1.1, 1.0, 1.0]
    assert not rulings(1.1, two_modes).slower[0]


@pytest.mark.parametrize(
    "values", [{"floor": 0.0}, {"minimum_runs": 11}, {"minimum_runs": 0}, {"canary_floor": -1.0}]
)
def test_limits_that_make_no_sense_are_refused(values):
    with pytest.raises(ConfigurationError):
        CiConfig(**values)
