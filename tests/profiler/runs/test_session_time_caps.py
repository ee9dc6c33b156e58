"""A suite that should be short stays so; a budget is counted by a clock that the test holds."""

from __future__ import annotations

import pytest

from kswatch.errors import UsageError
from kswatch.profiler.planning.budget import Budget, as_text, parse_seconds
from kswatch.profiler.planning.time_caps import Pace
from kswatch.profiler.settings import MeasureSettings


class Clock:
    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


def whole_run_s(overhead_s: float, used: float = 1.0) -> float:
    """A run of 26 problems in 90 s, each with that overhead and using that share of its cap."""
    clock = Clock()
    pace = Pace(MeasureSettings(), 8, Budget(90, clock))
    for left in range(26, 0, -1):
        clock.now_s += overhead_s + used * pace.of_next(left).problem_cap_ms / 1e3
    return clock.now_s


@pytest.mark.parametrize("overhead_s", [0.3, 1.0, 2.0, 3.0])
def test_a_promised_time_is_kept_whatever_each_problem_costs_beside_its_visits(overhead_s):
    assert whole_run_s(overhead_s) <= 91


def test_a_busy_machine_makes_cells_shorter_never_skips_them():
    assert whole_run_s(overhead_s=5.0) == pytest.approx(26 * 5.0, rel=0.03)


def test_time_that_some_problems_do_not_use_goes_to_the_others():
    clock = Clock()
    pace = Pace(MeasureSettings(), 8, Budget(90, clock))
    first = pace.of_next(26).problem_cap_ms
    clock.now_s = 1.0
    assert pace.of_next(20).problem_cap_ms > first


def test_without_a_promise_the_settings_stay():
    assert Pace(MeasureSettings(), 8, Budget(None)).of_next(1000) == MeasureSettings()


def test_a_budget_without_a_limit_holds_anything():
    assert Budget(None).holds(1e9)


def test_a_budget_holds_what_still_fits():
    clock = Clock()
    budget = Budget(10, clock)
    clock.now_s = 7
    assert budget.holds(3) and not budget.holds(3.1)
    clock.now_s = 11
    assert budget.left_s == 0 and not budget.holds(0)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("8m", 480), ("3h", 10_800), ("1h30m", 5400)])
def test_durations_are_read_as_they_are_written(text, seconds):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "8", "m8", "8 minutes", "0s", "-3m", "nan"])
def test_what_is_no_duration_is_a_usage_error(text):
    with pytest.raises(UsageError, match="90s, 8m"):
        parse_seconds(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.35, "0.35 s"),
        (45, "45 s"),
        (120, "2 min"),
        (125, "2 min 5 s"),
        (3600, "1 h"),
        (12_000, "3 h 20 min"),
    ],
)
def test_durations_are_told_as_people_read_them(seconds, text):
    assert as_text(seconds) == text
