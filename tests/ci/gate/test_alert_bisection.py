"""The bisection after a night: within its time, resumed, its culprit on the alert."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from kswatch.ci.cli.alerts import alerts_app
from kswatch.ci.cli.bisect import app
from kswatch.ci.gate.alert_bisection import LEAST_COMPARISON_S, bisect_alerts, excluded_commits
from kswatch.db.alerts import outbox
from kswatch.db.alerts.lifecycle import NewAlert, open_alert
from kswatch.db.bisections.stored import begin_bisection, bisections, steps
from kswatch.db.machine_reads.rows import alert_rows
from kswatch.db.paired_runs.paired_record import BrokenRevision
from kswatch.db.queries.basic import alert, alert_events
from kswatch.errors import MeasurementError
from kswatch.profiler.revisions.git import CommitHistory
from tests.ci.gate.gate_sessions import SimulatedSession
from tests.ci.gate.test_bisection import CELL
from tests.ci.nights import DEVICE, Nights
from tests.kswatch.sample_services import sample_services
from tests.profiler.scratch_clone import commit, git

COMPARISON_S = 200.0
"""What a comparison takes here, by a clock that only comparisons move."""


class Night:
    """A repository of ten commits, slower from `first_bad` on, and the nights' bisections of its alerts."""

    def __init__(self, store, folder, first_bad=6):
        self.store, self.now_s, self.measured, self.said = store, 0.0, [], []
        self.first_bad, self.unbuildable, self.absent = first_bad, set(), False
        self.slow, self.noise = set(), {}
        (folder / "kernels").mkdir(parents=True)
        git(folder, "init", "--quiet")
        self.folder, self.commits = folder, []
        for number in range(10):
            self.change(f"number = {number}", f"commit {number}")
        Nights(store).night()

    def change(self, text, subject):
        (self.folder / "kernels/some.py").write_text(text)
        git(self.folder, "add", ".")
        self.commits.append(commit(self.folder, subject))

    def open_alert(self, **changes):
        new = NewAlert(1, 1, "slower", "code", "latency_ms", "fused", "fused slower", 0.1, confirmed=True)
        revisions = {"good": self.commits[0], "bad": self.commits[-1]}
        return open_alert(
            self.store, replace(new, explanation={"revisions": revisions, "cells": [CELL]}, **changes)
        )

    @contextmanager
    def open_comparison(self, base, head, device, filters):
        if self.absent:
            raise MeasurementError("no such device")
        assert (base, device) == (self.commits[0], DEVICE.uuid)
        number = self.commits.index(head)
        self.measured.append(number)
        self.now_s += COMPARISON_S
        is_slow = number in self.slow if self.slow else number >= self.first_bad
        session = SimulatedSession(1, truth={0: 0.1} if is_slow else {}, seed=number, **self.noise)
        if number in self.unbuildable:
            session.broken = BrokenRevision("head", head, "it does not compile", "")
        yield session

    def bisect(self, budget_s=3_600.0, must_stop=lambda: False):
        bisect_alerts(
            self.store,
            CommitHistory(self.folder),
            self.open_comparison,
            budget_s=budget_s,
            floor=0.02,
            device_uuids=(DEVICE.uuid,),
            must_stop=must_stop,
            report=self.said.append,
            clock=lambda: self.now_s,
        )


@pytest.fixture
def night(store, tmp_path):
    return Night(store, tmp_path / "repository")


def test_the_culprit_is_written_on_the_alert_and_told_with_it(store, night):
    alert_id = night.open_alert()
    version = alert(store, alert_id).version
    night.bisect()
    (one,) = bisections(store)
    assert (one.state, one.suspects) == ("found", [night.commits[6]])
    assert one.seconds == len(night.measured) * COMPARISON_S
    event = alert_events(store, alert_id)[-1]
    assert (event.who, event.action) == ("bisection", "bisected")
    assert event.reason.startswith(f"first bad commit {night.commits[6][:12]} commit 6: slower (+")
    assert alert(store, alert_id).version == version + 1
    assert outbox.messages(store)[-1].title == f"alert {alert_id} bisected: fused slower"


def test_a_search_stops_at_its_time_limit_and_goes_on_after_the_next_night(store, night):
    night.open_alert()
    for _ in range(5):
        night.bisect(budget_s=COMPARISON_S + LEAST_COMPARISON_S - 1)
    assert (
        len(set(night.measured)) == len(night.measured) in (4, 5)
    )  # which halves git picks depends on hashes
    assert bisections(store)[0].suspects == [night.commits[6]]


def test_nothing_is_measured_while_somebody_waits(store, night):
    night.open_alert()
    night.bisect(must_stop=lambda: True)
    assert night.measured == [] and bisections(store) == []


def test_a_search_that_has_ended_is_not_repeated(store, night):
    night.open_alert()
    night.bisect()
    before = len(night.measured)
    night.bisect()
    assert len(night.measured) == before and len(outbox.messages(store)) == 2  # opened, bisected


@pytest.mark.parametrize("changes", [{"confirmed": False}, {"cause": "canary"}, {"verdict": "faster"}])
def test_only_confirmed_regressions_of_the_code_are_searched(store, night, changes):
    night.open_alert(**changes)
    night.bisect()
    assert night.measured == []


