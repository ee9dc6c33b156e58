"""The stored path on simulated nights; `python -m tests.benchmarks.simulated_judging` prints many years."""

from __future__ import annotations

import time

import numpy as np
import pytest

from kswatch.ci.simulation.residuals import NIGHTS, PACKED, draw, stretches
from tests.benchmarks.simulated_judging import Tally, judge_year, tally
from tests.benchmarks.simulation.year import CELLS, Cause, year

MOST_FALSE = 1.0
"""The goal: false alerts per 1,000 nights of all cells; an exact interval that lies above it refutes it."""
FOUND = 0.95
"""The goal: share of the causes reported in time; an exact interval that lies below it refutes it."""


def test_five_percent_on_one_implementation_is_one_alert_on_the_same_night(figure):
    cells = np.array([name == "fused" for _, name in CELLS])
    cause = Cause("fused", 0.05, 32, 35, np.flatnonzero(cells), "all of it")
    of = year(3, (cause,), nights=36)
    found = Tally()
    found.add(of, judge_year(of))
    figure("a small world: 36 nights, one cause\n  " + "\n  ".join(found.lines()))
    assert found.delays[0.05] == [0]
    assert found.alerts_per_cause == [1]
    assert found.false_alerts == 0


def test_the_same_year_is_simulated_again_from_its_seed():
    assert (year(1, nights=30).times_ms == year(1, nights=30).times_ms).all()
    assert (year(1, nights=30).times_ms != year(2, nights=30).times_ms).any()


def test_a_year_has_208_cells_whose_noise_is_that_of_real_series():
    assert len(CELLS) == 208
    noise = draw(np.random.default_rng(0), 300, NIGHTS)
    known = stretches()
    assert noise.shape == (300, NIGHTS)
    assert np.median(np.abs(noise)) == pytest.approx(1 / 1.4826, abs=0.05)
    assert {tuple(np.sort(row)) for row in noise} <= {tuple(np.sort(row)) for row in known}


def test_the_packed_residuals_are_small_and_name_their_licence():
    assert PACKED.stat().st_size < 200_000
    notice = PACKED.with_name("RESIDUALS.md").read_text()
    assert "CC-BY-4.0" in notice and "SAP/performance-regression-data-set" in notice


@pytest.fixture(scope="module")
def quiet_year() -> tuple[Tally, float]:
    """A year without a cause, on which no limit was chosen, and the seconds of a core that it took."""
    started = time.process_time()
    return tally([400], with_causes=False), time.process_time() - started


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_quiet_year_of_208_cells_takes_under_five_minutes_of_two_cores(quiet_year, figure):
    found, seconds = quiet_year
    figure(f"a quiet year, {seconds:.0f} s of a core\n  " + "\n  ".join(found.lines()))
    assert seconds < 2 * 300
    assert found.quiet_nights == 345


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.xfail(strict=True, reason="the goal is missed: 3 in 345 nights, 8.7 per 1,000 (1.8 to 25.2)")
def test_the_false_alerts_of_a_quiet_year_do_not_refute_the_goal(quiet_year):
    found, _ = quiet_year
    assert 1000 * found.false_per_night.low < MOST_FALSE


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_year_of_planted_causes_is_reported_early_and_once(figure):
    found = tally(range(2), with_causes=True)
    figure("two years with causes\n  " + "\n  ".join(found.lines()))
    for size, nights in ((0.02, 3), (0.05, 1), (0.10, 1)):
        assert found.within(size, nights).high >= FOUND, size
    assert 1000 * found.false_per_night.low < MOST_FALSE
    assert np.mean(found.alerts_per_cause) <= 1.1
