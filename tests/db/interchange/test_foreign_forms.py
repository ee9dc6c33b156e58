"""Exports for other tools are read by those tools' rules, and by our own importer."""

from __future__ import annotations

import json

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from kswatch.db.foreign_series.reports import read_report
from kswatch.db.interchange.importing import export_runs
from tests.ci.nights import Nights
from tests.dashboard.simulated_store import NASTY


@pytest.fixture
def two_nights(sqlite_store):
    nights = Nights(sqlite_store)
    nights.night()
    nights.night({"fused": 1.5})
    return sqlite_store


def test_bencher_s_format_has_the_newest_latency_of_each_cell(two_nights, tmp_path):
    path = tmp_path / "report.json"
    written = export_runs(two_nights, path, "bmf")
    document = json.loads(path.read_text())
    assert written == len(document) > 0
    before = tmp_path / "before.json"
    export_runs(two_nights, before, "bmf", [1])
    name = next(one for one in document if " fused " in one)
    ratio = document[name]["latency"]["value"] / json.loads(before.read_text())[name]["latency"]["value"]
    assert ratio == pytest.approx(1.5, rel=0.1)
    assert {one.unit for one in read_report(path).values} == {"ns"}


def test_a_report_in_bencher_s_format_is_imported_as_it_was_exported(two_nights, tmp_path):
    path = tmp_path / "report.json"
    written = export_runs(two_nights, path, "bmf")
    document, report = json.loads(path.read_text()), read_report(path)
    assert report.rejected == () and len(report.values) == written
    for one in report.values:
        metric = document[one.name.removesuffix(" latency")]["latency"]
        ends = (metric["value"], metric.get("lower_value"), metric.get("upper_value"))
        assert (one.value, one.low, one.high) == ends


def test_openmetrics_has_a_sample_of_each_cell_and_run(two_nights, tmp_path):
    path = tmp_path / "metrics.txt"
    written = export_runs(two_nights, path, "openmetrics")
    (family,) = text_string_to_metric_families(path.read_text())
    assert (family.name, family.type, family.unit) == ("kswatch_latency_seconds", "gauge", "seconds")
    assert len(family.samples) == written > 0
    assert all(sample.value > 0 and sample.timestamp for sample in family.samples)
    assert {sample.labels["implementation"] for sample in family.samples} >= {"fused", "bmm"}


def test_labels_hold_any_name(two_nights, tmp_path):
    from sqlalchemy import update

    from kswatch.db.schema.tables import Device

    with two_nights.writing() as session:
        session.execute(update(Device).values(model=f'a"b\\\n{NASTY}'))
    path = tmp_path / "metrics.txt"
    export_runs(two_nights, path, "openmetrics")
    (family,) = text_string_to_metric_families(path.read_text())
    assert {sample.labels["model"] for sample in family.samples} == {f'a"b\\\n{NASTY}'}
