"""`robust_partition` against all partitions, and its bound on the cost of a point."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from kswatch.ci.change_points.segmentation import robust_partition
from kswatch.ci.change_points.settings import DEFAULTS

SETTINGS = replace(DEFAULTS, shortest=1, outlier=3.0, price=1.0)


def least_cost(values: np.ndarray, changes: tuple[int, ...]) -> float:
    """By trying every level of the grid for every part."""
    grid = np.unique(np.round(values * 4)) / 4
    parts = np.split(values, changes)
    by_level = [
        np.minimum((part[:, None] - grid) ** 2, SETTINGS.outlier**2).sum(axis=0).min() for part in parts
    ]
    return sum(by_level) + SETTINGS.price * math.log(len(values)) * len(changes)


@pytest.mark.parametrize("seed", range(8))
def test_the_partition_is_the_best_of_all(seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=9) + np.repeat(rng.choice([0.0, 4.0, 8.0], 3), 3)
    every = [
        changes for count in range(5) for changes in itertools.combinations(range(1, len(values)), count)
    ]
    best = min(least_cost(values, changes) for changes in every)
    assert least_cost(values, tuple(robust_partition(values, SETTINGS))) == pytest.approx(best)


def test_outliers_however_far_make_no_level_and_enough_of_them_in_a_row_do():
    settings = replace(DEFAULTS, shortest=1)
    needed = 2 * settings.price * math.log(200) / settings.outlier**2
    for run in range(1, 12):
        values = np.zeros(200)
        values[100 : 100 + run] = 1e6
        assert robust_partition(values, settings) == ([100, 100 + run] if run > needed else [])


def test_levels_closer_than_an_outlier_need_more_points():
    values = np.zeros(200)
    values[100:108] = 2.0  # 8 points x 2^2 are less than the price of two more levels
    assert robust_partition(values, DEFAULTS) == []
    values[100:140] = 2.0
    assert robust_partition(values, DEFAULTS) == [100, 140]
