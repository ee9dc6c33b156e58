"""Two runs side by side, on stores whose steps were planted."""

from dataclasses import replace

import pytest
from sqlalchemy import update

from kswatch.db.queries import run_diff as run_differences
from kswatch.db.queries import verdicts as queries_changes
from kswatch.db.queries.run_diff import cell_differences, missing_cells
from kswatch.db.records import DeviceRecord, MeasurementRecord, ProblemKey, VerdictRecord
from kswatch.db.schema.tables import Verdict
from kswatch.db.store import Store
from kswatch.errors import UsageError
from tests.db.sample_records import run_record

PROBLEMS = [ProblemKey(a, 64, 64, 1, 1024, "fp32", "batch_first") for a in range(1, 41)]


def cell(
    problem: ProblemKey, time_ms: float, half_width: float = 0.01, name: str = "fused"
) -> MeasurementRecord:
    return MeasurementRecord(
        problem,
        name,
        "ok",
        latency_ms=time_ms,
        latency_low_ms=time_ms * (1 - half_width),
        latency_high_ms=time_ms * (1 + half_width),
    )


def night(store: Store, cells: list[MeasurementRecord], uuid: str = "GPU-1") -> int:
    run_id = store.begin_run(run_record(device=DeviceRecord(uuid=uuid, kind="cuda", model="a board")))
    store.record_problem(run_id, cells)
    store.finish_run(run_id, "finished", 1.0, 0.1)
    return run_id


def test_a_planted_change_is_significant_and_first_and_noise_is_not(store: Store) -> None:
    before = night(store, [cell(problem, 1.0) for problem in PROBLEMS])
    after = night(store, [cell(problem, 1.2 if problem.a == 7 else 1.004) for problem in PROBLEMS])
    first, *others = cell_differences(store, before, after)
    assert (first.a, first.clear) == (7, True)
    assert first.change == pytest.approx(0.2)
    assert first.change_low < 0.2 < first.change_high
    assert not any(one.clear for one in others)


def test_the_interval_of_a_change_combines_both_intervals(store: Store) -> None:
    before = night(store, [cell(PROBLEMS[0], 1.0, 0.03)])
    after = night(store, [cell(PROBLEMS[0], 1.0, 0.04)])
    (one,) = cell_differences(store, before, after)
    assert (one.change_low, one.change_high) == (
        pytest.approx(-0.05, abs=2e-3),
        pytest.approx(0.05, abs=2e-3),
    )
    assert one.p_value == pytest.approx(1)


def test_significance_is_stricter_among_many_cells(store: Store) -> None:
    # each alone would pass at 5 %, but of forty some two do so by chance
    before = night(store, [cell(problem, 1.0) for problem in PROBLEMS])
    after = night(store, [cell(problem, 1.0145 if problem.a == 7 else 1.0) for problem in PROBLEMS])
    found = {one.a: one for one in cell_differences(store, before, after)}
    assert found[7].p_value < 0.05
    assert not found[7].clear


def test_without_an_interval_nothing_is_significant(store: Store) -> None:
    bare = replace(cell(PROBLEMS[0], 1.0), latency_low_ms=None, latency_high_ms=None)
    before, after = night(store, [bare]), night(store, [cell(PROBLEMS[0], 9.0)])
    (one,) = cell_differences(store, before, after)
    assert (one.change, one.clear) == (pytest.approx(8.0), False)
    assert one.change_low != one.change_low


def test_two_devices_compare_by_the_cells_that_both_have(store: Store) -> None:
    before = night(store, [cell(problem, 1.0) for problem in PROBLEMS[:3]])
    after = night(store, [cell(problem, 0.5) for problem in PROBLEMS[2:]], uuid="GPU-2")
    (one,) = cell_differences(store, before, after)
    assert (one.a, one.change) == (3, pytest.approx(-0.5))


def test_a_metric_that_runs_are_not_compared_by_is_refused(store: Store) -> None:
    with pytest.raises(UsageError, match="latency_ms or energy_mj"):
        cell_differences(store, 1, 2, "colour")


def test_missing_cells_are_counted_by_status_and_reason(store: Store) -> None:
    before = night(store, [cell(problem, 1.0) for problem in PROBLEMS[:3]])
    crashed = MeasurementRecord(PROBLEMS[0], "fused", "crashed", reason="an illegal address")
    after = night(store, [crashed, cell(PROBLEMS[1], 1.0), cell(PROBLEMS[5], 1.0)])
    assert missing_cells(store, before, after) == [
        run_differences.MissingCells("fused", "crashed", "an illegal address", 1),
        run_differences.MissingCells("fused", "not measured", None, 1),
    ]
    assert missing_cells(store, before, before) == []


def verdict_record(
    problem: ProblemKey, verdict: str, change: float | None, cause: str | None = None
) -> VerdictRecord:
    judged = {"verdict": verdict, "value": 1.0, "change": change}
    return VerdictRecord(problem, "fused", "latency_ms", cause=cause, **judged)


def test_changes_come_in_groups_and_the_worst_first(store: Store) -> None:
    run_id = night(store, [cell(problem, 1.0) for problem in PROBLEMS[:6]])
    verdicts = [
        verdict_record(PROBLEMS[0], "same", 0.0),
        verdict_record(PROBLEMS[1], "faster", -0.5, "code"),
        verdict_record(PROBLEMS[2], "slower", 0.1, "code"),
        verdict_record(PROBLEMS[3], "slower", 0.3, "code"),
        verdict_record(PROBLEMS[4], "slower", 0.2, "environment"),
        verdict_record(PROBLEMS[5], "ambiguous", None),
    ]
    store.record_verdicts(run_id, verdicts)
    groups = queries_changes.change_groups(store, [run_id])
    assert [(one.verdict, one.cause, one.series, one.smallest, one.largest) for one in groups] == [
        ("slower", "code", 2, 0.1, 0.3),
        ("slower", "environment", 1, 0.2, 0.2),
        ("faster", "code", 1, -0.5, -0.5),
    ]
    worst = queries_changes.changes(store, [run_id], limit=4)
    assert [(one.verdict, one.change) for one in worst] == [
        ("slower", 0.3),
        ("slower", 0.2),
        ("slower", 0.1),
        ("faster", -0.5),
    ]
    counts = {one.verdict: one.series for one in queries_changes.verdict_counts(store, [run_id])}
    assert counts == {"same": 1, "faster": 1, "slower": 3, "ambiguous": 1}


def test_a_problems_verdicts_leave_out_other_problems_and_same(store: Store) -> None:
    run_id = night(store, [cell(problem, 1.0) for problem in PROBLEMS[:2]])
    store.record_verdicts(
        run_id, [verdict_record(PROBLEMS[0], "slower", 0.1), verdict_record(PROBLEMS[1], "slower", 0.1)]
    )
    assert [one.a for one in queries_changes.problem_verdicts(store, [run_id], PROBLEMS[0])] == [1]
    with store.writing() as session:
        session.execute(update(Verdict).values(verdict="same"))
    assert queries_changes.problem_verdicts(store, [run_id], PROBLEMS[0]) == []
