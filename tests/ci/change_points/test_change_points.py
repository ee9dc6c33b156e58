from __future__ import annotations

import math
import statistics
import time

import numpy as np
import pytest

from kswatch.ci.change_points import change_points, weighted_change_points


def noise(points: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(points)


def stepped(points: int = 200, at: int = 120, size: float = 3.0, seed: int = 0) -> np.ndarray:
    series = noise(points, seed)
    series[at:] += size
    return series


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("offset", [-100.0, 0.0, 1000.0])
def test_a_planted_step_is_found_where_it_is_whatever_the_unit(scale, offset):
    (found,) = change_points((scale * (offset + stepped())).tolist())
    assert abs(found - 120) <= 1


def test_a_step_down_is_found_too():
    assert change_points(-stepped()) == change_points(stepped())


@pytest.mark.parametrize("seed", range(10))
def test_two_steps_are_two_changes(seed):
    series = noise(300, seed)
    series[100:200] += 4
    first, second = change_points(series)
    assert abs(first - 100) <= 2 and abs(second - 200) <= 2


def test_a_change_ten_points_before_the_end_is_found():
    (found,) = change_points(stepped(at=190, size=6.0))
    assert abs(found - 190) <= 1


def test_plain_noise_has_no_change():
    assert sum(bool(change_points(noise(365, seed))) for seed in range(100)) <= 1


def test_correlated_noise_has_hardly_any_change():
    rng = np.random.default_rng(5)
    alarmed = 0
    for _ in range(60):
        series = rng.standard_normal(365)
        for index in range(1, 365):
            series[index] += 0.7 * series[index - 1]
        alarmed += bool(change_points(series))
    assert alarmed <= 6


def test_spikes_are_no_change():
    rng = np.random.default_rng(2)
    for _ in range(30):
        series = 100 + rng.standard_normal(365)
        series[rng.integers(0, 365, 8)] += rng.uniform(10, 60, 8)
        assert change_points(series) == []


def test_an_episode_of_four_nights_is_no_change():
    series = noise(200)
    series[100:104] += 15
    assert change_points(series) == []


def test_two_modes_are_no_change():
    rng = np.random.default_rng(3)
    alarmed = 0
    for _ in range(40):
        series = rng.standard_normal(365) + 8 * (rng.random(365) < 0.3)
        alarmed += bool(change_points(series))
    assert alarmed <= 1


def test_a_steady_drift_is_no_step():
    rng = np.random.default_rng(4)
    for slope in (0.01, 0.03, 0.1):
        assert change_points(slope * np.arange(365) + rng.standard_normal(365)) == []


@pytest.mark.parametrize(
    "series", [[], [1.0], [1.0, 2.0], [5.0] * 400, [math.nan] * 50, [0.0] * 13, [math.inf, -math.inf] * 20]
)
def test_a_series_without_two_levels_has_no_change(series):
    assert change_points(series) == []


def test_a_step_without_any_noise_is_found_exactly():
    assert change_points([1.0] * 30 + [2.0] * 30) == [30]
    assert change_points([-5] * 20 + [-4] * 20 + [-6] * 20) == [20, 40]


def test_ties_with_rare_spikes_are_no_change():
    series = np.full(400, 1.5)
    series[::37] = 1.6
    assert change_points(series) == []


def test_gaps_are_passed_over_and_indices_stay_those_of_the_series():
    series = stepped().tolist()
    for index in (3, 50, 51, 52, 130, 199):
        series[index] = math.nan
    (found,) = change_points(series)
    assert abs(found - 120) <= 1
    assert all(type(index) is int for index in change_points(series))


def test_ten_thousand_points_are_fine():
    series = noise(10_000)
    series[5_000:] += 2
    (found,) = change_points(series)
    assert abs(found - 5_000) <= 5


@pytest.mark.parametrize(("points", "limit_ms"), [(365, 20), (1_000, 50)])
def test_a_year_of_nights_takes_less_than_20_ms_and_1000_points_less_than_50(points, limit_ms, figure):
    walk = np.cumsum(noise(points))
    change_points(walk)
    times_ms = []
    for _ in range(11):  # CPU time of this thread, not the clock's
        started = time.thread_time()
        change_points(walk)
        times_ms.append(1000 * (time.thread_time() - started))
    figure(f"one call of the detector on {points} points, median: {statistics.median(times_ms):.1f} ms")
    assert statistics.median(times_ms) < limit_ms


def with_intervals(values: np.ndarray, sigma: np.ndarray) -> tuple:
    return values, values - 1.96 * sigma, values + 1.96 * sigma


def test_equal_intervals_and_a_machine_as_always_change_nothing():
    series = stepped()
    for sigma in (0.0, 0.5, np.nan):
        weighted = weighted_change_points(*with_intervals(series, np.full(200, sigma)), [""] * 200)
        assert weighted == change_points(series)


def test_points_of_a_throttled_machine_are_passed_over():
    series = noise(200)
    series[120:150] += 8
    states = ["thermal_slowdown" if 120 <= index < 150 else "" for index in range(200)]
    assert change_points(series) != []
    assert weighted_change_points(*with_intervals(series, np.zeros(200)), states) == []


def test_a_stretch_of_poor_measurements_makes_no_level():
    poor = (np.arange(200) > 100) & (np.arange(200) < 126)
    found, weighted = 0, 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        sigma = np.where(poor, 12.0, 0.3)
        series = rng.standard_normal(200) + sigma * rng.standard_normal(200)
        series[poor] = np.abs(series[poor])
        found += bool(change_points(series))
        weighted += bool(weighted_change_points(*with_intervals(series, sigma), [""] * 200))
    assert found >= 5
    assert weighted <= 1


def test_a_step_is_found_under_wide_intervals_too():
    sigma = np.where(np.arange(200) % 4 == 0, 3.0, 0.3)
    series = stepped(size=4.0) + sigma * noise(200, 1)
    (found,) = weighted_change_points(*with_intervals(series, sigma), [""] * 200)
    assert abs(found - 120) <= 2
