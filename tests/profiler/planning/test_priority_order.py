"""Work units: a short night covers every stratum, then the valuable cells; on an invented device."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from kswatch.db.queries import basic as queries
from kswatch.db.records import DeviceRecord
from kswatch.profiler.devices import discovery as devices
from kswatch.profiler.empty_records import problem_key
from kswatch.profiler.planning.cost_estimate import CostEstimate, estimate_cost
from kswatch.profiler.planning.dry_run import dry_run
from kswatch.profiler.planning.plan import plan_suite, stratum
from kswatch.profiler.planning.priority_order import last_best, remaining, work_units
from kswatch.profiler.runs.session import resume, run_suite
from kswatch.profiler.settings import MeasureSettings

NIGHTLY = plan_suite("nightly")
SECOND_A_CELL = CostEstimate(lambda problem, names, energy: float(len(names)), "an invented device")
BEST = {problem_key(problem): ["einsum", "bmm", "dense"] for problem in NIGHTLY.problems}


def of_a_night(budget_s, best=BEST):
    spent_s, held = 0.0, []
    for one in work_units(NIGHTLY, SECOND_A_CELL, best, budget_s):
        if spent_s + one.seconds > budget_s:
            return held
        spent_s += one.seconds
        held.append(one)
    return held


def test_with_enough_budget_each_problem_is_measured_whole_and_in_order():
    whole = work_units(NIGHTLY, SECOND_A_CELL, BEST, NIGHTLY.cells)
    assert [one.problem for one in whole] == list(NIGHTLY.problems)
    assert {one.implementations for one in whole} == {NIGHTLY.implementations}


def test_every_cell_is_planned_exactly_once_with_any_budget():
    planned = work_units(NIGHTLY, SECOND_A_CELL, BEST, 60)
    cells = Counter((one.problem, name) for one in planned for name in one.implementations)
    assert len(cells) == NIGHTLY.cells
    assert set(cells.values()) == {1}


@pytest.mark.parametrize("best", [BEST, {}], ids=["after a night", "on a first night"])
def test_a_short_night_covers_every_stratum_by_whole_problems(best):
    strata = {stratum(problem) for problem in NIGHTLY.problems}
    held = of_a_night(8.0 * len(strata), best)
    assert {stratum(one.problem) for one in held} == strata
    assert {one.implementations for one in held} == {NIGHTLY.implementations}


def test_next_every_problem_gets_fused_and_last_nights_best_baselines():
    strata, problems = len({stratum(problem) for problem in NIGHTLY.problems}), len(NIGHTLY.problems)
    held = of_a_night(8.0 * strata + 3.0 * (problems - strata))
    assert {one.problem for one in held} == set(NIGHTLY.problems)
    assert {one.implementations for one in held[strata:]} == {("fused", "bmm", "einsum")}


def test_late_cells_are_measured_again_with_fused_for_their_ratio():
    late = work_units(NIGHTLY, SECOND_A_CELL, BEST, 60)[-1]
    assert (late.paired_with, "fused" in late.implementations, late.energy) == (("fused",), False, False)


def test_every_prefix_of_a_plan_holds_energy_passes_in_proportion_in_each_stratum():
    places = NIGHTLY.energy_problem_indices()
    assert len(places) == pytest.approx(NIGHTLY.energy_problems, abs=12)
    half = len(NIGHTLY.problems) // 2
    assert len([place for place in places if place < half]) == pytest.approx(len(places) / 2, rel=0.1)
    assert {stratum(NIGHTLY.problems[place]) for place in places} == set(map(stratum, NIGHTLY.problems))


def test_recorded_cells_are_not_measured_again_except_fused_for_ratios():
    first = NIGHTLY.problems[0]
    done = {(problem_key(first), name) for name in ("fused", "bmm")}
    [left] = [one for one in remaining(work_units(NIGHTLY, None, {}, None), done) if one.problem == first]
    assert left.paired_with == ("fused",)
    assert not {"fused", "bmm"} & set(left.implementations)


def test_a_night_cut_short_records_every_skipped_cell_and_is_resumed(store, scripted):
    filters = {"precision": ["fp32"], "implementation": ["fused", "bmm", "einsum", "dense"]}
    measure = {"filters": filters, "kind": "nightly", "context": scripted.context()}
    full = run_suite(store, "smoke", **measure)
    store.finish_run(full.run, "finished", seconds=10.0 * full.cells)  # so slow is the device believed
    best = last_best(store, queries.run(store, full.run).device_uuid)
    assert {tuple(names) for key, names in best.items() if key.kind == "factor"} == {
        ("bmm", "einsum", "dense")
    }
    assert {tuple(names)[0].rpartition("/")[2] for key, names in best.items() if key.kind == "model"} == {
        "bmm"
    }
    scripted.tasks.clear()
    scripted.slow(100.0)
    cut = run_suite(store, "smoke", budget_s=835.0, **measure)
    assert cut.by_status["skipped"] > 0 and cut.cells == full.cells
    strata = {stratum(task.problem) for task in scripted.tasks}
    assert strata == {
        stratum(problem) for problem in plan_suite("smoke").problems if problem.precision == "fp32"
    }
    scripted.script = lambda task: None
    rest = resume(store, cut.run, budget_s=1e6, context=scripted.context())
    assert rest.by_status == {"ok": full.cells}


def test_the_paper_suite_fits_three_hours_on_a_big_board(store):
    settings = MeasureSettings()
    planned = dry_run(store, plan_suite("paper"), devices.find("sim:h200"), settings, 3 * 3600)
    assert settings.half_width == 0.005
    assert (planned.cells, planned.cells_left_out, planned.energy_problems) == (24_000, 0, 500)
    assert planned.minutes <= 180
    short = dry_run(store, plan_suite("paper"), devices.find("sim:h200"), settings, 480)
    assert short.minutes <= 8
    assert all(stratum.whole_problems > 0 for stratum in short.strata)
    assert short.cells + short.cells_left_out == 24_000


def test_an_unknown_device_has_no_estimate(store):
    unknown = DeviceRecord("GPU-1", "cuda", "a board of tomorrow")
    assert estimate_cost(store, unknown, NIGHTLY, MeasureSettings()) is None
    planned = dry_run(store, NIGHTLY, replace(devices.cpu_target(), record=unknown), MeasureSettings(), 60)
    assert (planned.minutes, planned.cells) == (None, NIGHTLY.cells)
