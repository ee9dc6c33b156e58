"""The sets of baselines of a run: their members, what is no member, and the series against each set."""

from __future__ import annotations

import pytest

from kswatch.db.interchange.importing import export_runs, import_file
from kswatch.db.queries import basic as queries
from kswatch.db.queries.baseline_sets import run_sets
from kswatch.db.records import BASELINE_SETS, EXPERT, RIVALS, STOCK
from kswatch.db.store import Store
from tests.db.sample_records import measured, night, problem, run_record, stored_tails

MISSING = "not installed: pip install -c constraints.txt 'kswatch[rivals]'"
LIBRARIES = {"compiled": {"torch": "2.13.0"}}


def expert_night(
    store: Store, times_ms: dict[str, float], without: tuple[str, ...] = ("cutensor", "triton"), **changes
) -> int:
    """Record a run of one problem with rivals, of which some are not installed."""
    run_id = store.begin_run(run_record(**{"libraries": LIBRARIES} | changes))
    rows = [measured(problem(), name, time) for name, time in times_ms.items()]
    rows += [measured(problem(), name, status="unsupported", reason=MISSING) for name in without]
    store.record_problem(run_id, rows)
    store.finish_run(run_id, "finished", 1.0, 0.1)
    return run_id


def speedups(store: Store, run_id: int) -> dict[str, float | None]:
    """The speedup of the run's problem by set."""
    found = {name: queries.comparisons(store, run_id, baselines=name) for name in BASELINE_SETS}
    return {name: rows[0].speedup for name, rows in found.items() if rows}


def test_the_expert_set_is_stock_torch_and_the_rivals():
    assert BASELINE_SETS[EXPERT] == (*STOCK, *RIVALS)


def test_a_rival_counts_against_the_expert_set_alone(store):
    run_id = expert_night(store, {"fused": 1.0, "bmm": 2.0, "compiled": 0.5})
    assert speedups(store, run_id) == {"paper": 2.0, "all": 2.0, "expert": 0.5}
    medians = {row.baselines: row.median_speedup for row in queries.summaries(store, run_id, baselines=None)}
    assert medians == {"paper": 2.0, "all": 2.0, "expert": 0.5}


def test_a_run_without_rivals_has_no_expert_set(store):
    run_id = night(store, {"fused": 1.0, "bmm": 2.0})
    assert speedups(store, run_id) == {"paper": 2.0, "all": 2.0}
    sets = run_sets(store, [run_id])[run_id]
    assert sets.members == {"paper": ("bmm",), "all": ("bmm",)} and sets.headline == "all"


def test_a_rival_that_is_not_installed_is_no_member_and_has_its_reason(store):
    run_id = expert_night(store, {"fused": 1.0, "bmm": 2.0, "compiled": 3.0})
    sets = run_sets(store, [run_id])[run_id]
    assert sets.members["expert"] == ("bmm", "compiled") and sets.rivals == ("compiled",)
    assert sets.missing == {"cutensor": MISSING, "lazylinop": "not measured", "triton": MISSING}
    assert sets.in_words == (
        "rivals there: compiled (torch 2.13.0); "
        "not there: cutensor (not installed), lazylinop (not measured), triton (not installed)"
    )


def test_where_no_rival_is_installed_the_set_says_so_and_none_is_beaten(store):
    run_id = expert_night(store, {"fused": 1.0, "bmm": 2.0}, without=RIVALS)
    sets = run_sets(store, [run_id])[run_id]
    assert sets.headline == "expert" and sets.members["expert"] == ("bmm",) and sets.rivals == ()
    assert queries.comparisons(store, run_id, baselines="expert")[0].best_baseline == "bmm"


