"""What pages and the measuring loop may rely on; processor time, so that a busy machine fails nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from sqlalchemy import event

from kswatch.db.queries import basic as queries
from kswatch.db.queries.cells import cells_of_problem
from kswatch.db.records import IMPLEMENTATIONS
from tests.cpu_time import cpu_times_s, least_cpu_s
from tests.db.sample_records import import_run, measured, problem, run_record


def test_recording_a_problem_takes_few_statements_and_under_5_ms(sqlite_store):
    statements = []
    event.listen(sqlite_store.engine, "before_cursor_execute", lambda *event: statements.append(event[2]))

    def recordings() -> Iterator[Callable[[], None]]:
        for _ in range(2):
            run_id = sqlite_store.begin_run(run_record())
            for d in range(1, 31):
                cells = {"cycles": 1e6, "samples_ms": (1.0,) * 60}
                records = [measured(problem(d), name, 1.0, **cells) for name in IMPLEMENTATIONS]
                statements.clear()
                yield partial(sqlite_store.record_problem, run_id, records)

    took_s = cpu_times_s(recordings())
    assert len(statements) <= 7
    assert sorted(took_s)[len(took_s) // 2] < 0.005


def test_a_page_reads_its_run_among_20_000_measurements_in_under_half_a_second(sqlite_store):
    for _ in range(10):
        records = [measured(problem(d), name, 1.0) for d in range(1, 251) for name in IMPLEMENTATIONS]
        run_id = import_run(sqlite_store, records)
    device = queries.find_device(sqlite_store, None).id

    def read_page() -> None:
        assert len(queries.measurements(sqlite_store, run_id)) == 2_000
        assert len(queries.comparisons(sqlite_store, device_id=device, problem=problem(7))) == 10
        assert len(cells_of_problem(sqlite_store, range(1, 11), problem(7), ["latency_ms"])) == 80
        assert len(queries.summaries(sqlite_store)) == 10

    assert least_cpu_s(read_page) < 0.5
