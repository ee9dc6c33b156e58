from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from kswatch.ci.cli.bisect import app
from kswatch.ci.gate.bisection import (
    BisectionStep,
    ExcludedCommit,
    Progress,
    bisect,
    bisection_row,
    bisection_text,
)
from kswatch.ci.gate.cell import GateConfig
from kswatch.ci.gate.sequential import compare_revisions
from kswatch.db.alerts.lifecycle import NewAlert, open_alert
from kswatch.db.paired_runs.paired_record import BrokenRevision
from kswatch.errors import MeasurementError, UsageError
from kswatch.profiler.revisions.git import CommitHistory
from tests.ci.gate.gate_sessions import SimulatedSession
from tests.ci.nights import DEVICE, Nights
from tests.kswatch.sample_services import sample_services
from tests.profiler.scratch_clone import commit, git

COMMITS = [f"{number:040x}" for number in range(1, 17)]
CONFIG = GateConfig()


class Line:
    """Commits one after the other; from one of them on a cell is slower."""

    def __init__(self, first_bad: int, change: float = 0.1, unbuildable: tuple[int, ...] = ()) -> None:
        self._first_bad, self._change, self._unbuildable = first_bad, change, unbuildable
        self.measured: list[int] = []

    def suspects(self, good, bad):
        after = max(COMMITS.index(commit) for commit in good if commit in COMMITS)
        between = COMMITS[after + 1 : COMMITS.index(bad)]
        middle = len(between) / 2
        return bad, sorted(between, key=lambda commit: abs(between.index(commit) + 0.5 - middle))

    def compare(self, commit, config, cell):
        number = COMMITS.index(commit)
        self.measured.append(number)
        slower = {0: self._change} if number >= self._first_bad else {}
        session = SimulatedSession(1 if cell else 3, truth=slower, seed=number)
        if number in self._unbuildable:
            session.broken = BrokenRevision("head", commit, "it does not compile", "error: x")
        return compare_revisions(session, config)

    def search(self, **options):
        ends = (COMMITS[0], COMMITS[-1])
        return bisect(*ends, self.suspects, self.compare, CONFIG, lambda sentence: None, **options)


@pytest.mark.parametrize("first_bad", [1, 2, 7, 8, 14, 15])
def test_the_first_bad_commit_is_found_in_few_steps(first_bad):
    line = Line(first_bad)
    found = line.search()
    assert found.first_bad == COMMITS[first_bad] and found.suspects == (COMMITS[first_bad],)
    assert found.cell.change == pytest.approx(0.1, abs=0.02)
    assert len(line.measured) <= 1 + 4


def test_a_commit_that_does_not_build_is_passed_over():
    found = Line(9, unbuildable=(7, 8)).search()
    assert {step.commit for step in found.steps if step.status == "skipped"} <= {COMMITS[7], COMMITS[8]}
    assert found.first_bad == COMMITS[9]
    assert set(found.suspects) == {COMMITS[7], COMMITS[8], COMMITS[9]}
    text = bisection_text(found, {COMMITS[9]: "Unroll\nless"})
    assert f"first bad commit: {COMMITS[9]} Unroll less" in text and "could not be measured" in text
    assert bisection_row(found)["first_bad"] == COMMITS[9]


def test_a_regression_that_does_not_reproduce_cannot_be_bisected():
    with pytest.raises(MeasurementError, match="is no worse than"):
        Line(16).search()


def test_a_bad_revision_that_does_not_build_is_an_error():
    with pytest.raises(MeasurementError, match="head revision cannot be measured: it does not compile"):
        Line(3, unbuildable=(15,)).search()


def test_a_search_that_is_stopped_goes_on_where_it_was():
    known, whole = Progress(), Line(9).search()
    measured = []
    for _ in range(8):  # one measurement each time
        line, left = Line(9), iter([True])
        found = line.search(progress=known, may_continue=lambda left=left: next(left, False))
        measured += line.measured
        if found:
            break
    assert found == whole and measured == sorted(set(measured), key=measured.index)