@pytest.mark.parametrize("order", [1, -1])
def test_cells_that_the_budget_left_out_make_no_rival_a_member(store, order: int):
    """A cut run skips the cells of rivals that are not installed, too."""
    rows = [[measured(problem(1), name, 1.0) for name in ("fused", "bmm", "compiled")]]
    rows[0].append(measured(problem(1), "triton", status="unsupported", reason=MISSING))
    names = ("fused", "bmm", "compiled", "triton", "cutensor")
    rows.append([measured(problem(2), name, status="skipped", reason="the budget") for name in names])
    run_id = store.begin_run(run_record())
    for part in rows[::order]:
        store.record_problem(run_id, part)
    store.finish_run(run_id)
    sets = run_sets(store, [run_id])[run_id]
    assert sets.members["expert"] == ("bmm", "compiled")
    assert sets.missing["triton"] == MISSING and sets.missing["cutensor"].startswith("skipped")


def test_a_member_that_crashed_leaves_the_problem_out_of_its_own_set_alone(store):
    run_id = store.begin_run(run_record())
    rows = [measured(problem(d), name, 1.0) for d in (1, 2) for name in ("fused", "bmm", "compiled")]
    rows[-1] = measured(problem(2), "compiled", status="crashed")
    store.record_problem(run_id, rows)
    store.finish_run(run_id)
    left_out = {row.d: row.left_out for row in queries.comparisons(store, run_id, baselines="expert")}
    assert left_out == {1: None, 2: "compiled: crashed"}
    assert all(row.left_out is None for row in queries.comparisons(store, run_id, baselines="all"))


def test_a_rival_of_a_later_problem_is_missing_from_an_earlier_one(store):
    """As where a run is resumed after a rival was added to it."""
    run_id = store.begin_run(run_record())
    store.record_problem(run_id, [measured(problem(1), name, 1.0) for name in ("fused", "bmm")])
    store.record_problem(run_id, [measured(problem(2), name, 1.0) for name in ("fused", "bmm", "compiled")])
    store.finish_run(run_id)
    left_out = {row.d: row.left_out for row in queries.comparisons(store, run_id, baselines="expert")}
    assert left_out == {1: "compiled: no row", 2: None}


def test_each_set_has_series_of_its_own(store):
    run_id = expert_night(store, {"fused": 1.0, "bmm": 2.0, "compiled": 0.5})
    tails = stored_tails(store, ("speedup", "speedup_expert"))
    assert tails[problem(), "fused", "speedup"] == [(run_id, 2.0)]
    assert tails[problem(), "fused", "speedup_expert"] == [(run_id, 0.5)]


def test_sets_and_libraries_survive_an_export_and_an_import(store, tmp_path, new_store):
    run_id = expert_night(store, {"fused": 1.0, "bmm": 2.0, "compiled": 0.5})
    export_runs(store, tmp_path / "run.jsonl", "jsonl", [run_id])
    theirs = new_store()
    (imported,) = import_file(theirs, tmp_path / "run.jsonl").run_ids
    assert run_sets(theirs, [imported])[imported] == run_sets(store, [run_id])[run_id]
    assert speedups(theirs, imported) == speedups(store, run_id)
    assert theirs.run_plan(imported).libraries == LIBRARIES


def test_a_csv_export_keeps_the_sets_but_not_the_libraries(store, tmp_path, new_store):
    run_id = expert_night(store, {"fused": 1.0, "bmm": 2.0, "compiled": 0.5})
    export_runs(store, tmp_path / "run.csv", "csv", [run_id])
    theirs = new_store()
    (imported,) = import_file(theirs, tmp_path / "run.csv").run_ids
    assert run_sets(theirs, [imported])[imported].members == run_sets(store, [run_id])[run_id].members
    assert theirs.run_plan(imported).libraries == {}


@pytest.mark.parametrize("libraries", [{"compiled": "2.13"}, {"compiled": None}, {"compiled": [1]}])
def test_libraries_of_another_form_in_a_file_are_shown_as_they_are(sqlite_store, libraries):
    run_id = expert_night(sqlite_store, {"fused": 1.0, "compiled": 0.5}, libraries=libraries)
    assert run_sets(sqlite_store, [run_id])[run_id].libraries == {"compiled": str(libraries["compiled"])}
