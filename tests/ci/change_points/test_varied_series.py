"""`change_points` on simulated series of many kinds, each with a truth known beforehand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kswatch.ci.change_points import change_points
from tests.cpu_time import least_cpu_s

NIGHTS = np.arange(365)
SEEDS = range(6)


def noise(seed: int, points: int = 365) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(points)


def seasonal(seed: int) -> np.ndarray:
    """A week's rhythm of two sigma."""
    return 2 * np.sin(2 * np.pi * NIGHTS / 7) + noise(seed)


def spiked(seed: int) -> np.ndarray:
    """Every twentieth night is an outlier, on either side."""
    series = noise(seed)
    outliers = np.random.default_rng(seed + 1000).choice(365, 18, replace=False)
    series[outliers] += np.where(outliers % 2, 20.0, -20.0)
    return series


def negative(seed: int) -> np.ndarray:
    return noise(seed) - 1e6


def rounded(seed: int) -> np.ndarray:
    """A coarse clock: hardly more than five values."""
    return np.round(noise(seed))


def heavy_tailed(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_t(3, 365)


def skewed(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).lognormal(0.0, 0.5, 365)


def with_gaps(seed: int) -> np.ndarray:
    """A third of the nights is missing, three weeks of them in a row."""
    series = noise(seed)
    series[np.random.default_rng(seed + 1000).random(365) < 0.3] = math.nan
    series[150:171] = math.nan
    return series


KINDS = [seasonal, spiked, negative, rounded, heavy_tailed, skewed, with_gaps]


@pytest.mark.parametrize("kind", KINDS)
def test_series_of_one_level_have_no_change(kind):
    alarmed = sum(bool(change_points(kind(seed).tolist())) for seed in SEEDS)
    assert alarmed == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", [60, 340])
def test_a_step_of_five_sigma_is_the_only_change_of_any_kind(kind, at):
    found_alone = 0
    for seed in SEEDS:
        series = kind(seed)
        step = 5 * np.nanstd(noise(seed) if kind is spiked else series)
        found = change_points((series + step * (at <= NIGHTS)).tolist())
        found_alone += len(found) == 1 and abs(found[0] - at) <= 3
    assert found_alone >= len(SEEDS) - 1


@pytest.mark.parametrize("slope", [-0.05, -0.01, 0.01, 0.05])
def test_a_trend_alone_has_no_change(slope):
    assert sum(bool(change_points(slope * NIGHTS + noise(seed))) for seed in SEEDS) == 0


def test_a_step_upon_a_slight_trend_is_found():
    for seed in SEEDS:
        found = change_points(0.003 * NIGHTS + noise(seed) + 6 * (NIGHTS >= 200))
        assert any(abs(one - 200) <= 2 for one in found)


@pytest.mark.parametrize("points", range(14))
def test_a_short_series_holds_no_two_levels(points):
    assert change_points([1.0] * (points // 2) + [9.0] * (points - points // 2)) == []


def test_two_levels_of_the_shortest_series_are_detected():
    assert change_points([1.0] * 7 + [9.0] * 7) == [7]


@pytest.mark.parametrize("unit", [1e-12, 1e12])
def test_the_unit_of_a_series_is_no_matter(unit):
    for seed in SEEDS:
        series = noise(seed) + 4 * (NIGHTS >= 100)
        assert change_points(unit * series) == change_points(series)


def test_a_series_read_backwards_changes_at_the_same_place():
    for seed in SEEDS:
        (forwards,) = change_points(noise(seed) + 6 * (NIGHTS >= 100))
        (backwards,) = change_points((noise(seed) + 6 * (NIGHTS >= 100))[::-1])
        assert abs(forwards - (365 - backwards)) <= 1


@pytest.mark.parametrize("kind", ["noise", "steps", "constant", "walk"])
def test_ten_thousand_points_take_less_than_five_seconds(kind):
    plain = noise(0, 10_000)
    series = {
        "noise": plain,
        "steps": plain + 6 * (np.arange(10_000) // 250 % 2),
        "constant": np.full(10_000, 2.5),
        "walk": np.cumsum(plain),
    }[kind]
    found: list[int] = []
    assert least_cpu_s(lambda: found.extend(change_points(series.tolist())), repeats=1) < 5
    if kind == "steps":
        assert len(found) == 39
        assert all(min(one % 250, 250 - one % 250) <= 2 for one in found)
    if kind in ("noise", "constant"):
        assert found == []
