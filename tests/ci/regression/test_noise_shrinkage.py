from __future__ import annotations

import numpy as np
import pytest

from kswatch.ci.config import CiConfig
from kswatch.ci.regression.noise_shrinkage import ERROR_OF_TWO_NIGHTS, family_noise, shrink_to_family
from kswatch.ci.regression.threshold import Points, SeriesLevel, estimate_level
from tests.benchmarks.simulation.year import correlated

NO_FLOOR = CiConfig(floor=1e-9)


def level(sigmas: np.ndarray, nights: int, correlation: float = 0.0) -> SeriesLevel:
    """Of series whose nights are this noisy, each night correlated with the one before."""
    noise = correlated(np.random.default_rng(0), (len(sigmas), nights + 20), correlation)[:, 20:]
    values = 1 + sigmas[:, None] * noise
    return estimate_level(Points(values, values, values), NO_FLOOR)


def shared(of: SeriesLevel, families: int = 1) -> np.ndarray:
    return shrink_to_family(of, family_noise(of, np.arange(len(of.noise)) % families)).noise


@pytest.mark.parametrize(("correlation", "error"), [(0.0, 1.0), (0.6, 1.2)])
@pytest.mark.parametrize("nights", [7, 15, 30])
def test_the_error_of_a_noise_unit_is_as_documented(correlation, error, nights):
    logarithms = np.log(level(np.full(2000, 0.005), nights, correlation).noise)
    assert np.std(logarithms) * np.sqrt(nights - 1) == pytest.approx(error, rel=0.25)
    assert error <= ERROR_OF_TWO_NIGHTS


@pytest.mark.parametrize("nights", [4, 10, 30])
def test_series_of_equal_noise_are_shrunk_to_nearly_equal_noise(nights):
    of = level(np.full(100, 0.005), nights)
    assert np.std(np.log(shared(of))) < 0.5 * np.std(np.log(of.noise))
    assert shared(of).min() > 0.6 * np.median(of.noise)


def test_a_wild_series_among_quiet_ones_stays_as_wild_and_leaves_the_others_alone():
    sigmas = np.full(40, 0.005)
    sigmas[0] = 0.05
    of = level(sigmas, 30)
    assert shared(of)[0] == pytest.approx(of.noise[0])
    assert np.median(shared(of)[1:]) < 1.2 * np.median(of.noise[1:])


def test_a_second_mode_is_not_lent_away():
    modes = np.where(np.arange(30) % 4 == 0, 1.03, 1.0)
    others = 1 + 0.005 * np.random.default_rng(0).standard_normal((39, 30))
    values = np.vstack([others, modes])
    of = estimate_level(Points(values, values, values), NO_FLOOR)
    assert shared(of)[-1] > 0.02


def test_a_family_whose_noise_truly_differs_is_not_shrunk():
    of = level(np.geomspace(0.001, 0.1, 60), 30)
    assert np.abs(np.log(shared(of) / of.noise)).max() < 0.1


def test_families_lend_each_other_nothing():
    of = level(np.tile([0.001, 0.02], 30), 30)
    assert (shared(of, families=2)[::2] < 0.003).all()
    assert (shared(of, families=2)[1::2] > 0.015).all()


def test_small_families_and_series_without_history_are_not_shrunk():
    of = level(np.full(3, 0.005), 10)
    assert (shared(of) == of.noise).all()
    empty = estimate_level(Points(*(np.full((5, 4), np.nan) for _ in range(3))), NO_FLOOR)
    assert (shared(empty) == empty.noise).all()
