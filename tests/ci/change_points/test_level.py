from __future__ import annotations

import math

import numpy as np
import pytest

from kswatch.ci.change_points import levels


def stepped(points: int = 200, at: int = 120, size: float = 6.0, seed: int = 0) -> np.ndarray:
    series = 100 + np.random.default_rng(seed).standard_normal(points)
    series[at:] += size
    return series


def test_a_step_makes_two_levels_with_its_size_and_the_noise_unit():
    before, after = levels(stepped())
    assert (before.start, after.stop) == (0, 200) and before.stop == after.start
    assert abs(after.start - 120) <= 1
    assert before.step is None and before.relative_step is None
    assert after.step == pytest.approx(6, abs=0.5)
    assert after.relative_step == pytest.approx(0.06, abs=0.005)
    assert before.noise == after.noise == pytest.approx(1, abs=0.2)


def test_the_interval_of_a_level_holds_its_true_median_in_95_of_100_series():
    inside = 0
    for seed in range(200):
        (level,) = levels(np.random.default_rng(seed).standard_normal(100))
        inside += level.low <= 0 <= level.high
    assert inside >= 184  # 190 expected, standard deviation 3.1


def test_a_level_of_few_points_has_their_range_as_interval():
    (level,) = levels([3.0, 1.0, 2.0])
    assert (level.median, level.low, level.high, level.points) == (2.0, 1.0, 3.0, 3)


def test_quarantined_and_missing_points_belong_to_a_level_and_do_not_count():
    series = stepped()
    series[60:80] += 50
    series[10] = math.nan
    quarantined = [60 <= index < 80 for index in range(200)]
    before, after = levels(series, quarantined=quarantined)
    assert before.points == before.stop - 21
    assert before.median == pytest.approx(100, abs=0.5)


def test_points_with_wide_intervals_make_no_level():
    series = stepped(size=0.0)
    series[100:112] += 9
    half_widths = np.where((np.arange(200) >= 100) & (np.arange(200) < 112), 40.0, 0.5)
    assert len(levels(series)) == 3
    assert len(levels(series, half_widths)) == 1


@pytest.mark.parametrize("series", [[], [math.nan] * 3, [math.inf, -math.inf]])
def test_no_point_that_counts_makes_no_level(series):
    assert levels(series) == ()


def test_a_step_from_zero_has_no_relative_size():
    before, after = levels([0.0] * 20 + [1.0] * 20)
    assert (before.median, after.step, after.relative_step) == (0.0, 1.0, None)
