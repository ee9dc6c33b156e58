"""The real rule on simulated nights; `python -m tests.benchmarks.simulated_judging` prints many years."""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks.simulated_judging import SIZES, Tally, judge_year, tally
from tests.benchmarks.simulated_year import CELLS, Cause, year


def test_five_percent_on_one_implementation_is_one_alert_on_the_same_night(figure):
    cells = np.array([name == "fused" for _, name in CELLS])
    cause = Cause("fused", 0.05, 32, 35, np.flatnonzero(cells), "all of it")
    of = year(3, (cause,), nights=40)
    found = Tally()
    found.add(of, judge_year(of))
    figure("a small world: 40 nights, one cause\n  " + "\n  ".join(found.lines()))
    assert found.delays[0.05] == [0]
    assert found.alerts_per_cause == [1]
    assert found.false_alerts == 0


def test_the_same_year_is_simulated_again_from_its_seed():
    assert (year(1, nights=30).times_ms == year(1, nights=30).times_ms).all()
    assert (year(1, nights=30).times_ms != year(2, nights=30).times_ms).any()


@pytest.mark.slow
def test_a_year_of_planted_causes_is_reported_early_and_once(figure):
    found = tally(range(2), with_causes=True)
    figure("two years with causes\n  " + "\n  ".join(found.lines()))
    for size, most in ((SIZES[1], 2), (SIZES[2], 0), (SIZES[3], 0)):
        in_time = [delay is not None and delay <= most for delay in found.delays[size]]
        assert np.mean(in_time) >= 0.95
    assert np.mean(found.alerts_per_cause) <= 1.1
