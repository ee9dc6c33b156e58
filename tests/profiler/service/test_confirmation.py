from __future__ import annotations

import pytest

from kswatch.db.paired_runs import ratios as paired_ratios
from kswatch.db.queries import basic as queries
from kswatch.db.request_queue import requests
from kswatch.db.request_queue.events import request_events
from kswatch.profiler.runs.problem_loop import RunResult
from kswatch.profiler.runs.session import RunContext
from kswatch.profiler.service.confirmation import FEWEST_PAIRS, measure_interleaved
from kswatch.profiler.service.request_runner import measure_request
from tests.profiler.scratch_clone import change, commit, git

TWICE = "            products = multiply(gather(problem, x))\n"
"""A line of the baseline bmm, where d > 1: written twice, it computes twice."""


def asked(store, good: str | None, bad: str | None, implementation: str = "bmm"):
    """A taken request to measure one cell again, as the detector makes it."""
    revisions = (
        {"good_revision": good, "bad_revision": bad} if good else {"why_alone": "no revision is known"}
    )
    problem = {"problem": ["2,64,64,4,256,fp32,batch_first"], "flagged": [implementation]}
    arguments = problem | revisions | {"of_run": 1, "budget": "10m"}
    found = requests.submit(store, "ad_hoc", "cpu", asked_by="kswatch", arguments=arguments, kind="confirm")
    return requests.take(store, found)


def measured(store, repository, good, bad, **options):
    return measure_interleaved(store, asked(store, good, bad, **options), RunContext(), repository)


def head(folder) -> str:
    return git(folder, "rev-parse", "HEAD")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_code_change_is_confirmed_against_the_last_good_revision(clone, store):
    good = head(clone)
    bad = change(clone, "kernels/baselines/bmm.py", TWICE, 2 * TWICE)
    found = measured(store, clone, good, bad)
    assert isinstance(found, RunResult) and found.state == "finished"
    runs = sorted(queries.runs(store, kinds=("confirm",)), key=lambda run: run.id)
    assert [run.arguments["side"] for run in runs] == ["base", "head"] * (len(runs) // 2)
    assert len(runs) // 2 >= FEWEST_PAIRS and found.run == runs[-1].id
    assert {run.revision.commit for run in runs[::2]} == {good}
    slower = [ratio for run in runs[1::2] for ratio in paired_ratios.of_run(store, run.id).values()]
    assert len(slower) == len(runs) // 2 and all(ratio > 1.2 for ratio in slower), slower
    assert git(clone, "worktree", "list").count("\n") == 0


@pytest.mark.slow
def test_a_good_revision_that_cannot_be_imported_is_the_reason_for_no_pairs(clone, store):
    good = change(clone, "kernels/problem.py", "from dataclasses", "raise RuntimeError(1)\nfrom dataclasses")
    git(clone, "revert", "--no-edit", "HEAD")
    why = measured(store, clone, good, head(clone))
    assert why == f"the base revision {good[:12]} cannot be measured: RuntimeError: 1"
    assert queries.runs(store) == []


def test_an_unaffected_implementation_is_not_measured_in_pairs(clone, store):
    good = head(clone)
    (clone / "README.md").write_text("words")
    git(clone, "add", ".")
    bad = commit(clone, "words")
    why = measured(store, clone, good, bad)
    assert why == f"no change between {good[:12]} and {bad[:12]} affects bmm"


def test_an_unknown_revision_is_the_reason_for_no_pairs(clone, store):
    assert "unknown revision" in measured(store, clone, "f" * 40, head(clone))


def test_a_folder_without_git_is_the_reason_for_no_pairs(tmp_path, store):
    assert "not in a git repository" in measured(store, tmp_path, "a" * 40, "b" * 40)


def test_a_device_of_another_host_is_the_reason_for_no_pairs(clone, store):
    request = asked(store, "a" * 40, "b" * 40)
    why = measure_interleaved(store, request, RunContext(remote=True), clone)
    assert "another host" in why


def test_without_pairs_the_revision_is_measured_alone_and_the_request_has_the_reason(store, scripted):
    request = asked(store, None, None)
    result = measure_request(store, request, scripted.context())
    (run,) = queries.runs(store)
    assert (run.id, run.kind, run.state) == (result.run, "confirm", "finished")
    assert "side" not in run.arguments
    (said,) = [one for one in request_events(store, [request.id]) if one.action == "alone"]
    assert said.reason == "no revision is known"
