"""A run ends in the store as it should, whatever happens to it; the engine is scripted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kswatch.db.coordination import leases
from kswatch.db.queries import basic as queries
from kswatch.db.records import EnvironmentRecord, RevisionRecord
from kswatch.errors import MeasurementError, UsageError
from kswatch.kernels.heuristics.catalogue import HEURISTICS
from kswatch.profiler.config import ProfilerConfig
from kswatch.profiler.devices.discovery import cpu_target
from kswatch.profiler.runs import session
from kswatch.profiler.runs.problem_loop import ProblemLoop
from kswatch.profiler.runs.session import resume, run_suite
from kswatch.profiler.signals import Stopped

FILTERS = {"pattern": ["2,8,8,2", "1,8,8,4", "4,8,8,1"], "implementation": ["fused", "bmm"]}
CELLS = 3 * 2 * 2


def raise_at(problem: int, error: Exception):
    """A script that raises when that many problems are done."""
    done = []

    def script(task):
        if len(done) == problem:
            raise error
        done.append(task)

    return script


def rows(store, run_id):
    found = queries.measurements(store, run_id)
    assert len({row.cell_id for row in found}) == len(found)
    return found


def test_every_cell_is_recorded_once_with_canaries_and_predictions(store, scripted):
    result = run_suite(store, "ad_hoc", filters=FILTERS, context=scripted.context())
    assert (result.state, result.cells, result.by_status) == ("finished", CELLS, {"ok": CELLS})
    assert len(rows(store, result.run)) == CELLS
    assert {row.position for row in queries.canaries(store, result.run)} == {"start", "middle", "end"}
    predicted = queries.prediction_outcomes(store, result.run)
    assert len(predicted) == 6 * len(HEURISTICS)


def test_hot_mode_of_the_configuration_is_kept_when_a_run_is_resumed(store, scripted):
    warm = scripted.context(config=ProfilerConfig(hot=True))
    scripted.script = raise_at(1, Stopped())
    run_suite(store, "ad_hoc", filters=FILTERS, context=warm)
    assert queries.run(store, 1).arguments["hot"] is True
    scripted.script = lambda task: None
    resume(store, context=scripted.context())
    assert [task.settings.hot for task in scripted.tasks] == [True] * 6
    run_suite(store, "ad_hoc", filters=FILTERS | {"hot": False}, context=warm)
    assert not scripted.tasks[-1].settings.hot


def test_cells_beyond_the_budget_are_skipped_with_a_reason_and_resumed(store, scripted):
    scripted.slow(10.0)
    cut = run_suite(store, "ad_hoc", filters=FILTERS, budget_s=35.0, context=scripted.context())
    assert cut.state == "finished"
    assert cut.cells == CELLS
    assert cut.by_status["skipped"] > 0
    reasons = {row.reason for row in rows(store, cut.run) if row.status == "skipped"}
    assert reasons == {"the budget of 35 s was spent"}
    rest = resume(store, cut.run, budget_s=60, context=scripted.context())
    assert rest.by_status == {"ok": CELLS}
    assert len(scripted.tasks) == 6


def test_a_problem_that_fits_the_budget_no_more_leaves_room_for_shorter_ones(store, scripted, monkeypatch):
    former = session.work_units

    def with_a_long_one(*arguments):
        units = former(*arguments)
        return [replace(unit, seconds=1000.0 if index == 2 else 10.0) for index, unit in enumerate(units)]

    monkeypatch.setattr(session, "work_units", with_a_long_one)
    scripted.slow(10.0)
    cut = run_suite(store, "ad_hoc", filters=FILTERS, budget_s=75.0, context=scripted.context())
    assert (len(scripted.tasks), cut.by_status) == (5, {"ok": CELLS - 2, "skipped": 2})


def test_a_stopped_run_is_interrupted_and_resumed_without_repeating_a_problem(store, scripted):
    scripted.script = raise_at(2, Stopped())
    stopped = run_suite(store, "ad_hoc", filters=FILTERS, context=scripted.context())
    assert (stopped.state, stopped.cells) == ("interrupted", 4)
    scripted.script = lambda task: None
    rest = resume(store, context=scripted.context())
    assert (rest.run, rest.state, rest.by_status) == (stopped.run, "finished", {"ok": CELLS})
    assert len({task.problem for task in scripted.tasks}) == len(scripted.tasks) == 6


def test_a_device_that_is_lost_leaves_a_run_to_resume(store, scripted):
    scripted.script = raise_at(1, MeasurementError("it fell off the bus"))
    with pytest.raises(MeasurementError, match="bus"):
        run_suite(store, "ad_hoc", filters=FILTERS, context=scripted.context())
    assert queries.runs(store)[0].state == "interrupted"


def test_a_defect_makes_the_run_failed_and_is_not_hidden(store, scripted):
    scripted.script = raise_at(1, ZeroDivisionError("a defect"))
    with pytest.raises(ZeroDivisionError):
        run_suite(store, "ad_hoc", filters=FILTERS, context=scripted.context())
    assert queries.runs(store)[0].state == "failed"
    assert len(rows(store, 1)) == 2


def test_the_error_of_a_second_process_names_the_holder_of_the_device(store, scripted):
    leases.acquire(store, cpu_target().record.uuid, "process 7 of another host since 1 (kswatch serve)")
    with pytest.raises(MeasurementError, match="process 7 of another host"):
        run_suite(store, "ad_hoc", filters=FILTERS, context=scripted.context())
    assert queries.runs(store) == []


def test_a_process_without_its_lease_records_nothing_more(store, scripted):
    def usurp(task):
        leases.acquire(store, cpu_target().record.uuid, "another", is_dead=lambda holder: True)

    scripted.script = usurp
    with pytest.raises(MeasurementError, match="lost"):
        run_suite(store, "ad_hoc", filters=FILTERS, context=scripted.context())
    assert rows(store, 1) == []


def test_a_run_of_another_environment_is_not_resumed(store, scripted):
    scripted.script = raise_at(1, Stopped())
    run_suite(store, "ad_hoc", filters=FILTERS, context=scripted.context())
    elsewhere = replace(scripted, environment=EnvironmentRecord(host="here", driver="newer"))
    with pytest.raises(UsageError, match="another environment"):
        resume(store, context=elsewhere.context())


def test_a_run_stores_its_half_width_and_keeps_it_when_resumed(store, scripted):
    scripted.script = raise_at(1, Stopped())
    stopped = run_suite(store, "ad_hoc", filters=FILTERS, context=scripted.context())
    wider = scripted.context(config=ProfilerConfig(half_width_cpu=0.1))
    scripted.script = lambda task: None
    resume(store, stopped.run, context=wider)
    assert {task.settings.half_width for task in scripted.tasks} == {0.02}
    run_suite(store, "ad_hoc", filters=FILTERS, context=wider)
    assert scripted.tasks[-1].settings.half_width == 0.1
    first, second = (queries.run(store, run_id) for run_id in (1, 2))
    assert (first.environment.extra, second.environment.extra) == ({"half_width": 0.02}, {"half_width": 0.1})
    assert first.environment_id != second.environment_id, "nights of two half widths would be compared"


def test_a_run_from_before_half_widths_were_stored_keeps_its_own(store, scripted):
    """Then every device had half a percent, which no environment names."""
    old = scripted.context(config=ProfilerConfig(half_width_cpu=0.005))
    scripted.script = raise_at(1, Stopped())
    stopped = run_suite(store, "ad_hoc", filters=FILTERS, context=old)
    assert queries.run(store, stopped.run).environment.extra == {}
    scripted.script = lambda task: None
    resume(store, stopped.run, context=scripted.context())
    assert {task.settings.half_width for task in scripted.tasks} == {0.005}


def test_a_run_of_another_commit_is_not_resumed(store, scripted, monkeypatch):
    scripted.script = raise_at(1, Stopped())
    monkeypatch.setattr(session, "running_revision", lambda: RevisionRecord("another"))
    run_suite(store, "ad_hoc", filters=FILTERS, context=scripted.context())
    monkeypatch.undo()
    with pytest.raises(UsageError, match="another commit"):
        resume(store, context=scripted.context())


def test_without_an_interrupted_run_there_is_nothing_to_resume(store, scripted):
    with pytest.raises(UsageError, match="no interrupted run"):
        resume(store, context=scripted.context())


def test_a_stop_before_the_first_problem_leaves_an_empty_interrupted_run(store, scripted):
    scripted.script = raise_at(0, Stopped())
    result = run_suite(store, "ad_hoc", filters=FILTERS, context=scripted.context())
    assert (result.state, result.cells) == ("interrupted", 0)


def test_a_run_killed_between_its_last_cell_and_its_end_is_ended_by_resuming_it(store, scripted, monkeypatch):
    class KilledError(BaseException):
        """Ends the process, as far as the store can see."""

    def kill(*arguments):
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(ProblemLoop, "_end", kill)
        with pytest.raises(KilledError):
            run_suite(store, "ad_hoc", filters=FILTERS, context=scripted.context())
    run_id, tasks = queries.runs(store)[0].id, len(scripted.tasks)
    result = resume(store, run_id, context=scripted.context())
    assert (result.run, result.state) == (run_id, "finished")
    assert len(scripted.tasks) == tasks  # no cell is measured again
    assert queries.run(store, run_id).by_status
    with pytest.raises(UsageError, match="nothing is left"):
        resume(store, run_id, context=scripted.context())


def test_a_complete_run_is_not_started_again(store, scripted):
    done = run_suite(store, "ad_hoc", filters=FILTERS, context=scripted.context())
    with pytest.raises(UsageError, match="nothing is left"):
        resume(store, done.run, context=scripted.context())
