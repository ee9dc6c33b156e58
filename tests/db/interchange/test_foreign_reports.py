"""Reports of other tools: read as what they say, recorded once, refused where they are another version."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kswatch.db.cli.store import app
from kswatch.db.foreign_series.reports import LARGEST_REPORT_BYTES, read_report
from kswatch.db.foreign_series.stored import foreign_points, foreign_series
from kswatch.db.queries.basic import runs
from kswatch.errors import FormatError
from tests.kswatch.sample_services import sample_services

NVBENCH = {
    "meta": {"version": {"json": {"major": 1, "minor": 0, "patch": 0, "string": "1.0.0"}}},
    "devices": [{"id": 0, "name": "NVIDIA H200"}],
    "benchmarks": [
        {
            "name": "copy",
            "states": [
                {
                    "name": "Device=0 Elements=2^20",
                    "device": 0,
                    "axis_values": [{"name": "Elements", "type": "int64", "value": "1048576"}],
                    "summaries": [
                        {
                            "tag": "nv/cold/time/gpu/mean",
                            "name": "GPU Time",
                            "hint": "duration",
                            "data": [{"name": "value", "type": "float64", "value": "3.5e-06"}],
                        },
                        {
                            "tag": "nv/cold/bw/global/bytes_per_second",
                            "name": "GlobalMem BW",
                            "hint": "byte_rate",
                            "data": [{"name": "value", "type": "float64", "value": "2.4e+12"}],
                        },
                        {"tag": "nv/cold/sample_size", "hint": "sample_size", "data": []},
                    ],
                },
                {"name": "big", "device": 0, "is_skipped": True, "skip_reason": "too little memory"},
            ],
        }
    ],
}
GOOGLE = {
    "context": {"date": "2026-01-05T02:00:00+01:00", "json_schema_version": 1},
    "benchmarks": [
        {"name": "BM_x/8", "run_name": "BM_x/8", "run_type": "iteration", "real_time": time, "cpu_time": 2.0}
        | {"time_unit": "us", "items_per_second": 1e6}
        for time in (10.0, 12.0, 11.0)
    ]
    + [
        {"name": "BM_x/8_mean", "run_name": "BM_x/8", "run_type": "aggregate", "aggregate_name": "mean"},
        {"name": "BM_bad", "run_name": "BM_bad", "error_occurred": True, "error_message": "no input"},
    ],
}
PYTEST = {
    "machine_info": {},
    "commit_info": {"id": "c" * 40},
    "datetime": "2026-01-05T02:00:00.5",
    "version": "5.1.0",
    "benchmarks": [
        {"name": "test_a[3]", "fullname": "tests/test_a.py::test_a[3]", "params": {"size": 3}}
        | {"stats": {"median": 0.5, "q1": 0.4, "q3": 0.6}}
    ],
}
BMF = {
    "saxpy": {
        "latency": {"value": 88.0, "lower_value": 87.42, "upper_value": 88.88},
        "colours": {"value": 3},
    }
}
REPORTS = {"nvbench": NVBENCH, "google_benchmark": GOOGLE, "pytest_benchmark": PYTEST, "bmf": BMF}


@pytest.fixture
def file(tmp_path):
    def write(document: object, name: str = "report.json", indent: int | None = 1) -> Path:
        path = tmp_path / name
        path.write_text(document if isinstance(document, str) else json.dumps(document, indent=indent))
        return path

    return write


def values(path: Path) -> list[tuple]:
    found = read_report(path)
    return [(one.name, one.unit, one.direction, one.value, one.low, one.high) for one in found.values]


def test_nvbench_gives_durations_and_rates_with_its_axes_as_labels(file):
    path = file(NVBENCH)
    assert values(path) == [
        ("copy GPU Time", "s", "lower", 3.5e-06, None, None),
        ("copy GlobalMem BW", "B/s", "higher", 2.4e12, None, None),
    ]
    report = read_report(path)
    assert report.values[0].labels == {"Elements": "1048576", "device": "NVIDIA H200"}
    assert report.rejected == ("copy: too little memory",)


def test_google_benchmark_gives_the_median_of_its_repetitions(file):
    path = file(GOOGLE)
    assert values(path)[0] == ("BM_x/8 real_time", "us", "lower", 11.0, 10.0, 12.0)
    assert values(path)[2] == ("BM_x/8 items_per_second", "items/s", "higher", 1e6, 1e6, 1e6)
    report = read_report(path)
    assert report.measured_at == datetime(2026, 1, 5, 1, tzinfo=UTC)
    assert report.rejected == ("BM_bad: no input",)


def test_pytest_benchmark_gives_medians_with_quartiles_and_the_commit(file):
    path = file(PYTEST)
    assert values(path) == [("tests/test_a.py::test_a[3]", "s", "lower", 0.5, 0.4, 0.6)]
    report = read_report(path)
    assert (report.commit, report.values[0].labels) == ("c" * 40, {"size": "3"})


def test_bencher_s_format_gives_no_direction_that_it_does_not_have(file):
    assert values(file(BMF)) == [
        ("saxpy latency", "ns", "lower", 88.0, 87.42, 88.88),
        ("saxpy colours", "colours", None, 3.0, None, None),
    ]


def imported(store, *paths: Path):
    services = sample_services(str(store.engine.url.render_as_string(hide_password=False)))
    return CliRunner().invoke(app, ["import", *map(str, paths), "--json"], obj=services)


@pytest.mark.parametrize("indent", [None, 1], ids=["compact", "pretty"])
@pytest.mark.parametrize("source", REPORTS)
def test_a_report_is_recorded_once_and_makes_no_run(store, file, source, indent):
    path = file(REPORTS[source], indent=indent)
    first, again = (json.loads(imported(store, path).stdout) for _ in range(2))
    expected = len(read_report(path).values)
    assert (first["recorded"], first["duplicates"]) == (expected, 0)
    assert (again["recorded"], again["duplicates"]) == (0, expected)
    found = foreign_series(store)
    assert len(found) == expected and {(one.source, one.origin) for one in found} == {(source, "imported")}
    assert runs(store) == []


def test_values_of_later_reports_continue_the_series(store, file):
    for number, value in enumerate((88.0, 90.0, 86.0)):
        imported(store, file({"saxpy": {"latency": {"value": value}}}, f"{number}.json"))
    (series,) = foreign_series(store, "saxpy latency")
    assert [point.value for point in foreign_points(store, series.id)] == [88.0, 90.0, 86.0]


def test_reports_with_times_are_in_their_order_whatever_order_they_are_imported_in(store, file):
    for day in (7, 5, 6):
        stats = {"stats": {"median": float(day)}, "name": "x"}
        imported(store, file(PYTEST | {"datetime": f"2026-01-0{day}T02:00:00", "benchmarks": [stats]}))
    (series,) = foreign_series(store, "x")
    assert [point.value for point in foreign_points(store, series.id)] == [5.0, 6.0, 7.0]


def changed(document: dict, **changes: object) -> dict:
    return document | changes


NAN = {"x": {"latency": {"value": float("nan")}}}
BAD = {
    "nvbench 2": (
        changed(NVBENCH, meta={"version": {"json": {"major": 2}}}),
        "nvbench in version 2; known: 1",
    ),
    "google 9": (changed(GOOGLE, context={"json_schema_version": 9}), "google_benchmark in version 9"),
    "pytest 99": (changed(PYTEST, version="99.0"), "pytest_benchmark in version 99"),
    "no states": (changed(NVBENCH, benchmarks=[{"name": "x"}]), "damaged"),
    "no stats": (changed(PYTEST, benchmarks=[{"name": "x"}]), "damaged"),
    "a text": (changed(BMF, x={"latency": {"value": "fast"}}), "damaged"),
    "nothing": (changed(GOOGLE, benchmarks=[]), "without a value"),
    "NaN": (NAN, "without a value: x latency: nan is no plausible number"),
    "infinite": ({"x": {"latency": {"value": 1e300}}}, "no plausible number"),
    "400 digits": ({"x": {"latency": {"value": 10**400}}}, "no plausible number"),
    "true": ({"x": {"latency": {"value": True}}}, "'True' is no number"),
    "digits as text": ({"x": {"latency": {"value": "1_000"}}}, "'1_000' is no number"),
    "a reversed interval": (
        {"x": {"latency": {"value": 1, "lower_value": 2, "upper_value": 0}}},
        "its interval ends before it begins",
    ),
    "a name twice": (
        '{"x": {"latency": {"value": 1}}, "x": {"latency": {"value": 2}}}',
        "'x' twice in one object",
    ),
    "5,000 digits": ('{"x": {"latency": {"value": ' + "9" * 5_000 + "}}}", "is not JSON"),
    "brackets": ('{"x": ' + "[" * 100_000, "is not JSON"),
    "long": ({"x" * 600: {"latency": {"value": 1}}}, "too long"),
    "nul": ({"x\0y": {"latency": {"value": 1}}}, "no database stores"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_report_is_one_refusal_and_records_nothing(sqlite_store, file, case):
    document, message = BAD[case]
    result = imported(sqlite_store, file(document))
    assert isinstance(result.exception, FormatError) and message in str(result.exception)
    assert foreign_series(sqlite_store) == [] and runs(sqlite_store) == []


def test_a_report_of_two_gigabytes_is_refused_unread(sqlite_store, tmp_path):
    path = tmp_path / "huge.json"
    with path.open("wb") as sparse:
        sparse.write(b'{\n"context": {},\n')
        sparse.truncate(2 * 10**9)
    result = imported(sqlite_store, path)
    assert isinstance(result.exception, FormatError)
    assert f"larger than {LARGEST_REPORT_BYTES // 1_000_000} MB" in str(result.exception)
    assert foreign_series(sqlite_store) == []


@pytest.mark.parametrize(
    "moment", ["0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00", "soon", None, 5]
)
def test_a_time_outside_the_calendar_is_no_time(file, moment):
    assert read_report(file(changed(PYTEST, datetime=moment))).measured_at is None


@pytest.mark.parametrize("commit", ["\ud800", "a\0b", "x" * 40, ["c" * 40], 5, "", None])
def test_what_is_no_commit_is_not_stored_as_one(store, file, commit):
    path = file(changed(PYTEST, commit_info={"id": commit}))
    assert read_report(path).commit is None
    assert json.loads(imported(store, path).stdout)["recorded"] == 1


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1"])
def test_a_report_in_another_encoding_is_refused_by_its_name(sqlite_store, tmp_path, encoding):
    path = tmp_path / "report.json"
    path.write_bytes(json.dumps({"é": {"latency": {"value": 1}}}, ensure_ascii=False).encode(encoding))
    result = imported(sqlite_store, path)
    assert isinstance(result.exception, FormatError) and "UTF-8" in str(result.exception)
    assert foreign_series(sqlite_store) == []


def test_a_byte_order_mark_is_no_part_of_the_report(file):
    path = file("\ufeff" + json.dumps(BMF))
    assert len(read_report(path).values) == 2


@pytest.mark.parametrize("text", ["{", '{"a": 1}', "[1]", '{"benchmarks": []}', "{}", '{"a": {}}'])
def test_other_json_is_no_report(file, text):
    assert read_report(file(text)) is None