def test_commits_are_skipped_with_a_reason(store, night):
    reverted = night.commits[3]
    night.change("number = 2", f"Revert\n\nThis reverts commit {reverted}.")
    night.change("number = 11", "last")
    night.unbuildable = {5}
    night.open_alert()
    night.bisect()
    (one,) = bisections(store)
    reasons = {step.commit: step.reason for step in steps(store, one.id) if step.status == "skipped"}
    assert one.suspects[0] == night.commits[6]
    assert reasons.get(night.commits[5], "it does not compile") == "it does not compile"
    assert reverted not in one.suspects and 3 not in night.measured


def test_a_change_that_was_taken_back_and_applied_again_may_be_the_culprit(store, night):
    """A, its revert, and the revert of that: the last one is what made it slower for good."""
    original = night.commits[9]
    night.change("number = 8", f"Revert\n\nThis reverts commit {original}.")
    night.change("number = 9", f"Again\n\nThis reverts commit {night.commits[10]}.")
    night.change("number = 12", "last")
    night.slow = {9, 11, 12}
    night.open_alert()
    history = CommitHistory(night.folder)
    excluded = excluded_commits(history, night.commits[0], night.commits[-1])
    assert excluded.keys() == {night.commits[10]} and "reverted by" in excluded[night.commits[10]].reason
    night.bisect()
    assert bisections(store)[0].suspects[0] in (original, night.commits[11])


def test_a_bad_revision_that_is_not_decided_waits_for_a_quieter_night(store, night):
    night.open_alert()
    night.noise = {"rounds": 0.5, "processes": 0.4}
    night.bisect()
    (one,) = bisections(store)
    assert one.state == "waiting" and "not decided (" in one.message
    night.noise = {}
    night.bisect()
    assert bisections(store)[0].suspects == [night.commits[6]]


def test_each_measurement_shows_that_the_search_goes_on(store, night):
    asked = []
    night.open_alert()
    night.bisect(must_stop=lambda: asked.append(len(night.measured)))
    between = asked.count(1)
    assert between > 3, "more often than once for each commit"


def test_the_culprit_is_in_the_rows_for_scripts(store, night):
    alert_id = night.open_alert()
    (row,) = alert_rows(store)
    assert (row["culprit"], row["suspects"]) == (None, [])
    night.bisect()
    (row,) = alert_rows(store)
    assert (row["culprit"], row["suspects"]) == (night.commits[6], [night.commits[6]])
    services = sample_services(str(store.engine.url))
    shown = CliRunner().invoke(alerts_app, ["show", str(alert_id), "--json"], obj=services)
    assert json.loads(shown.stdout)["culprit"] == night.commits[6]
    listed = CliRunner().invoke(alerts_app, ["--json"], obj=services)
    assert json.loads(listed.stdout)[0]["culprit"] == night.commits[6]


def test_a_bisection_that_begins_anew_forgets_its_result(store, night):
    alert_id = night.open_alert()
    night.bisect()
    begin_bisection(store, alert_id, night.commits[1], night.commits[-1])
    (one,) = bisections(store)
    assert (one.state, one.suspects, one.message, one.seconds) == ("waiting", [], None, 0.0)
    assert steps(store, one.id) == [] and alert_rows(store)[0]["culprit"] is None


def test_a_merge_is_skipped(store, tmp_path):
    night = Night(store, tmp_path / "repository")
    git(night.folder, "checkout", "--quiet", "-b", "side", night.commits[4])
    night.change("number = 40", "on the side")
    git(night.folder, "checkout", "--quiet", "-")
    history = CommitHistory(night.folder)
    git(night.folder, "merge", "--quiet", "--strategy=ours", "--no-edit", "side")
    head = history.commit("HEAD")
    assert history.merges(night.commits[0], head) == [head]


def test_a_regression_that_does_not_show_ends_the_search(store, night):
    night.first_bad = 99
    alert_id = night.open_alert()
    night.bisect()
    (one,) = bisections(store)
    assert one.state == "failed" and "is no worse than" in one.message
    assert alert_events(store, alert_id)[-1].action == "not bisected"


def test_an_absent_device_only_delays_the_search(store, night):
    night.open_alert()
    night.absent = True
    night.bisect()
    assert bisections(store)[0].state == "waiting" and bisections(store)[0].message == "no such device"
    night.absent = False
    night.bisect()
    assert bisections(store)[0].state == "found"


def test_kswatch_bisect_shows_the_progress(store, night):
    alert_id = night.open_alert()
    night.bisect(budget_s=2 * COMPARISON_S + LEAST_COMPARISON_S - 1)
    services = sample_services(str(store.engine.url))
    lines = CliRunner().invoke(app, ["--progress"], obj=services).stdout.splitlines()
    assert lines[0] == f"bisection of alert {alert_id}: waiting, 6.7 min measured: 1 commits decided"
    assert len(lines) == 2 and " is " not in lines[1]
    (row,) = json.loads(CliRunner().invoke(app, ["--progress", "--json"], obj=services).stdout)
    assert row["alert_id"] == alert_id and len(row["steps"]) == 1
