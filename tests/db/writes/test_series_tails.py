from __future__ import annotations

from kswatch.db.coordination.run_events import add_run_event
from kswatch.db.queries import basic as queries
from kswatch.db.queries import regression_inputs
from kswatch.db.queries.regression_inputs import nights_before, tails
from kswatch.db.schema.tables import SeriesTail
from tests.db.sample_records import import_run, measured, night, problem, run_record, stored_tails


def tail(store, metric="latency_ms", implementation="fused"):
    found = stored_tails(store, [metric])
    return [
        value
        for (_, name, _), points in sorted(found.items(), key=str)
        for _, value in points
        if name == implementation
    ]


def test_a_tail_has_a_point_of_each_nightly_run_alone(store):
    for number, kind in enumerate(("nightly", "ad_hoc", "confirm", "nightly"), start=1):
        night(store, {"fused": float(number), "bmm": 2.0 * number}, kind=kind)
    assert tail(store) == [1.0, 4.0]
    assert tail(store, "speedup") == [2.0, 2.0]


def test_excluded_and_later_runs_are_no_nights_before_a_run(store):
    runs = [night(store, {"fused": time}) for time in (1.0, 2.0, 3.0, 4.0)]
    add_run_event(store, runs[1], "exclude", "me", "bad")
    found = nights_before(store, queries.run(store, runs[2]), 10)
    assert [one.run_id for one in found] == [runs[0]]


def test_no_more_points_are_read_than_there_were_nights(store):
    runs = [night(store, {"fused": time, "bmm": 9.0}) for time in (1.0, 2.0, 3.0, 4.0)]
    night(store, {"fused": 5.0}, kind="ad_hoc")
    device = queries.find_device(store, None).id
    found = tails(store, device, ["latency_ms"], since_run_id=runs[2])
    assert list(found.lengths) == [2, 2]
    assert [*found.points["run_id"]] == [runs[2], runs[3]] * 2
    assert {3.0, 4.0} < {*found.points["value"]}
    assert list(tails(store, device, ["latency_ms"], since_run_id=1).lengths) == [4, 4]


def test_older_points_are_read_where_the_history_reaches_that_far(store, monkeypatch):
    monkeypatch.setattr(regression_inputs, "RECENT_POINTS", 2)
    runs = [night(store, {"fused": 1.0 + number}) for number in range(5)]
    device = queries.find_device(store, None).id
    with store.writing() as session:
        for row in session.query(SeriesTail):
            row.points, row.older = row.points[-2 * 16 :], row.points[: -2 * 16]
    assert tail(store) == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert [*tails(store, device, ["latency_ms"], since_run_id=runs[3]).points["run_id"]] == runs[3:]
    night(store, {"fused": 6.0})
    assert tail(store) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


def test_a_measurement_replaced_by_a_failure_leaves_no_point(store):
    run_id = night(store, {"fused": 1.0, "bmm": 2.0})
    store.record_problem(run_id, [measured(problem(), "fused", status="incorrect")])
    store.finish_run(run_id)
    assert (tail(store), tail(store, "speedup"), tail(store, implementation="bmm")) == ([], [], [2.0])


def test_hot_measurements_are_neither_compared_nor_judged(store):
    run_id = store.begin_run(run_record())
    cold_and_hot = [
        measured(problem(), name, time, mode=mode)
        for name, time, mode in (("fused", 2.0, "cold"), ("bmm", 4.0, "cold"), ("fused", 1.0, "hot"))
    ]
    store.record_problem(run_id, cold_and_hot)
    assert tail(store) == [2.0]
    assert queries.comparisons(store, run_id)[0].speedup == 2.0


def test_an_imported_run_equals_one_recorded_problem_by_problem(store):
    records = [
        measured(problem(d), name, time) for d in (1, 2) for name, time in (("fused", 1.0), ("bmm", d))
    ]
    one = store.begin_run(run_record())
    for d in (1, 2):
        store.record_problem(one, [record for record in records if record.problem.d == d])
    store.finish_run(one)
    other = import_run(store, records)
    first, second = ([row[3:] for row in queries.comparisons(store, run_id)] for run_id in (one, other))
    assert first == second
    assert tail(store, "speedup") == [1.0, 1.0, 2.0, 2.0]
    assert {tuple(run_id for run_id, _ in points) for points in stored_tails(store).values()} == {
        (one, other)
    }


def test_a_baseline_first_measured_late_counts_for_the_first_problems_too(store):
    run_id = store.begin_run(run_record())
    store.record_problem(run_id, [measured(problem(1), "fused", 1.0), measured(problem(1), "bmm", 2.0)])
    rows = [("fused", 1.0), ("bmm", 2.0), ("csr", 3.0)]
    store.record_problem(run_id, [measured(problem(2), name, time) for name, time in rows])
    store.finish_run(run_id)
    left_out = {row.d: row.left_out for row in queries.comparisons(store, run_id)}
    assert left_out == {1: "csr: no row", 2: None}
    assert tail(store, "speedup") == [2.0]


def test_a_runs_summary_has_its_headline(store):
    run_id = store.begin_run(run_record())
    for d, speedup in enumerate((0.5, 1.0, 2.0, 4.0), start=1):
        rows = [measured(problem(d), "fused", 1.0), measured(problem(d), "bmm", speedup)]
        store.record_problem(run_id, rows)
    store.record_problem(run_id, [measured(problem(9), "fused", status="crashed", reason="no")])
    store.finish_run(run_id)
    (found,) = queries.summaries(store, run_id)
    assert (found.problems, found.fused_wins, found.left_out) == (4, 2, 1)
    assert (found.median_speedup, found.median_ratio) == (1.5, 0.75)
    assert round(found.geomean_speedup, 12) == round(2**0.5, 12)
    assert (found.speedup_p25, found.speedup_p75) == (0.875, 2.5)


def test_each_set_of_baselines_has_its_own_speedup(store):
    run_id = night(store, {"fused": 2.0, "bmm": 3.0, "bmm_strided": 1.0})
    speedups = {
        name: queries.comparisons(store, run_id, baselines=name)[0].speedup for name in ("paper", "all")
    }
    assert speedups == {"paper": 1.5, "all": 0.5}
