"""From a flagged night to the decision, with a real repository, real kernels and this machine's CPU."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy import stats

from kswatch.ci.check import judge
from kswatch.ci.config import CiConfig
from kswatch.ci.confirmation.request import request_confirmation
from kswatch.db.paired_runs import ratios as paired_ratios
from kswatch.db.queries.basic import alert_events, alerts, run, runs, verdicts
from kswatch.db.records import ProblemKey, RevisionRecord
from kswatch.db.request_queue import requests
from kswatch.profiler.devices import discovery as devices
from kswatch.profiler.runs.problem_loop import RunResult
from kswatch.profiler.runs.session import RunContext
from kswatch.profiler.service.confirmation import measure_interleaved
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


def expected_action(changes: np.ndarray, ratios: np.ndarray) -> str:
    """The documented decision by the recorded ratios: Student's t over pairs of the reproduced share, 1 %."""
    first, again = np.log1p(changes), np.log(ratios)
    shares = again @ first / (first @ first)
    reach = stats.sem(shares) * stats.t.ppf(0.995, len(shares) - 1)
    if shares.mean() >= 0.75 and shares.mean() > reach:
        return "confirmed"
    return "dismissed" if shares.mean() < 0.5 and shares.mean() + reach < 1 else "measured again"


def recorded_ratios(store, night: int, flagged: int) -> tuple[np.ndarray, np.ndarray]:
    """The flagged changes, `(cells,)`, and the recorded ratios of the cells, `(pairs, cells)`."""
    rows = [row for row in verdicts(store, night, alert_id=flagged) if row.metric == "latency_ms"]
    heads = [one.id for one in runs(store, kinds=("confirm",)) if one.arguments["side"] == "head"]
    ratios = [paired_ratios.of_run(store, one) for one in heads]
    return np.array([row.change for row in rows]), np.array(
        [[one[row.cell_id] for row in rows] for one in ratios]
    )


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("instead", "is_slower"),
    [(2 * LINE, True), (f"            # as before\n{LINE}", False)],
    ids=["twice the work", "a comment"],
)
def test_a_flagged_night_is_decided_by_both_revisions_interleaved(store, tmp_path, instead, is_slower):
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
    request_id = request_confirmation(store, run(store, night), CiConfig())
    measured = measure_interleaved(store, requests.take(store, request_id), RunContext(), clone)
    assert isinstance(measured, RunResult), measured
    judge(store, measured.run, CiConfig(), now=START)
    event = alert_events(store, flagged.id)[-1]
    assert "interleaved with the last good revision" in event.reason
    changes, ratios = recorded_ratios(store, night, flagged.id)
    assert len(ratios) >= 3
    assert event.action == expected_action(changes, ratios), event.reason
    if is_slower:
        assert np.median(ratios) > 1.2 and event.action == "confirmed"
    else:  # on a busy machine pairs of equal revisions may differ too much to dismiss, but never confirm
        assert 0.8 < np.median(ratios) < 1.25 and event.action != "confirmed"
