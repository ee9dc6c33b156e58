from __future__ import annotations

from dataclasses import dataclass

import pytest

from kswatch.db.records import BASELINE_SETS
from kswatch.db.writes.speedup import compare
from tests.db.sample_records import measured, problem

HELD = ("bmm", "einsum", "dense")


def times(**by_name):
    return {name: measured(problem(), name, time) for name, time in by_name.items()}


def test_the_speedup_is_that_over_the_fastest_baseline():
    outcome = compare(times(fused=2.0, bmm=3.0, einsum=5.0, dense=4.0), "latency", HELD)
    assert (outcome.best_baseline, outcome.winner, outcome.speedup) == ("bmm", "fused", 1.5)


def test_a_tie_is_no_win():
    outcome = compare(times(fused=2.0, bmm=2.0), "latency", ("bmm",))
    assert (outcome.winner, outcome.speedup) == ("bmm", 1.0)


@pytest.mark.parametrize("status", ["unsupported", "out_of_memory", "too_slow"])
def test_a_baseline_that_cannot_compute_the_problem_does_not_compete(status):
    rows = times(fused=2.0, bmm=3.0) | {"dense": measured(problem(), "dense", status=status)}
    assert compare(rows, "latency", ("bmm", "dense")).speedup == 1.5


@pytest.mark.parametrize("status", ["skipped", "crashed", "incorrect", "implausible"])
def test_a_baseline_of_unknown_strength_leaves_the_problem_out(status):
    rows = times(fused=2.0, bmm=3.0) | {"dense": measured(problem(), "dense", 1.0, status=status)}
    outcome = compare(rows, "latency", ("bmm", "dense"))
    assert (outcome.speedup, outcome.left_out) == (None, f"dense: {status}")


def test_a_baseline_without_a_row_leaves_the_problem_out():
    assert compare(times(fused=2.0, bmm=3.0), "latency", HELD).left_out == "einsum: no row"


@pytest.mark.parametrize("status", ["crashed", "incorrect", "unsupported"])
def test_a_problem_is_left_out_with_the_reason_where_fused_failed(status):
    rows = times(bmm=3.0) | {"fused": measured(problem(), "fused", status=status)}
    assert compare(rows, "latency", ("bmm",)).left_out == f"fused: {status}"


def test_a_problem_that_no_baseline_can_compute_has_no_speedup():
    rows = times(fused=2.0) | {"bmm": measured(problem(), "bmm", status="out_of_memory")}
    assert compare(rows, "latency", ("bmm",)).left_out == "no baseline can compute it"


def test_a_measurement_that_did_not_converge_counts():
    rows = times(bmm=3.0) | {"fused": measured(problem(), "fused", 2.0, status="not_converged")}
    assert compare(rows, "latency", ("bmm",)).speedup == 1.5


def test_a_paired_ratio_is_the_speedup_with_its_interval():
    rows = times(fused=2.0, dense=9.0)
    paired = {"ratio_to_fused": 1.45, "ratio_to_fused_low": 1.4, "ratio_to_fused_high": 1.6}
    rows["bmm"] = measured(problem(), "bmm", 3.0, **paired)
    outcome = compare(rows, "latency", ("bmm", "dense"))
    assert (outcome.speedup, outcome.speedup_low, outcome.speedup_high) == (1.45, 1.4, 1.6)


@dataclass(frozen=True)
class StoredRow:
    """A measurement as the store gives it back, which knows its run."""

    run_id: int
    latency_ms: float
    ratio_to_fused: float | None = None
    ratio_to_fused_low: float | None = None
    ratio_to_fused_high: float | None = None
    status: str = "ok"


def test_a_paired_ratio_of_an_older_run_is_ignored():
    rows = {"fused": StoredRow(2, 1.0), "bmm": StoredRow(1, 3.0, 1.5, 1.4, 1.6)}
    outcome = compare(rows, "latency", ("bmm",))
    assert (outcome.speedup, outcome.speedup_low) == (3.0, None)


def test_without_paired_rounds_there_is_no_interval():
    assert compare(times(fused=2.0, bmm=3.0), "latency", ("bmm",)).speedup_low is None


def test_energy_needs_a_reading_of_the_fastest_baseline_alone():
    rows = {
        "fused": measured(problem(), "fused", 2.0, energy_mj=10.0, energy_low_mj=9.0, energy_high_mj=11.0),
        "bmm": measured(problem(), "bmm", 3.0, energy_mj=20.0, energy_low_mj=18.0, energy_high_mj=22.0),
        "dense": measured(problem(), "dense", 4.0),
    }
    outcome = compare(rows, "energy", ("bmm", "dense"))
    assert (outcome.best_baseline, outcome.speedup) == ("bmm", 2.0)
    assert (outcome.speedup_low, outcome.speedup_high) == (18 / 11, 22 / 9)


def test_a_faster_baseline_without_a_reading_leaves_the_energy_out():
    rows = {
        "fused": measured(problem(), "fused", 2.0, energy_mj=10.0),
        "bmm": measured(problem(), "bmm", 3.0, energy_mj=20.0),
        "dense": measured(problem(), "dense", 2.5),
    }
    assert compare(rows, "energy", ("bmm", "dense")).left_out == "dense: no energy"


def test_the_paper_set_lacks_bmm_strided_and_bmm_blockdense():
    assert set(BASELINE_SETS["all"]) - set(BASELINE_SETS["paper"]) == {"bmm_strided", "bmm_blockdense"}
