"""Statistics within a run, against noise of known truth."""

import numpy as np
import pytest
from scipy.signal import lfilter

from kswatch.profiler.measurement.sample_statistics import (
    StoppingRule,
    effective_samples,
    median_interval,
    modes,
    quantiles,
)
from kswatch.profiler.settings import MeasureSettings

TRIALS = 400
CAP = 6_000


def autoregressive(random, noise, memory, count=CAP):
    """Autocorrelated normal noise of that standard deviation around 1."""
    steps = random.standard_normal(count) * np.sqrt(1 - memory**2)
    steps[0] = random.standard_normal()
    return 1 + noise * lfilter([1.0], [1.0, -memory], steps)


def stopped(samples, visit):
    """Samples until the rule is satisfied, in visits of a fixed size."""
    rule = StoppingRule(MeasureSettings())
    for count in range(2 * visit, len(samples) + 1, 2 * visit):
        so_far = samples[:count]
        if rule.satisfied(so_far, [visit] * (count // visit), so_far.sum()):
            break
    return median_interval(samples[:count], visit_sizes=[visit] * (count // visit))


def coverage(draw, visit=10):
    random = np.random.default_rng(20)
    intervals = [stopped(draw(random), visit) for _ in range(TRIALS)]
    return sum(interval.low <= 1 <= interval.high for interval in intervals) / TRIALS


@pytest.mark.parametrize(
    ("noise", "memory"),
    [
        (0.005, 0.0),
        (0.01, 0.9),
        pytest.param(0.02, 0.3, marks=pytest.mark.slow),
        pytest.param(0.04, 0.6, marks=pytest.mark.slow),
    ],
)
def test_the_interval_covers_the_median_of_autocorrelated_noise(noise, memory):
    covered = coverage(lambda random: autoregressive(random, noise, memory))
    print(f"coverage at noise {noise}, autocorrelation {memory}: {covered:.3f}")
    assert covered >= 0.93


def test_the_interval_covers_the_median_when_levels_differ_between_visits():
    def draw(random):
        return (
            1 + 0.01 * random.standard_normal(CAP) + 0.01 * np.repeat(random.standard_normal(CAP // 10), 10)
        )

    covered = coverage(draw)
    print(f"coverage with levels by visit: {covered:.3f}")
    assert covered >= 0.93


def test_the_interval_covers_the_median_of_independent_samples_at_small_counts():
    random = np.random.default_rng(3)
    for count in (6, 11, 30):
        drawn = [median_interval(random.standard_normal(count) + 5) for _ in range(1000)]
        assert sum(interval.low <= 5 <= interval.high for interval in drawn) / 1000 >= 0.95


def test_the_interval_of_five_samples_is_their_range():
    interval = median_interval([3.0, 1.0, 2.0, 5.0, 4.0])
    assert (interval.low, interval.median, interval.high) == (1.0, 3.0, 5.0)


def test_the_interval_is_widened_by_half_a_tick_on_both_sides():
    interval = median_interval([1.0] * 50, tick=0.01)
    assert (interval.low, interval.high) == (pytest.approx(0.995), pytest.approx(1.005))


def test_correlated_samples_count_for_fewer():
    random = np.random.default_rng(1)
    alone = effective_samples(autoregressive(random, 0.01, 0.0))
    together = effective_samples(autoregressive(random, 0.01, 0.9))
    assert alone > 0.9 * CAP
    assert together == pytest.approx(CAP / 19, rel=0.4)


def test_a_few_outliers_do_not_hide_autocorrelation():
    random = np.random.default_rng(1)
    samples = np.repeat(1 + 0.01 * random.standard_normal(40), 10) + 1e-4 * random.standard_normal(400)
    samples[::37] *= 10
    assert effective_samples(samples, [10] * 40) < 100


def test_equal_samples_are_all_effective():
    assert effective_samples([2.0] * 40, [10] * 4) == 40


def test_the_stopping_rule_needs_thirty_samples_and_thirty_milliseconds():
    rule = StoppingRule(MeasureSettings())
    assert not rule.satisfied([10.0] * 29)
    assert not rule.satisfied([0.5] * 59)
    assert rule.satisfied([0.5] * 100)


def test_the_stopping_rule_checks_again_after_a_third_more_samples():
    random = np.random.default_rng(1)
    noisy = (5 + random.standard_normal(30)).tolist()
    rule = StoppingRule(MeasureSettings())
    assert not rule.satisfied(noisy)
    assert not rule.satisfied([5.0] * 38)
    assert rule.satisfied([5.0] * 39)


@pytest.mark.parametrize(
    "draw",
    [
        lambda random: random.standard_normal(500) * 0.05 + 1,
        lambda random: random.uniform(0.8, 1.2, 500),
        lambda random: 1 + random.exponential(0.2, 500),
        lambda random: np.where(random.random(500) < 0.04, 3.0, 1.0) + 0.01 * random.standard_normal(500),
    ],
    ids=["normal", "uniform", "exponential", "rare outliers"],
)
def test_a_unimodal_distribution_has_no_modes(draw):
    random = np.random.default_rng(5)
    assert [modes(draw(random)) for _ in range(50)] == [None] * 50


def test_both_levels_of_a_bimodal_distribution_are_found():
    random = np.random.default_rng(5)
    samples = np.where(random.random(300) < 0.3, 1.1, 1.0) + 0.01 * random.standard_normal(300)
    assert modes(samples) == (pytest.approx(1.0, abs=0.01), pytest.approx(1.1, abs=0.01))


def test_too_few_samples_have_no_modes():
    assert modes([1.0, 2.0] * 9) is None


def test_quantiles_are_in_order():
    assert quantiles(list(range(101))) == (5, 25, 75, 95)
