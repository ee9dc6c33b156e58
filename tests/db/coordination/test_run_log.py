from __future__ import annotations

from kswatch.db.coordination.run_log import LEFT_OUT, MOST_LINES, log, run_log
from tests.db.sample_records import run_record


def test_a_runs_log_is_read_in_order(store):
    run_id = store.begin_run(run_record())
    log(store, run_id, [("info", "planned"), ("warning", "a cell crashed\0")])
    log(store, run_id, [("info", "finished")])
    lines = run_log(store, run_id)
    assert [(line.level, line.text) for line in lines] == [
        ("info", "planned"),
        ("warning", "a cell crashed"),
        ("info", "finished"),
    ]


def test_a_log_is_bounded_notes_it_once_and_keeps_the_end(store):
    run_id = store.begin_run(run_record())
    for _ in range(3):
        log(store, run_id, [("warning", f"line {number}") for number in range(MOST_LINES - 50)])
    log(store, run_id, [("info", "finished")], always=True)
    lines = run_log(store, run_id)
    assert len(lines) == MOST_LINES + 2
    assert [line.text for line in lines[-2:]] == [LEFT_OUT, "finished"]
