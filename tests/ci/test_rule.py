from __future__ import annotations

import numpy as np
import pytest

from ci.config import CiConfig
from ci.rule import Points, confirmed, level_of, rule
from kswatch_errors import ConfigurationError

CONFIG = CiConfig()


def points(values, half_width=0.002) -> Points:
    values = np.asarray(values, dtype=float)
    return Points(values, values * (1 - half_width), values * (1 + half_width))


def rulings(newest, history, higher_is_better=False, half_width=0.002):
    level = level_of(points([history], half_width), CONFIG)
    return rule(points([newest], half_width), level, np.array([higher_is_better]), CONFIG)


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
    level = level_of(points([QUIET]), CONFIG)
    wide = Points(np.array([1.1]), np.array([0.95]), np.array([1.25]))
    found = rule(wide, level, np.array([False]), CONFIG)
    assert found.ambiguous[0] and not found.slower[0]


def test_two_comparable_runs_are_too_little_history():
    found = rulings(2.0, [1.0, 1.0])
    assert found.too_little_history[0] and not found.slower[0]


def test_no_history_at_all_is_judged_without_a_warning(recwarn):
    assert rulings(1.0, [np.nan, np.nan]).too_little_history[0]
    assert not recwarn.list


def test_only_the_newest_ten_known_points_make_the_level():
    history = [5.0] * 20 + [1.0, np.nan] * 10
    level = level_of(points([history]), CONFIG)
    assert level.value[0] == 1.0 and level.comparable_runs[0] == 10


def test_a_level_of_zero_is_not_judged():
    assert rulings(1.0, [0.0] * 10).too_little_history[0]


def test_the_noise_unit_of_three_nights_is_larger_than_that_of_ten():
    three = level_of(points([[1.0, 1.01, 0.99]]), CONFIG).noise[0]
    ten = level_of(points([[1.0, 1.01, 0.99] * 3 + [1.0]]), CONFIG).noise[0]
    assert three > 2 * ten


def test_five_noise_units_are_confirmed_the_same_night():
    noisy = [1.0, 1.01, 0.99, 1.005, 0.995, 1.01, 0.99, 1.0, 1.005, 0.995]
    level = level_of(points([noisy] * 2), CONFIG)
    higher = np.array([False, False])
    now = rule(points([1.3, 1 + 3.5 * level.noise[0]]), level, higher, CONFIG)
    quiet = rule(points([1.0, 1.0]), level, higher, CONFIG)
    assert now.slower.all()
    assert confirmed(now, quiet, CONFIG).tolist() == [True, False]


def test_a_smaller_change_is_confirmed_by_the_night_before():
    noisy = [1.0, 1.01, 0.99, 1.005, 0.995, 1.01, 0.99, 1.0, 1.005, 0.995]
    level = level_of(points([noisy]), CONFIG)
    now = rule(points([1 + 3.5 * level.noise[0]]), level, np.array([False]), CONFIG)
    assert confirmed(now, now, CONFIG).all()


@pytest.mark.parametrize("noise", [0.003, 0.01, 0.03])
def test_quiet_nights_are_rarely_slower_and_hardly_ever_confirmed(noise):
    rng = np.random.default_rng(3)
    nights, series = 40, 2000
    values = 1 + noise * rng.standard_normal((series, nights))
    found, sure = 0, 0
    for night in range(10, nights):
        level = level_of(points(values[:, :night]), CONFIG)
        higher = np.zeros(series, dtype=bool)
        now = rule(points(values[:, night]), level, higher, CONFIG)
        before = rule(points(values[:, night - 1]), level, higher, CONFIG)
        found += now.slower.sum()
        sure += (confirmed(now, before, CONFIG) & now.slower).sum()
    judged = series * (nights - 10)
    print(
        f"noise {noise:.1%}: of 1,000 series-nights {1000 * found / judged:.2f} slower, "
        f"{1000 * sure / judged:.3f} confirmed"
    )
    assert found / judged < 0.004
    assert sure / judged < 0.0003


@pytest.mark.parametrize("values", [{"floor": 0.0}, {"minimum_runs": 11}, {"minimum_runs": 0}])
def test_limits_that_make_no_sense_are_refused(values):
    with pytest.raises(ConfigurationError):
        CiConfig(**values)
