from __future__ import annotations

from kswatch.db.coordination.run_events import say
from kswatch.db.queries import basic as queries
from kswatch.db.queries.regression_inputs import tails
from kswatch.db.schema.tables import SeriesTail
from tests.db.sample_records import measured, night, problem, run_record


def tail(store, metric="latency_ms", implementation="fused", **options):
    device = queries.find_device(store, None).id
    return [
        point.value
        for series in queries.tails(store, device, metrics=[metric], **options)
        for point in series.points
        if series.implementation == implementation
    ]


def test_a_tail_holds_the_nights_and_nothing_else(store):
    for number, kind in enumerate(("nightly", "ad_hoc", "confirm", "nightly"), start=1):
        night(store, {"fused": float(number), "bmm": 2.0 * number}, kind=kind)
    assert tail(store) == [1.0, 4.0]
    assert tail(store, "speedup") == [2.0, 2.0]


def test_points_of_excluded_runs_are_not_read(store):
    runs = [night(store, {"fused": time}) for time in (1.0, 2.0, 3.0)]
    say(store, runs[1], "exclude", "me", "bad")
    assert tail(store) == [1.0, 3.0]


def test_a_night_is_judged_by_what_came_before_it(store):
    runs = [night(store, {"fused": time}) for time in (1.0, 2.0, 3.0)]
    assert tail(store, newest_run_id=runs[1]) == [1.0, 2.0]
    night(store, {"bmm": 5.0})
    assert tail(store, newest_run_id=runs[2] + 1) == []


def test_judging_carries_no_more_points_than_there_were_nights(store):
    runs = [night(store, {"fused": time, "bmm": 9.0}) for time in (1.0, 2.0, 3.0, 4.0)]
    night(store, {"fused": 5.0}, kind="ad_hoc")
    device = queries.find_device(store, None).id
    found = tails(store, device, ["latency_ms"], since_run_id=runs[2])
    assert list(found.lengths) == [2, 2]
    assert [*found.points["run_id"]] == [runs[2], runs[3]] * 2
    assert {3.0, 4.0} < {*found.points["value"]}
    assert list(tails(store, device, ["latency_ms"], since_run_id=1).lengths) == [4, 4]


def test_what_lies_beyond_the_recent_points_is_read_where_it_is_asked_for(store):
    runs = [night(store, {"fused": 1.0 + number}) for number in range(5)]
    device = queries.find_device(store, None).id
    with store.writing() as session:
        for row in session.query(SeriesTail):
            row.points, row.older = row.points[-2 * 16 :], row.points[: -2 * 16]
    assert tail(store) == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert [*tails(store, device, ["latency_ms"], since_run_id=runs[3]).points["run_id"]] == runs[3:]
    night(store, {"fused": 6.0})
    assert tail(store) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


def test_a_measurement_that_is_replaced_by_a_failure_leaves_no_point(store):
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


def test_tails_built_anew_are_those_built_night_by_night(store):
    for time in (1.0, 2.0, 3.0):
        run_id = store.begin_run(run_record())
        records = [
            measured(
                problem(d),
                name,
                time * factor,
                latency_low_ms=time * factor * 0.9,
                energy_mj=time,
                cycles=1e6,
            )
            for d in (1, 2)
            for name, factor in (("fused", 1.0), ("bmm", 1.5))
        ]
        store.record_problem(run_id, records)
        store.finish_run(run_id)
    device = queries.find_device(store, None).id
    before = queries.tails(store, device)
    store.rebuild_tails(device)
    assert queries.tails(store, device) == before
    assert len(before) == 2 * 2 * 3 + 2 * 2


def test_runs_recorded_whole_are_as_those_recorded_by_problem(store):
    records = [
        measured(problem(d), name, time) for d in (1, 2) for name, time in (("fused", 1.0), ("bmm", d))
    ]
    one = store.begin_run(run_record())
    for d in (1, 2):
        store.record_problem(one, [record for record in records if record.problem.d == d])
    store.finish_run(one)
    other = store.record_run(run_record(), records)
    store.rebuild_tails(queries.find_device(store, None).id)
    first, second = ([row[3:] for row in queries.comparisons(store, run_id)] for run_id in (one, other))
    assert first == second
    assert tail(store, "speedup") == [1.0, 1.0, 2.0, 2.0]


def test_a_baseline_that_came_late_is_asked_of_the_first_problems_too(store):
    run_id = store.begin_run(run_record())
    store.record_problem(run_id, [measured(problem(1), "fused", 1.0), measured(problem(1), "bmm", 2.0)])
    rows = [("fused", 1.0), ("bmm", 2.0), ("csr", 3.0)]
    store.record_problem(run_id, [measured(problem(2), name, time) for name, time in rows])
    store.finish_run(run_id)
    left_out = {row.d: row.left_out for row in queries.comparisons(store, run_id)}
    assert left_out == {1: "csr: no row", 2: None}
    assert tail(store, "speedup") == [2.0]


def test_the_headline_of_a_run_is_in_its_summary(store):
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


def test_the_two_sets_of_baselines_are_told_apart(store):
    run_id = night(store, {"fused": 2.0, "bmm": 3.0, "bmm_strided": 1.0})
    speedups = {
        name: queries.comparisons(store, run_id, baselines=name)[0].speedup for name in ("paper", "all")
    }
    assert speedups == {"paper": 1.5, "all": 0.5}