def test_a_merge_is_not_measured_and_may_be_the_culprit():
    line = Line(9)
    found = line.search(excluded={COMMITS[8]: ExcludedCommit("a merge", may_be_culprit=True)})
    assert 8 not in line.measured and found.suspects == (COMMITS[9], COMMITS[8])
    assert [step for step in found.steps if step.status == "skipped"] == [
        BisectionStep(COMMITS[8], "skipped", None, "a merge")
    ]


def test_a_reverted_commit_is_neither_measured_nor_suspected():
    line = Line(9)
    found = line.search(excluded={COMMITS[number]: ExcludedCommit("reverted") for number in (7, 8)})
    assert not {7, 8} & set(line.measured) and found.suspects == (COMMITS[9],)


@pytest.fixture
def alert_of_ten_commits(store, tmp_path):
    """An alert on a cell, and a repository of ten commits; from the seventh on the cell is slower."""
    folder = tmp_path / "repository"
    (folder / "kernels").mkdir(parents=True)
    git(folder, "init", "--quiet")
    commits = []
    for number in range(10):
        (folder / "kernels/some.py").write_text(f"number = {number}")
        git(folder, "add", ".")
        commits.append(commit(folder, f"commit {number}"))
    nights = Nights(store)
    nights.night()
    new = NewAlert(1, 1, "slower", "code", "latency_ms", "fused", "fused slower", 0.1)
    explanation = {"revisions": {"good": commits[0], "bad": commits[-1]}, "cells": [CELL]}
    alert_id = open_alert(store, replace(new, explanation=explanation))
    return alert_id, folder, commits


CELL = {
    "pattern": "1,48,48,1",
    "batch": 1024,
    "precision": "fp32",
    "layout": "batch_first",
    "implementation": "fused",
}


def run(store, repository, bad_commits, *arguments):
    """`kswatch bisect`, its gates drawn; gives what it printed and what it asked of each gate."""
    requested = []

    @contextmanager
    def open_gate(**gate):
        requested.append(gate)
        yield SimulatedSession(1, truth={0: 0.1} if gate["head"] in bad_commits else {}, seed=len(requested))

    context = sample_services(str(store.engine.url), open_gate=open_gate, open_history=CommitHistory)
    command = [*arguments, "--repository", str(repository)]
    result = CliRunner().invoke(app, command, obj=context)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout, requested


def test_an_alert_determines_revisions_device_and_cell_of_a_bisection(store, alert_of_ten_commits):
    alert_id, repository, commits = alert_of_ten_commits
    text, requested = run(store, repository, commits[6:], "--alert", str(alert_id), "--json")
    assert json.loads(text)["first_bad"] == commits[6]
    assert {gate["base"] for gate in requested} == {commits[0]} and requested[0]["head"] == commits[-1]
    assert {gate["device"] for gate in requested} == {DEVICE.uuid} and requested[0]["kind"] == "bisect"
    assert requested[0]["filters"] == {name: [value] for name, value in CELL.items()}


def test_the_first_bad_commit_of_an_alert_is_reported_with_its_subject(store, alert_of_ten_commits):
    alert_id, repository, commits = alert_of_ten_commits
    text, _ = run(store, repository, commits[3:], "--alert", str(alert_id))
    first, second = text.splitlines()[:2]
    assert first == f"first bad commit: {commits[3]} commit 3"
    assert second.startswith("  slower (+")
    assert second.endswith("on fused 1,48,48,1 batch 1024 fp32 batch_first")


def test_an_alert_that_knows_no_revisions_is_refused(store, alert_of_ten_commits):
    _, repository, _ = alert_of_ten_commits
    other = open_alert(store, NewAlert(1, 1, "slower", "clock", "latency_ms", "fused", "other"))
    with pytest.raises(UsageError, match="names no good revision, bad revision and cell"):
        run(store, repository, [], "--alert", str(other))
    with pytest.raises(UsageError, match="omit --good and --bad"):
        run(store, repository, [], "--alert", str(other), "--good", "HEAD")
    with pytest.raises(UsageError, match="no alert 99"):
        run(store, repository, [], "--alert", "99")
    with pytest.raises(UsageError, match="--good REV and --bad REV, or --alert N"):
        run(store, repository, [], "--good", "HEAD")
