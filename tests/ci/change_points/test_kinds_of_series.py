"""Each kind of series that people looked at, as a made one of known truth: see docs/change_points.md."""

from __future__ import annotations

import numpy as np
import pytest

from kswatch.ci.change_points import change_points

POINTS = 400
NIGHTS = np.arange(POINTS)
SEEDS = range(10)


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(POINTS)


def levels(*starts_and_sizes: tuple[int, float]) -> np.ndarray:
    series = np.zeros(POINTS)
    for start, size in starts_and_sizes:
        series[start:] = size
    return series


def are_near(found: list[int], truth: list[int], margin: int = 2) -> bool:
    return len(found) == len(truth) and all(
        abs(one - other) <= margin for one, other in zip(found, truth, strict=True)
    )


@pytest.mark.parametrize(
    ("name", "truth"),
    [
        ("a short level", [(200, 6), (212, 0)]),
        ("a short level near the end", [(380, 6)]),
        ("several short levels in a row", [(100, 6), (115, 0), (130, 6), (145, 0), (160, 6), (175, 0)]),
        ("a return to the old level", [(100, -5), (250, 0)]),
        ("stairs", [(100, 5), (120, 10), (140, 15)]),
    ],
)
def test_levels_are_found_where_they_are(name, truth):
    right = sum(
        are_near(change_points(noise(seed) + levels(*truth)), [start for start, _ in truth]) for seed in SEEDS
    )
    assert right >= len(SEEDS) - 1, name


def test_runs_of_a_mode_are_levels_and_single_flips_are_not():
    right = 0
    for seed in SEEDS:
        modes = levels((60, 30), (100, 0), (180, 30), (300, 0))
        flipped = np.random.default_rng(seed + 100).choice(POINTS, 12, replace=False)
        flipped = flipped[np.min(np.abs(flipped[:, None] - [60, 100, 180, 300]), axis=1) > 5]
        modes[flipped] = 30 - modes[flipped]
        right += are_near(change_points(noise(seed) + modes), [60, 100, 180, 300])
    assert right >= len(SEEDS) - 1


@pytest.mark.parametrize("jitter", [0.0, 1e-6])
def test_a_nearly_constant_series_with_rare_outliers_has_no_change(jitter):
    for seed in SEEDS:
        series = 50 + jitter * noise(seed)
        outliers = np.random.default_rng(seed + 100).choice(POINTS, 15, replace=False)
        series[outliers] += np.random.default_rng(seed + 200).uniform(1, 80, 15)
        assert change_points(series) == []


@pytest.mark.parametrize("quantum", [0.5, 1.0, 2.0, 4.0])
def test_rounded_values_alone_have_no_change_and_a_step_of_them_is_found(quantum):
    found_step = 0
    for seed in SEEDS:
        assert change_points(quantum * np.round(noise(seed) / quantum)) == []
        step = levels((250, 3 * max(quantum, 2)))
        found_step += are_near(change_points(quantum * np.round((noise(seed) + step) / quantum)), [250])
    assert found_step >= len(SEEDS) - 1


def test_a_jump_within_a_trend_is_the_only_change():
    found = [change_points(0.01 * NIGHTS + noise(seed) + levels((200, 6))) for seed in SEEDS]
    assert sum(are_near(one, [200]) for one in found) >= len(SEEDS) - 1


def test_a_jump_that_slowly_recovers_changes_once():
    recovery = np.where(NIGHTS >= 150, 8 * np.exp(-(NIGHTS - 150) / 150), 0)
    found = [change_points(noise(seed) + recovery) for seed in SEEDS]
    assert sum(are_near(one, [150]) for one in found) >= len(SEEDS) - 1


def test_more_noise_is_no_other_level():
    louder = np.where(NIGHTS < 200, 1.0, 4.0)
    assert sum(bool(change_points(noise(seed) * louder)) for seed in SEEDS) <= 1


def test_a_yearly_rhythm_is_no_change():
    for seed in SEEDS:
        assert change_points(noise(seed) + 3 * np.sin(2 * np.pi * NIGHTS / 365)) == []
