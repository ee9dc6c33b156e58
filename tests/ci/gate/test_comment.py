"""The comment of gates and checks: empty on a calm change, else the worst first."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from typer.testing import CliRunner

from kswatch.ci.check import CheckResult, judge
from kswatch.ci.check_comment import check_comment
from kswatch.ci.cli.check import app as check_app
from kswatch.ci.cli.gate import app
from kswatch.ci.config import CiConfig
from kswatch.ci.formats.comment import MARKER
from kswatch.ci.gate.cell import GateConfig
from kswatch.ci.gate.comment import gate_comment, static_comment
from kswatch.ci.gate.sequential import compare_revisions
from kswatch.ci.gate.static import judge_code
from kswatch.db.paired_runs.paired_record import BrokenRevision
from kswatch.errors import MeasurementError, UsageError
from tests.ci.formats.test_formatters import NASTY
from tests.ci.gate.gate_sessions import SimulatedSession
from tests.ci.gate.test_recording import HISTORY
from tests.ci.gate.test_static import BASE, HEAD, figures, row
from tests.ci.nights import START
from tests.kswatch.sample_services import sample_services

QUIET = {"rounds": 0.004, "processes": 0.001}


def commented(session: SimulatedSession, **limits: object) -> str:
    return gate_comment(compare_revisions(session, GateConfig(**limits)), "https://x.org/changes?gate=1")


def test_equal_revisions_have_no_comment():
    assert commented(SimulatedSession(6, **QUIET)) == ""


def test_cells_that_stay_ambiguous_among_decided_ones_are_no_finding():
    session = SimulatedSession(6, truth={3: 0.02}, **QUIET)
    result = compare_revisions(session, GateConfig(most_pairs=2))
    assert {one.verdict for one in result.verdicts} == {"same", "ambiguous"}
    assert gate_comment(result) == ""


def test_a_gate_that_decides_nothing_has_a_comment():
    text = commented(SimulatedSession(3, rounds=0.3, processes=0.2), most_pairs=2)
    assert text.count("| ambiguous") == 3 and "no confirmed regression" in text


def test_the_worst_cell_comes_first_and_faster_ones_after_it():
    text = commented(SimulatedSession(6, truth={1: 0.05, 2: 0.3, 4: -0.2}, **QUIET))
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")][1:]
    assert rows == ["---", "slower", "slower", "faster"]
    assert text.index("+30") < text.index("+5.")
    assert text.startswith(f"{MARKER}\n\n**kswatch gate** `") and "(https://x.org/changes?gate=1)" in text


def test_a_head_that_does_not_build_has_its_log_folded():
    session = SimulatedSession(2)
    session.broken = BrokenRevision("head", "b" * 40, "it does not compile", f"error: {NASTY}")
    text = commented(session)
    assert "it does not compile" in text and "<details><summary>details" in text
    assert "<script>" not in text and "@ops" not in text


def test_a_result_lost_once_is_reported():
    text = commented(SimulatedSession(3, statuses={1: "crashed"}, **QUIET))
    assert "planted crashed" in text


def test_the_machine_code_is_reported_where_it_changed():
    same = judge_code((HEAD, figures(row("a"))), (BASE, figures(row("a"))))
    assert static_comment(same) == ""
    grown = judge_code((HEAD, figures(row("a", spill_bytes=8))), (BASE, figures(row("a"))))
    assert "| regressed | sm\\_90 a: spill\\_bytes 0 -\\> 8 |" in static_comment(grown)


def test_a_check_reports_what_a_night_changed_and_nothing_on_the_next(nights, store):
    nights.quiet(6)
    assert check_comment(judge(store, None, CiConfig(), now=START)) == ""
    nights.night({"fused": 1.2})
    judged = judge(store, None, CiConfig(), now=START)
    assert "confirmed, new: opened" in check_comment(judged, "https://x.org/alerts")
    assert check_comment(judge(store, None, CiConfig(), now=START)) == ""  # reported once
    assert check_comment(CheckResult([])) == ""


def invoke(store, *arguments: str, **callables: object):
    callables |= {"open_history": lambda folder: HISTORY}
    services = sample_services(str(store.engine.url), CiConfig(silent_hours=1e6), **callables)
    used = check_app if arguments[0] == "check" else app
    return CliRunner().invoke(used, list(arguments[arguments[0] == "gate" :]), obj=services)


def test_the_format_prints_nothing_on_a_calm_change(store, nights):
    nights.quiet(6)
    assert invoke(store, "check", "--format", "comment").stdout == ""

    @contextmanager
    def open_gate(**_):
        yield SimulatedSession(2, **QUIET)

    result = invoke(store, "gate", "--base", "main", "--format", "comment", open_gate=open_gate)
    assert (result.exit_code, result.stdout) == (0, "")


def test_the_file_of_the_comment_holds_the_reason_where_nothing_is_measured(store, tmp_path):
    path = tmp_path / "comments" / "gate.md"

    @contextmanager
    def open_gate(**_):
        assert "did not finish" in path.read_text()  # what a killed process leaves
        raise MeasurementError("no such device: cuda:9")
        yield

    result = invoke(store, "gate", "--base", "main", "--comment", str(path), open_gate=open_gate)
    assert isinstance(result.exception, MeasurementError)
    assert "could not measure: no such device: cuda:9" in path.read_text()


def test_a_check_that_fails_leaves_the_reason_in_the_file_of_the_comment(store, tmp_path):
    path = tmp_path / "check.md"
    path.write_text("")  # of an earlier check
    result = invoke(store, "check", "--device", "nowhere", "--comment", str(path))
    assert isinstance(result.exception, UsageError)
    assert "could not measure: the store holds no device" in path.read_text()


@pytest.mark.parametrize(("change", "lines"), [(0.0, 0), (0.2, 1)])
def test_the_file_of_the_comment_is_empty_on_a_calm_change(store, tmp_path, change, lines):
    path = tmp_path / "gate.md"

    @contextmanager
    def open_gate(**_):
        yield SimulatedSession(2, truth={0: change}, **QUIET)

    invoke(store, "gate", "--base", "main", "--comment", str(path), open_gate=open_gate)
    assert path.read_text().count("| slower") == lines
    assert bool(path.read_text()) == bool(lines)
