"""The comparison of two runs with planted latencies and known verdicts."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from kswatch.db.records import DeviceRecord, EnvironmentRecord, MeasurementRecord, ProblemKey, RunRecord
from kswatch.errors import UsageError
from kswatch.profiler.reports.run_diff import compare_runs
from kswatch.profiler.reports.run_diff_table import print_comparison
from kswatch.profiler.reports.run_table import console

PROBLEM = ProblemKey(2, 8, 8, 2, 16, "fp32", "batch_last")
CPU = DeviceRecord("cpu-1", "cpu", "one CPU")


@pytest.fixture
def plant(store):
    """Plant a run: medians in ms by implementation, each known to 1 %."""

    def plant_run(latencies_ms, device=CPU, driver=None):
        record = RunRecord(
            suite="ad_hoc",
            device=device,
            environment=EnvironmentRecord(driver=driver),
            revision=None,
            kind="ad_hoc",
            origin="measured",
            started_at=datetime(2026, 3, 1, tzinfo=UTC),
        )
        run_id = store.begin_run(record)
        rows = [
            MeasurementRecord(
                PROBLEM, name, "ok", latency_ms=ms, latency_low_ms=0.99 * ms, latency_high_ms=1.01 * ms
            )
            for name, ms in latencies_ms.items()
        ]
        store.record_problem(run_id, rows)
        store.finish_run(run_id)
        return run_id

    return plant_run


def test_a_change_is_significant_when_the_intervals_are_disjoint(store, plant):
    before = plant({"fused": 1.0, "bmm": 1.0, "csr": 1.0})
    after = plant({"fused": 0.9, "bmm": 1.1, "csr": 1.015})
    compared = compare_runs(store, before, after)
    assert {cell.implementation: cell.verdict for cell in compared.cells} == {
        "fused": "faster",
        "bmm": "slower",
        "csr": "same",
    }
    assert [cell.implementation for cell in compared.cells][-1] == "csr"


def test_the_interval_of_the_ratio_spans_both_intervals(store, plant):
    [cell] = compare_runs(store, plant({"fused": 1.0}), plant({"fused": 2.0})).cells
    assert cell.ratio == pytest.approx(2.0)
    both = (1.01 / 0.99) ** (2**0.5 / 2)  # each known to 1 %: independent errors add as squares
    assert cell.ratio_low == pytest.approx(2 / both)
    assert cell.ratio_high == pytest.approx(2 * both)


def test_a_significant_change_below_2_percent_counts_as_the_same(store, plant):
    [cell] = compare_runs(store, plant({"fused": 1.0}), plant({"fused": 1.019})).cells
    assert (cell.verdict, cell.ratio_low > 1) == ("same", True)


def test_a_cell_that_fails_in_one_run_is_counted_for_the_other(store, plant):
    before, after = plant({"fused": 1.0, "bmm": 1.0}), plant({"fused": 1.0})
    store.record_problem(after, [MeasurementRecord(PROBLEM, "bmm", "crashed", reason="planted")])
    compared = compare_runs(store, before, after)
    assert (len(compared.cells), compared.only_before, compared.only_after) == (1, 1, 0)


def test_cells_of_one_run_only_are_counted_and_not_compared(store, plant):
    compared = compare_runs(store, plant({"fused": 1.0, "bmm": 1.0}), plant({"fused": 1.0, "csr": 1.0}))
    assert (len(compared.cells), compared.only_before, compared.only_after) == (1, 1, 1)


def test_changes_of_the_environment_are_printed(store, plant, capsys):
    before, after = plant({"fused": 1.0}, driver="550"), plant({"fused": 2.0}, driver="560")
    print_comparison(compare_runs(store, before, after), console())
    shown = capsys.readouterr().out
    assert "driver was 550, is 560" in shown
    assert "0 faster, 1 slower, 0 same" in shown


def test_runs_of_two_devices_are_not_compared(store, plant):
    before = plant({"fused": 1.0})
    after = plant({"fused": 1.0}, device=DeviceRecord("cpu-2", "cpu", "another CPU"))
    with pytest.raises(UsageError, match="only runs of one device"):
        compare_runs(store, before, after)
