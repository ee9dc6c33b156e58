"""The strength of a change, where the t-statistic is known in closed form."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from kswatch.ci.change_points.pruning import change_strengths, noise_of_levels
from kswatch.ci.change_points.settings import DEFAULTS

ALTERNATING = np.tile([1.0, -1.0], 100)
"""A standard deviation of 1, medians and means of 0 over even numbers of points, no positive correlation."""


def stepped(size: float, at: int = 100) -> np.ndarray:
    return ALTERNATING + size * (np.arange(200) >= at)


@pytest.mark.parametrize("nearest", [10, 20, 40])
def test_a_strength_is_the_t_statistic_of_the_nearest_points(nearest):
    (strength,) = change_strengths(stepped(3.0), [100], replace(DEFAULTS, nearest=nearest))
    assert strength == pytest.approx(3 / math.sqrt(2 / nearest))


def test_correlation_between_neighbours_weakens_a_change():
    slow = np.repeat(ALTERNATING[:50], 4)  # each value four times: a correlation of about 1/2
    noise = noise_of_levels(slow, [], DEFAULTS.outlier)
    assert noise.sigma == pytest.approx(1.0)
    assert noise.inflation == pytest.approx(math.sqrt(1.5 / 0.5), rel=0.03)
    (weak,) = change_strengths(slow + stepped(3.0) - ALTERNATING, [100], DEFAULTS)
    (strong,) = change_strengths(stepped(3.0), [100], DEFAULTS)
    assert weak < strong / 1.5


def test_a_straight_line_has_next_to_no_strength():
    line = 0.1 * np.arange(200) + 0.1 * ALTERNATING
    assert max(change_strengths(line, [50, 100, 150], DEFAULTS)) < 0.01


@pytest.mark.parametrize(("points", "is_level"), [(6, False), (7, True)])
def test_an_episode_has_next_to_no_strength(points, is_level):
    values = ALTERNATING.copy()
    values[100 : 100 + points] += 30
    strengths = change_strengths(values, [100, 100 + points], DEFAULTS)
    assert (min(strengths) > 5) is is_level
    assert max(strengths) < 0.01 or is_level


def test_a_weak_change_is_removed_first_and_strengthens_its_neighbours():
    values = stepped(3.0)
    alone = change_strengths(values, [100], DEFAULTS)
    beside = change_strengths(values, [92, 100], DEFAULTS)
    assert beside[0] < 1
    assert beside[1] == pytest.approx(alone[0], rel=0.05)


def test_distant_outliers_do_not_weaken_a_change_further():
    near, far = stepped(5.0), stepped(5.0)
    near[[90, 95, 105, 112]] += 10
    far[[90, 95, 105, 112]] += 1e6
    assert change_strengths(far, [100], DEFAULTS) == pytest.approx(change_strengths(near, [100], DEFAULTS))
