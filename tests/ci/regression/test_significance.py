from __future__ import annotations

import numpy as np
import pytest

from kswatch.ci.config import CiConfig
from kswatch.ci.regression.families import SeriesFamilies
from kswatch.ci.regression.null_distribution import empirical_p_values
from kswatch.ci.regression.significance import PooledSignificance, assess
from kswatch.ci.regression.threshold import Points
from kswatch.db.statistics import benjamini_hochberg

CONFIG = CiConfig()
SIGMA = 0.005


def simulated(series: int, nights: int, seed: int = 0, correlation: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((series, nights))
    for night in range(1, nights):
        noise[:, night] = correlation * noise[:, night - 1] + np.sqrt(1 - correlation**2) * noise[:, night]
    return 1 + SIGMA * noise


def points(values: np.ndarray) -> Points:
    return Points(values, values * (1 - 0.3 * SIGMA), values * (1 + 0.3 * SIGMA))


def per_series(values: np.ndarray, night: int, bad_from: int | None = None, pools: bool = True):
    """Night `night` of these, judged on those before it; nights from `bad_from` on belong to an alert."""
    past = values[:, max(0, night - 60) : night]
    in_level = np.ones_like(past, dtype=bool)
    if bad_from is not None and bad_from < night:
        in_level[:, bad_from - night :] = False
    higher_is_better = np.zeros(len(values), dtype=bool)
    family = np.arange(len(values)) // 20
    members = [np.flatnonzero(family == one) for one in range(family[-1] + 1)] if pools else []
    families = SeriesFamilies(
        family,
        [(f"{one}", "latency_ms") for one in range(len(members))],
        members,
        np.arange(len(members)),
        [""] * len(members),
    )
    return assess(
        points(values[:, night]), points(past), in_level, higher_is_better, families, CONFIG
    ).per_series


def pools_of(size: int, series: int) -> SeriesFamilies:
    """One family, its series in pools of so many."""
    pools = np.arange(series).reshape(-1, size)
    family = np.zeros(series, dtype=int)
    return SeriesFamilies(
        family, [("fused", "latency_ms")], list(pools), np.zeros(len(pools), int), [""] * len(pools)
    )


def alone(series: int) -> SeriesFamilies:
    """One family without pools."""
    return SeriesFamilies(np.zeros(series, int), [("fused", "latency_ms")], [], np.zeros(0, int), [])


def whole(values: np.ndarray, night: int, families: SeriesFamilies) -> PooledSignificance:
    """Night `night` of these with its pools, judged on those before it."""
    past = values[:, max(0, night - 60) : night]
    worse_is_more = np.zeros(len(values), dtype=bool)
    in_level = np.ones_like(past, dtype=bool)
    return assess(points(values[:, night]), points(past), in_level, worse_is_more, families, CONFIG)


@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_a_quiet_night_confirms_as_good_as_nothing(correlation, figure):
    nights = 80
    values = simulated(200, nights + 4, 0, correlation)
    found = [per_series(values, night) for night in range(4, nights + 4)]
    confirmed = sum(one.confirmed.any() for one in found)
    provisional = sum(one.significant.any() for one in found)
    figure(f"correlation {correlation}: {nights} nights, {confirmed} confirmed, {provisional} provisional")
    assert confirmed == 0
    assert provisional <= 0.05 * nights


def test_five_percent_on_a_tenth_of_the_series_is_confirmed_the_same_night():
    values = simulated(200, 41)
    values[:20, 40] *= 1.05
    found = per_series(values, 40)
    assert found.confirmed[:20].all()
    assert not found.confirmed[20:].any()


def test_a_small_step_of_single_series_is_confirmed_by_the_nights_after():
    values = simulated(200, 46, correlation=0.6)
    values[:20, 40:] *= 1.03
    by_night = [
        per_series(values, night, bad_from=40, pools=False).confirmed[:20].mean() for night in (40, 41, 42)
    ]
    print("3 % at 0.5 % of noise, confirmed night by night:", ", ".join(f"{share:.0%}" for share in by_night))
    assert by_night[2] > 0.8 > by_night[0]


def test_changes_in_one_family_do_not_make_another_significant():
    values = simulated(200, 41)
    values[:20, 40] *= 1.2
    values[20, 40] = 1.021 * np.median(values[20, :38])
    found = per_series(values, 40)
    assert found.significant[:20].all()
    assert not found.significant[20:].any()


def test_a_change_that_noise_made_before_is_not_confirmed():
    values = simulated(100, 61)
    values[:, ::7] *= 1.03  # an outlying night every week; night 56 is the ninth
    found = per_series(values, 56)
    assert not found.confirmed.any()


def test_bad_nights_of_an_implementation_are_excluded_from_the_null_distribution():
    values = simulated(200, 56)
    values[:20, 40:48] *= 1.03
    values[:20, 55] *= 1.03
    in_level, quiet = np.ones((200, 55), dtype=bool), np.ones((200, 55), dtype=bool)
    in_level[:10, 40:48] = False  # half of them belong to an alert; the others were not detected
    quiet[:20, 40:48] = False
    worse_is_more, families = np.zeros(200, dtype=bool), alone(200)
    newest, past = points(values[:, 55]), points(values[:, :55])
    found = [
        assess(newest, past, in_level, worse_is_more, families, CONFIG, quiet=given).per_series.significant[
            :10
        ]
        for given in (None, quiet)
    ]
    assert not found[0].any() and found[1].all()


@pytest.mark.parametrize("outlier", [1.04, 1.1])
def test_one_outlying_series_makes_no_pool_significant(outlier):
    values = simulated(100, 41)
    families = pools_of(4, 100)
    values[0, 40] *= outlier
    found = whole(values, 40, families)
    assert not found.pools.significant.any()
    assert (found.pool_of == -1).all()


@pytest.mark.parametrize("size", [1.02, 1.05])
def test_a_pool_of_four_that_all_moved_is_significant(size):
    values = simulated(100, 41)
    values[:4, 40] = size * np.median(values[:4, :40], axis=1)
    found = whole(values, 40, pools_of(4, 100))
    assert found.pools.significant.tolist() == [True] + 24 * [False]
    assert (found.pool_of[:4] == 0).all()


def test_a_pool_whose_others_disagree_with_its_largest_has_not_changed():
    values = np.ones((4, 41))
    values[:, 40] = (1.05, 0.999, 0.998, 0.999)
    history = whole(values, 40, pools_of(4, 4)).pool_history
    assert history.value[0, 40] == 1.0


def test_a_pool_of_which_one_series_is_left_is_not_judged():
    values = simulated(4, 41)
    values[1:, 40] = np.nan
    assert np.isnan(whole(values, 40, pools_of(4, 4)).pool_history.value[0, 40])


def test_without_any_past_nights_a_huge_change_on_all_series_is_confirmed():
    values = simulated(24, 4)
    values[:8, 3] *= 2.0
    found = per_series(values, 3)
    assert found.confirmed[:8].all() and not found.confirmed[8:].any()


def test_the_p_value_of_a_frequent_strength_is_its_share():
    quiet = np.arange(1000) / 100
    assert empirical_p_values(np.array([5.0]), quiet)[0] == pytest.approx(0.5, abs=0.01)
    assert empirical_p_values(np.array([0.0]), quiet)[0] == 1.0


def test_the_chance_beyond_all_that_was_seen_falls_with_the_distance():
    quiet = np.abs(np.random.default_rng(0).standard_normal(5000))
    p_values = empirical_p_values(np.array([3.0, 4.0, 5.0, 8.0]), quiet)
    assert (np.diff(p_values) < 0).all()
    assert 0.0005 < p_values[0] < 0.006  # 0.0027 in truth
    assert p_values[3] < 1e-6


def test_the_tail_has_at_least_the_given_shape():
    quiet = np.abs(np.random.default_rng(0).standard_normal(5000))
    believed = [empirical_p_values(np.array([8.0]), quiet, shape)[0] for shape in (0.05, 0.1, 0.25)]
    assert believed[0] < believed[1] < believed[2] < 2e-4


def test_a_heavy_tail_keeps_p_values_large():
    quiet = np.abs(np.random.default_rng(0).standard_t(3, 5000))
    assert empirical_p_values(np.array([12.0]), quiet)[0] > 3e-4  # 0.0012 in truth


def test_benjamini_hochberg_keeps_the_significant_ones_of_many():
    p_values = [1e-4] * 10 + np.linspace(0.01, 1, 990).tolist()
    assert sum(benjamini_hochberg(p_values, 0.05)) == 10
    assert not any(benjamini_hochberg(np.linspace(0.01, 1, 1000).tolist(), 0.05))
    assert benjamini_hochberg([], 0.05) == []
