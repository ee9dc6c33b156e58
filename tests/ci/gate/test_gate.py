from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from kswatch.ci.gate.cell import GateConfig
from kswatch.ci.gate.estimators import estimate_from_pairs, estimate_from_rounds
from kswatch.ci.gate.report import gate_annotations, gate_junit, gate_markdown, gate_rows, gate_text
from kswatch.ci.gate.sequential import compare_revisions
from kswatch.db.json_text import to_json_text
from kswatch.db.paired_runs.paired_record import BrokenRevision
from tests.ci.formats.junit_schema import assert_junit
from tests.ci.gate.gate_sessions import BASE, HEAD, SimulatedSession

CONFIG = GateConfig()
BUSY = {"rounds": 0.10, "processes": 0.02, "disturbed": 0.2}
"""About what ratios of rounds do on two cores with a load of five."""


def words(result) -> set[str | None]:
    return {one.verdict for one in result.verdicts}


def test_a_slower_head_is_reported_with_its_change_and_exits_1():
    result = compare_revisions(SimulatedSession(truth={3: 0.05}), CONFIG)
    (found,) = result.regressions
    assert result.exit_code == 1 and found.problem.a == 4
    assert found.change == pytest.approx(0.05, abs=0.01)
    assert found.change_low < found.change < found.change_high
    assert {one.problem.a for one in result.verdicts if one.verdict == "slower"} == {4}


def test_a_faster_head_is_reported_and_exits_0():
    result = compare_revisions(SimulatedSession(6, truth={3: -0.08}), CONFIG)
    assert result.exit_code == 0 and words(result) == {"faster", "same"}


def test_a_change_under_the_floor_is_none():
    result = compare_revisions(SimulatedSession(6, truth={3: 0.008}, rounds=0.004, processes=0.001), CONFIG)
    assert words(result) == {"same"}


@pytest.mark.parametrize("noise", [{}, BUSY, {"processes": 0.03}], ids=["quiet", "busy", "placement"])
def test_equal_revisions_raise_no_alarm(noise):
    results = [
        compare_revisions(SimulatedSession(6, seed=seed, **noise), GateConfig(most_pairs=6))
        for seed in range(5)
    ]
    assert [one.exit_code for one in results] == [0] * 5


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_how_often_equal_revisions_raise_an_alarm(capsys):
    for name, noise in {"quiet": {}, "busy": BUSY, "placement": {"processes": 0.03}}.items():
        results = [compare_revisions(SimulatedSession(seed=seed, **noise), CONFIG) for seed in range(200)]
        alarms = sum(one.exit_code for one in results)
        pairs = sum(max(cell.pairs for cell in one.verdicts) for one in results) / len(results)
        with capsys.disabled():
            print(f"\nA/A gates with an alarm, {name}: {alarms} of {len(results)}; {pairs:.1f} pairs each")
        assert alarms <= 2


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_detection_rate_of_a_slowdown(capsys):
    detected = {}
    for name, noise in {"quiet": {}, "busy": BUSY}.items():
        for change in (0.03, 0.05, 0.1, 0.3):
            results = [
                compare_revisions(SimulatedSession(truth={3: change}, seed=s, **noise), CONFIG)
                for s in range(20)
            ]
            detected[name, change] = sum(one.exit_code for one in results)
            with capsys.disabled():
                print(
                    f"\n{name}: {change:.0%} slower is reported by {detected[name, change]} of 20 gates",
                    end="",
                )
    assert detected["quiet", 0.05] >= 19 and detected["busy", 0.3] >= 14


def test_only_fresh_pairs_can_confirm_a_suspicion_of_the_first_pair():
    session = SimulatedSession(truth={3: 0.05})
    compare_revisions(session, CONFIG)
    assert len(session.requested[0]) == 26
    assert all(len(requested) == 1 for requested in session.requested[1:])
    assert len(session.requested) == 1 + CONFIG.confirming_pairs


def test_unclear_cells_use_the_budget_and_are_then_ambiguous():
    clock = itertools.count(step=30.0)
    result = compare_revisions(
        SimulatedSession(cells=3, rounds=0.3), GateConfig(budget_s=600), lambda: next(clock)
    )
    assert words(result) == {"ambiguous"} and result.exit_code == 0
    assert "reaches beyond the floor" in result.verdicts[0].reason


def test_cells_that_the_budget_leaves_out_are_named():
    clock = itertools.count(step=10.0)
    result = compare_revisions(SimulatedSession(cells=9), GateConfig(budget_s=60), lambda: next(clock))
    assert None in words(result)
    assert result.verdicts[-1].reason == "not measured: the budget was spent first"


def test_slower_in_time_but_not_in_cycles_is_the_clock():
    result = compare_revisions(SimulatedSession(5, truth={3: 0.05}, cycles=1.0), GateConfig(most_pairs=6))
    found = result.verdicts[3]
    assert found.verdict == "ambiguous" and "not in cycles" in found.reason
    slower = compare_revisions(SimulatedSession(5, truth={3: 0.05}, cycles=1.05), CONFIG)
    assert slower.exit_code == 1


