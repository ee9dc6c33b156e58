"""Levels are kept while nights are judged: the same as those of all nights at once, and settled when old."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kswatch.ci.check import judge
from kswatch.ci.config import CiConfig
from kswatch.ci.regression.history import read_judging_inputs
from kswatch.ci.regression.series_levels import (
    EDGE,
    EVERY,
    WINDOW,
    due_series,
    rebuild_levels,
    update_levels,
)
from kswatch.ci.regression.verdicts import judge_series
from kswatch.db.levels.stored import last_found, levels_with_changes, problem_levels
from kswatch.db.queries.basic import devices, run
from tests.ci.nights import PROBLEMS, START, Nights

FUSED = "fused"


def look_again(store, run_id: int) -> None:
    inputs = read_judging_inputs(store, run(store, run_id), CiConfig())
    update_levels(store, inputs, judge_series(inputs, CiConfig()), CiConfig())


def judged_night(store, nights: Nights, **planted) -> int:
    run_id = nights.night(**planted)
    judge(store, run_id, CiConfig(), now=START)
    return run_id


def latencies(store, problem=PROBLEMS[0]):
    (device,) = devices(store)
    found = problem_levels(store, device.id, problem, ("latency_ms",))
    return [one for one in found if one.implementation == FUSED]


def test_judging_every_night_finds_the_levels_of_all_nights_at_once(store):
    nights = Nights(store)
    nights.quiet(20)
    slower = [judged_night(store, nights, factors={FUSED: 1.1}) for _ in range(9)]
    (device,) = devices(store)
    judged = levels_with_changes(store, device.id, 1)
    rebuild_levels(store, device, CiConfig())
    assert {one.first_run_id for one in judged if one.last_good_run_id} == {slower[0]}
    assert [one[:4] for one in judged] == [one[:4] for one in levels_with_changes(store, device.id, 1)]


def test_a_level_older_than_the_window_stays_as_it_was_found(store):
    nights = Nights(store)
    few = {"problems": PROBLEMS[:1], "implementations": (FUSED,)}
    nights.quiet(30, **few)
    slower = nights.quiet(30, factors={FUSED: 1.1}, **few)
    look_again(store, slower[-1])
    before = latencies(store)
    assert [one.first_run_id for one in before] == [1, slower[0]]
    later = nights.quiet(WINDOW - EDGE, factors={FUSED: 1.1}, **few)
    look_again(store, later[-1])
    assert latencies(store) == before
    newest = nights.quiet(10, factors={FUSED: 1.3}, **few)
    look_again(store, newest[-1])
    found = latencies(store)
    assert found[:-1] == before
    assert (found[-1].first_run_id, found[-1].last_good_run_id) == (newest[0], later[-1])


def test_a_series_is_due_when_it_moved_and_else_every_seventh_night(store):
    nights = Nights(store)
    newest = nights.quiet(EVERY + 4)[-1]
    inputs = read_judging_inputs(store, run(store, newest), CiConfig())
    quiet = judge_series(inputs, CiConfig())
    all_nights, keys = list(range(1, newest + 1)), [one.key for one in quiet]
    assert due_series(quiet, dict.fromkeys(keys, newest - EVERY + 1), all_nights) == set()
    share = -(-len(keys) // EVERY)
    assert len(due_series(quiet, {}, all_nights)) == share
    moved = replace(quiet[-1], verdict="slower")
    assert due_series([*quiet[:-1], moved], dict.fromkeys(keys, newest), all_nights) == {moved.key}


def test_every_series_is_looked_at_within_the_first_seven_nights(store):
    nights = Nights(store)
    for _ in range(EVERY):
        newest = judged_night(store, nights)
    (device,) = devices(store)
    inputs = read_judging_inputs(store, run(store, newest), CiConfig())
    assert last_found(store, device.id).keys() == {one.key for one in inputs.series}


def test_the_last_good_night_is_one_that_counts(store):
    nights = Nights(store)
    nights.quiet(20)
    hot = {(FUSED, problem): ["thermal_slowdown"] for problem in PROBLEMS}
    throttled = nights.night(factors={FUSED: 1.2}, flags=hot)
    after = nights.quiet(9, factors={FUSED: 1.1})
    (device,) = devices(store)
    rebuild_levels(store, device, CiConfig())
    assert latencies(store)[-1][2:4] == (after[0], throttled - 1)


@pytest.mark.parametrize("judged", [0, 1])
def test_a_store_without_nights_or_levels_has_none(store, judged):
    for _ in range(judged):
        judged_night(store, Nights(store))
    for device in devices(store):
        assert levels_with_changes(store, device.id, 0) == []
