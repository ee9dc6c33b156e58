"""From a flagged night to its answer, with a real repository, real kernels and this machine's CPU."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from kswatch.ci.check import judge
from kswatch.ci.config import CiConfig
from kswatch.ci.confirmation.request import ask_again
from kswatch.db.queries.basic import alert_events, alerts, run
from kswatch.db.records import ProblemKey, RevisionRecord
from kswatch.db.request_queue import requests
from kswatch.profiler.devices import discovery as devices
from kswatch.profiler.runs.problem_loop import RunResult
from kswatch.profiler.runs.session import Surroundings
from kswatch.profiler.service.confirmation import measure_in_turns
from tests.ci.nights import START, Nights
from tests.profiler import scratch_clone
from tests.profiler.scratch_clone import change, git

PROBLEMS = tuple(ProblemKey(2, 64, 64, d, 256, "fp32", "batch_first") for d in (2, 4, 8, 16))
LINE = "            products = multiply(gather(problem, x))\n"


@dataclass
class NightsOf(Nights):
    """Nights of one revision after another."""

    commit: str = ""

    def night(self, *planted, **options) -> int:
        begin = self.store.begin_run
        self.store.begin_run = lambda record: begin(replace(record, revision=RevisionRecord(self.commit)))
        try:
            return super().night(*planted, problems=PROBLEMS, **options)
        finally:
            self.store.begin_run = begin


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("instead", "actions"),
    [(2 * LINE, ["confirmed"]), (f"            # as before\n{LINE}", ["dismissed", "measured again"])],
    ids=["twice the work", "a comment"],
)
def test_a_flagged_night_is_answered_by_both_revisions_in_turns(store, tmp_path, instead, actions):
    clone = scratch_clone.make(tmp_path / "clone")
    good = git(clone, "rev-parse", "HEAD")
    bad = change(clone, "kernels/baselines/bmm.py", LINE, instead)
    nights = NightsOf(store, noise=0.03, device=devices.find("cpu").record, commit=good)
    nights.quiet(15)
    nights.noise, nights.commit = 0.0, bad
    night = nights.night({"bmm": 1.08})
    judge(store, night, CiConfig(), now=START)
    (flagged,) = alerts(store)
    assert not flagged.confirmed and flagged.cause == "baseline"
    asked = ask_again(store, run(store, night), CiConfig())
    measured = measure_in_turns(store, requests.take(store, asked), Surroundings(), clone)
    assert isinstance(measured, RunResult), measured
    judge(store, measured.run, CiConfig(), now=START)
    event = alert_events(store, flagged.id)[-1]
    assert event.action in actions, event.reason  # a busy machine leaves equal revisions unclear
    assert "in turns with the last good revision" in event.reason
