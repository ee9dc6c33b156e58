"""A suite that should be short stays so; a budget is counted by a clock that the test holds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kswatch.errors import UsageError
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from kswatch.profiler.planning.budget import TimeBudget, as_text, parse_seconds
from kswatch.profiler.planning.priority_order import WorkUnit
from kswatch.profiler.planning.time_caps import TimeCaps, shares
from kswatch.profiler.settings import MeasureSettings
from kswatch.profiler.subjects.problems import ModelForward


class Clock:
    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


def products(count: int) -> list[WorkUnit]:
    """Work units of eight implementations each."""
    problem = Problem(Pattern(1, 8, 8, 1), 16, "fp32", "batch_first")
    return [WorkUnit(problem, tuple("abcdefgh"), 0, False, 1.0)] * count


def whole_run_s(overhead_s: float, used: float = 1.0) -> float:
    """A run of 26 problems in 90 s, each with that overhead and using that share of its cap."""
    clock = Clock()
    caps = TimeCaps(MeasureSettings(), TimeBudget(90, clock))
    for left in range(26, 0, -1):
        clock.now_s += overhead_s + used * caps.next_settings(products(left)).problem_cap_ms / 1e3
    return clock.now_s


@pytest.mark.parametrize("overhead_s", [0.3, 1.0, 2.0, 3.0])
def test_the_time_limit_is_kept_despite_the_overhead_of_each_problem(overhead_s):
    assert whole_run_s(overhead_s) <= 91


def test_a_busy_machine_makes_cells_shorter_never_skips_them():
    assert whole_run_s(overhead_s=5.0) == pytest.approx(26 * 5.0, rel=0.03)


def test_unused_time_is_left_to_later_problems():
    clock = Clock()
    caps = TimeCaps(MeasureSettings(), TimeBudget(90, clock))
    first = caps.next_settings(products(26)).problem_cap_ms
    clock.now_s = 1.0
    assert caps.next_settings(products(20)).problem_cap_ms > first


def test_a_model_has_twice_the_time_of_a_product():
    model = replace(products(1)[0], problem=ModelForward("vit_s16", 196, 1))
    assert shares([model, *products(3)]) == 5.0
    caps = TimeCaps(MeasureSettings(), TimeBudget(100, Clock()))
    assert caps.next_settings([model, *products(3)]).problem_cap_ms == pytest.approx(1e3 * 100 * 2 / 5 / 2)


def test_the_overhead_of_one_model_does_not_shorten_the_timing_of_another():
    small, large = (
        replace(products(1)[0], problem=ModelForward(name, 196, 1)) for name in ("vit_s16", "gpt2_medium")
    )
    clock = Clock()
    caps = TimeCaps(MeasureSettings(), TimeBudget(900, clock))
    units, granted_s = [large, small] * 6, []
    for index, unit in enumerate(units):
        granted_s.append(caps.next_settings(units[index:]).problem_cap_ms / 1e3)
        clock.now_s += granted_s[-1] + (100 if unit is large else 5)
    assert granted_s[2:] == pytest.approx([22.75] * 10, rel=1e-3), "once both overheads are known"
    assert clock.now_s <= 900


def test_without_a_time_limit_the_settings_stay():
    assert TimeCaps(MeasureSettings(), TimeBudget(None)).next_settings(products(9)) == MeasureSettings()


def test_a_budget_without_a_limit_holds_anything():
    assert TimeBudget(None).holds(1e9)


def test_a_budget_holds_what_still_fits():
    clock = Clock()
    budget = TimeBudget(10, clock)
    clock.now_s = 7
    assert budget.holds(3) and not budget.holds(3.1)
    clock.now_s = 11
    assert budget.left_s == 0 and not budget.holds(0)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("8m", 480), ("3h", 10_800), ("1h30m", 5400)])
def test_durations_are_read_as_they_are_written(text, seconds):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "8", "m8", "8 minutes", "0s", "-3m", "nan"])
def test_an_invalid_duration_is_a_usage_error(text):
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
def test_durations_are_written_in_readable_units(seconds, text):
    assert as_text(seconds) == text
