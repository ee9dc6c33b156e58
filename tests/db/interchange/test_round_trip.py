"""What is exported and imported elsewhere is the same there, and importing it again records nothing."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kswatch.db.compiled_code.resources import record_resources
from kswatch.db.coordination.run_events import add_run_event
from kswatch.db.coordination.run_log import log, run_log
from kswatch.db.interchange.importing import export_runs, import_file
from kswatch.db.queries import basic as queries
from kswatch.db.queries import compiled_code as queries_code
from kswatch.db.queries.headline import outcomes, summary
from kswatch.db.records import (
    IMPLEMENTATIONS,
    LAYOUTS,
    PRECISIONS,
    CanaryRecord,
    CounterReading,
    DeviceRecord,
    EnvironmentRecord,
    MeasurementRecord,
    PredictionRecord,
    ProblemKey,
    RevisionRecord,
    RunRecord,
)
from kswatch.db.schema.base import Base
from kswatch.db.store import Store
from kswatch.db.writes.series_tails import RATIO_SERIES, TAIL_METRICS
from tests.db.sample_records import measured, night, problem, stored_tails

positive = st.floats(1e-6, 1e6)
single = st.floats(2**-20, 2**20, width=32)
integer = st.integers(0, 2**31 - 1)
# PostgreSQL stores no NUL and no database a lone surrogate; empty text is not known text in CSV
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)
times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
factors = st.builds(
    ProblemKey,
    *(st.integers(1, 9) for _ in "abcd"),
    st.integers(1, 9),
    st.sampled_from(PRECISIONS),
    st.sampled_from(LAYOUTS),
)
layers_and_models = st.builds(replace, factors, subject=st.sampled_from(["layer", "vit_s16 eager"]))
BY_TYPE = {"float | None": positive, "int | None": integer, "str | None": words}
OPTIONAL = {
    field.name: st.none() | BY_TYPE[field.type]
    for field in fields(MeasurementRecord)
    if field.type in BY_TYPE
}
CELLS = (
    (factors, st.sampled_from(IMPLEMENTATIONS)),
    (layers_and_models, st.sampled_from(["dense/dense", "ks 2,4,6,1;1,6,4,2/fused"])),
)
measurements = st.builds(
    lambda cell, **values: MeasurementRecord(*cell, **values),
    cell=st.one_of(*(st.tuples(*cell) for cell in CELLS)),
    status=st.sampled_from(["ok", "not_converged", "crashed", "unsupported", "implausible"]),
    mode=st.sampled_from(["cold", "hot", "unknown"]),
    flags=st.lists(st.sampled_from(["bimodal", "power_capped"]), unique=True).map(tuple),
    samples_ms=st.lists(single, max_size=5).map(tuple),
    **OPTIONAL,
)
runs = st.builds(
    RunRecord,
    suite=words,
    device=st.builds(
        DeviceRecord,
        uuid=st.sampled_from(["GPU-1", "GPU-2"]),
        kind=st.just("cuda"),
        model=st.just("Made-up GPU"),
        facts=st.dictionaries(words, st.integers(1 - 2**63, 2**63 - 1) | words | st.none(), max_size=2),
    ),
    environment=st.builds(EnvironmentRecord, host=st.none() | words, power_limit_w=st.none() | positive),
    revision=st.none() | st.builds(RevisionRecord, commit=st.sampled_from(["a1", "b2"]), dirty=st.booleans()),
    kind=st.sampled_from(["nightly", "ad_hoc", "import"]),
    origin=st.sampled_from(["measured", "imported", "simulated"]),
    started_at=times,
    seed=st.integers(0, 2**62),
    budget_s=st.none() | positive,
    arguments=st.dictionaries(words, st.lists(words, max_size=2), max_size=2),
)
contents = st.lists(
    st.tuples(
        runs,
        st.lists(
            measurements,
            max_size=4,
            unique_by=lambda record: (record.problem, record.implementation, record.mode),
        ),
        st.sampled_from(["finished", "interrupted"]),
    ),
    min_size=1,
    max_size=3,
)


# examples empty and fill the same two stores and file
HEALTH = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]


@pytest.fixture
def emptied(new_store):
    """Two stores without any row, however often it is called."""
    engines = [new_store().engine for _ in range(2)]

    def both() -> list[Store]:
        for engine in engines:
            with engine.begin() as connection:
                for table in reversed(Base.metadata.sorted_tables):
                    connection.execute(table.delete())
        return [Store(engine) for engine in engines]

    return both


def record(store: Store, content) -> None:
    for run, records, state in content:
        run_id = store.begin_run(run)
        store.record_problem(run_id, records)
        store.finish_run(run_id, state, 1.5, 0.25)
        store.record_canaries(run_id, [CanaryRecord("start", "copy", "fp32", 1.0, 2.0, None, 40.0)])
        keys = {one.problem for one in records}
        store.record_predictions(run_id, [PredictionRecord(key, "rule", 1, True, 1.5) for key in keys])


def exported(store: Store, path: Path, form: str) -> str:
    export_runs(store, path, form)
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("form", ["jsonl", "csv"])
@settings(max_examples=8, deadline=None, suppress_health_check=HEALTH)
@given(content=contents)
def test_an_import_equals_the_exported_run(emptied, tmp_path, form, content):
    assert_it_comes_back(*emptied(), tmp_path / f"all.{form}", form, content)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["jsonl", "csv"])
@settings(max_examples=50, deadline=None, suppress_health_check=HEALTH)
@given(content=contents)
def test_an_import_equals_any_exported_measurement(emptied, tmp_path, form, content):
    assert_it_comes_back(*emptied(), tmp_path / f"all.{form}", form, content)


def assert_it_comes_back(ours: Store, theirs: Store, path: Path, form: str, content) -> None:
    record(ours, content)
    before = exported(ours, path, form)
    cells = sum(len(records) for _, records, _ in content)
    result = import_file(theirs, path)
    assert (result.read, result.rejected, result.recorded + result.implausible) == (cells, 0, cells)
    assert exported(theirs, path, form) == before
    again = import_file(theirs, path)
    assert (again.duplicates, again.recorded) == (cells, 0)


def test_an_import_has_the_same_headlines_and_series(store, tmp_path, new_store):
    for d in (1, 2):
        night(store, {"fused": 1.0, "bmm": 2.0 * d}, key=problem(d))
    add_run_event(store, night(store, {"fused": 9.0, "bmm": 1.0}), "exclude", "me", "bad")
    export_runs(store, tmp_path / "all.jsonl.gz", "jsonl")
    theirs = new_store()
    import_file(theirs, tmp_path / "all.jsonl.gz")
    for read in (queries.summaries, queries.comparisons, lambda store: summary(outcomes(store))):
        assert read(theirs) == read(store)
    metrics = (*TAIL_METRICS, *RATIO_SERIES.values())
    assert stored_tails(theirs, metrics) == stored_tails(store, metrics)
    assert [event.text for event in queries.run_events(theirs)] == ["bad"]
    assert [run.excluded for run in queries.runs(theirs)] == [True, False, False]


def test_log_events_counters_and_resources_are_exported_with_a_run(store, tmp_path, new_store):
    kernels = [
        queries_code.ResourceRow(code, "fp32", "sm_90", "cuda_cores", None, 40, 0, None, {"FFMA": 7})
        for code in ("c0de", "other")
    ]
    record_resources(store, kernels)
    readings = (CounterReading("dram", 2.5, "byte"), CounterReading("pipe", None, None, "not permitted"))
    run_id = night(store, {"bmm": 2.0})
    fused = [
        measured(problem(), "fused", 1.0, mode=mode, code_hash="c0de", counters=counters)
        for mode, counters in (("cold", readings), ("hot", ()))
    ]
    store.record_problem(run_id, fused)
    store.record_predictions(run_id, [PredictionRecord(problem(), "rule", 1, True, 1.5)])
    log(store, run_id, [("warning", "it is warm"), ("info", "it is over")])
    export_runs(store, tmp_path / "all.jsonl", "jsonl")
    theirs = new_store()
    for _ in range(2):
        import_file(theirs, tmp_path / "all.jsonl")
    assert queries_code.resources(theirs, ["c0de", "other"]) == kernels[:1]
    cells = {row.cell_id for row in queries.measurements(theirs, 1)}
    assert queries_code.counters(theirs, 1, cells) == [
        queries_code.CounterRow("fused", "dram", 2.5, "byte", None),
        queries_code.CounterRow("fused", "pipe", None, None, "not permitted"),
    ]
    assert [(line.level, line.text) for line in run_log(theirs, 1)] == [
        ("warning", "it is warm"),
        ("info", "it is over"),
    ]
    assert queries.heuristic_scores(theirs, 1) == queries.heuristic_scores(store, 1) != []


def test_a_partly_exported_run_is_completed_by_a_later_export(sqlite_store, tmp_path, new_store):
    run_id = night(sqlite_store, {"fused": 1.0})
    theirs = new_store()
    for again in (False, True):
        if again:
            sqlite_store.record_problem(run_id, [measured(problem(), "bmm", 2.0)])
        export_runs(sqlite_store, tmp_path / "run.jsonl", "jsonl", [run_id])
        result = import_file(theirs, tmp_path / "run.jsonl")
    assert (result.recorded, result.duplicates) == (1, 1)
    assert summary(outcomes(theirs)).median_speedup == 2.0


def test_importing_ones_own_export_records_nothing(store, tmp_path):
    night(store, {"fused": 1.0, "bmm": 2.0})
    for form in ("jsonl", "csv"):
        export_runs(store, tmp_path / f"all.{form}", form)
        result = import_file(store, tmp_path / f"all.{form}")
        assert (result.read, result.duplicates) == (2, 2)
    assert len(queries.runs(store)) == 1
