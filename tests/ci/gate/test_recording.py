"""What a gate leaves in the store, and the link to it."""

from __future__ import annotations

import os
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from kswatch.ci.cli.gate import app
from kswatch.ci.gate.recording import Change, change_of_job
from kswatch.db.gates.reads import gate_cells, gate_code, gate_findings, gates
from kswatch.db.paired_runs.paired_record import BrokenRevision
from kswatch.errors import StoreError
from tests.ci.gate.gate_sessions import BASE, HEAD, SimulatedSession
from tests.ci.gate.test_static import FAULT, figures, row
from tests.ci.nights import DEVICE, Nights
from tests.kswatch.sample_services import sample_services

QUIET = {"rounds": 0.004, "processes": 0.001}
HISTORY = SimpleNamespace(branch=lambda: "topic", author=lambda commit: "Ann")


@pytest.fixture
def gate(store, monkeypatch):
    """Runs `kswatch gate` on a session or on figures; returns its output."""
    for name in ("GITHUB_HEAD_REF", "GITHUB_REF_NAME", "GITHUB_ACTOR", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)

    def run(session=None, *arguments: str, compiled=None, texts=None) -> str:
        @contextmanager
        def open_gate(**_):
            yield session

        services = sample_services(
            str(store.engine.url),
            dashboard_url="https://x.org/kswatch",
            open_gate=open_gate,
            open_history=lambda folder: HISTORY,
            compile_revisions=lambda *_: compiled,
            machine_code=lambda hashes: {one: texts[one] for one in hashes} if texts else {},
        )
        kind = ["--static"] if session is None else []
        result = CliRunner().invoke(app, ["--base", "main", *kind, *arguments], obj=services)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.stdout

    return run


def test_a_measured_gate_is_stored_with_its_cells(store, gate):
    Nights(store).night()
    session = SimulatedSession(3, truth={1: 0.1}, **QUIET)
    session.device, session.runs, session.notes = DEVICE.uuid, {"base": 1, "head": 1}, ("a note",)
    gate(session)
    (one,) = gates(store)
    assert (one.kind, one.verdict, one.outcome, one.exit_code) == ("measured", "regressed", "measured", 1)
    assert (one.base_commit, one.head_commit, one.subject) == (BASE.commit, HEAD.commit, "head")
    assert (one.branch, one.author, one.device, one.notes) == ("topic", "Ann", DEVICE.uuid, ("a note",))
    assert (one.base_run_id, one.head_run_id) == (1, 1)
    cells = gate_cells(store, one.id)
    assert [cell.verdict for cell in cells] == ["slower", "same", "same"]
    assert cells[0].confirmed and cells[0].change_low < 0.1 < cells[0].change_high + 0.01


def test_a_head_that_does_not_build_is_stored_with_its_log(store, gate):
    session = SimulatedSession(3)
    session.broken = BrokenRevision("head", "b" * 40, "it does not compile", "x" * 9_000 + "error: here")
    gate(session)
    (one,) = gates(store)
    assert one.verdict == "not measured" and one.reason.startswith("head bbbbbbbbbbbb: it does not compile")
    assert one.reason.endswith("error: here") and len(one.reason) <= 2_000


def test_a_static_gate_is_stored_with_findings_and_the_code_that_differs(store, gate):
    before, after = row("a", code_hash="1" * 64), row("a", code_hash="2" * 64, spill_bytes=8)
    same = row("b", code_hash="3" * 64)
    compiled = ((HEAD, figures(after, same, faults=(FAULT,))), (BASE, figures(before, same)))
    gate(compiled=compiled, texts={"1" * 64: "MOV R1, R2", "2" * 64: "STL [R1], R0"})
    (one,) = gates(store)
    assert (one.kind, one.device, one.verdict) == ("static", None, "regressed")
    found = [(each.state, each.figure, each.before, each.after) for each in gate_findings(store, one.id)]
    assert found == [
        ("over_budget", "registers", "at most 168", "255"),
        ("regressed", "spill_bytes", "0", "8"),
    ]
    (code,) = gate_code(store, one.id)
    assert (code.kernel, code.base_code, code.head_code) == ("a", "MOV R1, R2", "STL [R1], R0")


def test_the_summary_of_ci_and_the_comment_link_to_the_page(gate, tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    path = tmp_path / "gate.md"
    gate(SimulatedSession(2, truth={0: 0.2}, **QUIET), "--format", "github", "--comment", str(path))
    link = "https://x.org/kswatch/changes?gate=1"
    assert f"[on the dashboard]({link})" in (tmp_path / "summary.md").read_text()
    assert f"[the whole result]({link})" in path.read_text()


def test_a_gate_that_cannot_be_recorded_is_reported_nevertheless(store, gate, monkeypatch):
    def fail(*_, **__):
        raise StoreError("the disk is full")

    monkeypatch.setattr("kswatch.ci.gate.recording.record_gate", fail)
    assert "REGRESSED" in gate(SimulatedSession(2, truth={0: 0.2}, **QUIET))
    assert gates(store) == []


def test_branch_and_author_are_those_of_the_ci_job():
    github = {"GITHUB_HEAD_REF": "topic", "GITHUB_REF_NAME": "12/merge", "GITHUB_ACTOR": "ann"}
    assert change_of_job(github) == Change("topic", "ann")
    gitlab = {"CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "topic", "GITLAB_USER_LOGIN": "bob"}
    assert change_of_job(gitlab) == Change("topic", "bob")
    assert change_of_job({"GITHUB_HEAD_REF": "", "GITHUB_REF_NAME": "main"}) == Change("main", None)


def test_a_store_that_refuses_the_record_costs_no_result(store, gate):
    """Its run has gone, so the row has no parent: minutes of measuring are printed all the same."""
    Nights(store).night()
    session = SimulatedSession(2, truth={0: 0.1}, **QUIET)
    session.device, session.runs = DEVICE.uuid, {"base": 999, "head": 999}
    assert "REGRESSED" in gate(session)
    assert gates(store) == []


@pytest.mark.parametrize("branch", [os.fsdecode(b"\xff\xfe"), "x" * 5_000, "a\n::error::b", "[x](http://y)"])
def test_a_hostile_name_of_a_branch_costs_no_result(store, gate, monkeypatch, branch):
    Nights(store).night()
    monkeypatch.setattr("kswatch.ci.gate.recording.change_of_job", lambda _: Change(branch, "Ann"))
    output = gate(SimulatedSession(2, truth={0: 0.1}, **QUIET), "--format", "comment")
    assert "| slower |" in output and branch not in output
    assert all(len(one.branch) <= 255 for one in gates(store))
