"""The headline is against the set of the newest run, and names the rivals that were and were not there."""

from __future__ import annotations

import pytest

from kswatch.db.coordination.run_events import add_run_event
from kswatch.db.queries.headline import headline
from kswatch.db.queries.headline_baselines import choose_baselines
from kswatch.errors import UsageError
from tests.db.sample_records import measured, night, problem, run_record

TIMES = {"fused": 1.0, "bmm": 2.0, "dense": 3.0}
LIBRARIES = {"compiled": {"torch": "2.13.0"}}


def expert_night(store, compiled_ms: float = 0.5, **changes) -> int:
    return night(store, TIMES | {"compiled": compiled_ms}, libraries=LIBRARIES, **changes)


def test_the_newest_run_with_rivals_makes_expert_the_set_of_the_headline(store):
    night(store, TIMES)
    newest = expert_night(store)
    found = headline(store)
    assert (found.baseline_set, found.baseline_set_run) == ("expert", newest)
    assert found.baselines == ("bmm", "dense", "compiled")
    assert (found.fused_wins, found.median_speedup) == (0, 0.5)
    assert found.rivals == {"compiled": "torch 2.13.0"}
    assert found.rivals_missing.keys() == {"cutensor", "lazylinop", "triton"}


def test_a_newest_run_without_rivals_makes_all_the_set(store):
    expert_night(store)
    newest = night(store, TIMES)
    found = headline(store)
    assert (found.baseline_set, found.baseline_set_run, found.fused_wins) == ("all", newest, 1)
    assert found.baselines == ("bmm", "dense")


@pytest.mark.parametrize(("name", "speedup"), [("expert", 0.5), ("all", 2.0), ("paper", 2.0), ("dense", 3.0)])
def test_a_set_can_be_named_whatever_the_newest_run_has(store, name: str, speedup: float):
    with_rivals = expert_night(store)
    night(store, TIMES)
    found = headline(store, baselines=name)
    assert found.median_speedup == speedup
    assert found.baseline_set == (None if name == "dense" else name)
    if name == "expert":
        assert found.baseline_set_run == with_rivals


def test_the_expert_headline_leaves_no_problem_out_that_was_measured_without_rivals(store):
    run_id = store.begin_run(run_record())
    rows = [measured(problem(d), name, time) for d in (1, 2, 3) for name, time in TIMES.items()]
    store.record_problem(run_id, rows)
    store.finish_run(run_id)
    expert_night(store)
    night(store, TIMES | {"fused": 0.1})
    found = headline(store, baselines="expert")
    assert (found.problems, found.left_out) == (1, 0)
    assert found.median_speedup == 0.5, "fused of another run is not compared with these rivals"


def test_the_expert_headline_has_the_newest_rows_of_all_runs_with_its_members(store):
    expert_night(store)
    run_id = store.begin_run(run_record(libraries=LIBRARIES))
    store.record_problem(
        run_id,
        [measured(problem(2), name, time) for name, time in TIMES.items()]
        + [measured(problem(2), "compiled", 4.0)],
    )
    store.finish_run(run_id)
    found = headline(store)
    assert (found.baseline_set_run, found.problems, found.left_out) == (run_id, 2, 0)


def test_a_rival_can_be_named_alone(store):
    expert_night(store)
    found = headline(store, baselines="compiled,bmm")
    assert (found.baselines, found.baseline_set, found.rivals_missing) == (("compiled", "bmm"), None, {})


def test_a_rival_that_is_no_longer_installed_is_not_beaten_by_its_old_times(store):
    expert_night(store)
    run_id = store.begin_run(run_record())
    rows = [measured(problem(), name, time) for name, time in TIMES.items()]
    rows.append(measured(problem(), "compiled", status="unsupported", reason="not installed: pip install"))
    store.record_problem(run_id, rows)
    store.finish_run(run_id)
    found = headline(store)
    assert (found.baseline_set, found.rivals, found.median_speedup) == ("expert", {}, 2.0)
    assert found.rivals_missing["compiled"] == "not installed: pip install"


def test_one_run_has_its_own_set(store):
    with_rivals = expert_night(store)
    without = night(store, TIMES)
    assert headline(store, run_id=with_rivals).baseline_set == "expert"
    assert headline(store, run_id=without).baseline_set == "all"
    assert headline(store, run_id=without, baselines="expert").rivals == {}


def test_excluded_and_running_runs_choose_no_set(store):
    night(store, TIMES)
    add_run_event(store, expert_night(store), "exclude", "me", "bad")
    running = store.begin_run(run_record(libraries=LIBRARIES))
    store.record_problem(running, [measured(problem(), name, 1.0) for name in ("fused", "bmm", "compiled")])
    assert choose_baselines(store).set_name == "all"


def test_an_unknown_set_or_baseline_is_refused_with_the_choices(store):
    night(store, TIMES)
    with pytest.raises(UsageError, match="unknown baseline 'best'; .* triton, or a set: paper, all, expert"):
        headline(store, baselines="best")