def test_an_incorrect_head_exits_1_at_once():
    session = SimulatedSession(cells=3, statuses={1: "incorrect"})
    result = compare_revisions(session, CONFIG)
    (found,) = result.regressions
    assert (found.verdict, found.head_status, found.reason) == (None, "incorrect", "planted incorrect")


def test_a_result_lost_by_the_head_is_measured_again():
    session = SimulatedSession(cells=3, statuses={1: "crashed"})
    result = compare_revisions(session, CONFIG)
    assert result.exit_code == 1 and result.regressions[0].pairs == 2


def test_a_revision_that_does_not_build_exits_3_with_its_log():
    session = SimulatedSession()
    session.broken = BrokenRevision(
        "head", HEAD.commit, "the CPU twin does not compile", "twin.cpp:1: error: <x>"
    )
    result = compare_revisions(session, CONFIG)
    assert result.exit_code == 3 and session.closed == 1
    assert "twin.cpp:1: error: <x>" in gate_text(result)
    assert "\\<x\\>" in gate_markdown(result)
    assert json.loads(to_json_text(gate_rows(result)))[0]["log"] == "twin.cpp:1: error: <x>"
    assert_junit(gate_junit(result), errors=1)
    assert gate_annotations(result).startswith("::error title=kswatch gate::head cannot be measured")


def test_nothing_is_measured_where_nothing_changed():
    session = SimulatedSession(cells=0)
    result = compare_revisions(session, CONFIG)
    assert (result.outcome, result.exit_code, session.requested) == ("nothing changed", 0, [])
    assert "--force" in gate_text(result) and gate_rows(result) == []


def test_no_cell_at_all_is_an_exit_of_3():
    session = SimulatedSession(cells=1)
    session.readings = lambda cells, rounds, swapped=False: (one for one in ())
    result = compare_revisions(session, GateConfig(most_pairs=1))
    assert result.exit_code == 3 and "could not measure a single cell" in gate_text(result)


def test_processes_are_given_back_when_the_budget_ends_in_the_middle():
    session = SimulatedSession()
    clock = itertools.count(step=10.0)
    compare_revisions(session, GateConfig(budget_s=50), lambda: next(clock))
    assert session.closed == len(session.requested)


def test_each_format_holds_the_same_result():
    result = compare_revisions(SimulatedSession(truth={3: 0.05}), CONFIG)
    assert "REGRESSED" in gate_text(result) and "slower +" in gate_text(result)
    rows = json.loads(to_json_text(gate_rows(result)))
    assert len(rows) == 26 and sum(row["regressed"] for row in rows) == 1
    assert {"pattern", "batch", "precision", "layout", "implementation", "verdict", "device"} <= rows[
        0
    ].keys()
    assert (rows[0]["base"], rows[0]["head"]) == (BASE.commit, HEAD.commit)
    assert_junit(gate_junit(result), tests=26, failures=1)
    assert gate_annotations(result).startswith("::error title=kswatch gate::slower +")
    assert "| slower |" in gate_markdown(result)


def test_an_estimate_of_rounds_withstands_disturbed_ones():
    calm = estimate_from_rounds([1.05, 1.04, 1.06, 1.05, 1.05, 1.04, 1.06, 1.05, 1.04, 1.05, 1.06, 1.05])
    hit = estimate_from_rounds([1.05, 1.04, 1.06, 1.05, 20.0, 1.04, 1.06, 1.05, 0.05, 1.05, 1.06, 1.05])
    assert calm.change == pytest.approx(0.05, abs=0.002)
    assert hit.change == pytest.approx(0.05, abs=0.005)


def test_the_chance_of_rounds_is_that_of_the_exact_signed_rank_test():
    from scipy.stats import wilcoxon

    random = np.random.default_rng(1)
    for count in (6, 12, 40):
        logs = random.normal(0.1, 1.0, count)
        exact = wilcoxon(logs, method="exact").pvalue
        assert estimate_from_rounds(np.exp(logs)).p_value == pytest.approx(exact)


def test_equal_rounds_and_few_rounds():
    assert estimate_from_rounds([1.0] * 12).p_value == 1.0
    assert estimate_from_rounds([1.1] * 5) is None


def test_pairs_that_differ_more_than_their_rounds_are_less_certain():
    equal = estimate_from_pairs([estimate_from_rounds([1.05, 1.051] * 6)] * 4)
    different = estimate_from_pairs(
        [estimate_from_rounds([1 + change, 1.001 + change] * 6) for change in (0.0, 0.1, 0.02, 0.08)]
    )
    assert equal.p_value < 0.001 < different.p_value
    assert equal.high - equal.low < different.high - different.low
