"""Runs of a set of baselines: what they measure, and what the store holds of the rivals."""

from __future__ import annotations

import pytest

from kswatch.db.queries import basic as queries
from kswatch.db.queries.baseline_sets import run_sets
from kswatch.db.queries.headline import headline
from kswatch.db.records import BASELINE_SETS, IMPLEMENTATIONS, RIVALS
from kswatch.errors import UsageError
from kswatch.profiler.config import ProfilerConfig
from kswatch.profiler.planning.plan import Filters, plan_suite
from kswatch.profiler.runs.session import resume, run_suite
from kswatch.profiler.signals import Stopped

EXPERT = {"pattern": ["2,8,8,2"], "baselines": ["expert"]}
LIBRARIES = {"lazylinop": {"lazylinop": "1.24.28", "pyopencl": "2026.1.4"}}
MISSING = "not installed: pip install -c constraints.txt 'kswatch[rivals-gpu]'"


@pytest.fixture
def with_lazylinop(scripted):
    """An engine on a machine that has one of the rivals (simulated)."""
    scripted.libraries = LIBRARIES
    scripted.status_of = {name: "unsupported" for name in RIVALS if name != "lazylinop"}
    scripted.reason_of = {name: MISSING for name in scripted.status_of}
    return scripted


@pytest.mark.parametrize("name", BASELINE_SETS)
def test_a_plan_of_a_set_has_fused_and_the_set(name: str):
    plan = plan_suite("smoke", Filters(baselines=(name,)))
    assert plan.implementations == ("fused", *BASELINE_SETS[name])


def test_without_a_set_smoke_measures_all_in_its_two_minutes():
    plan = plan_suite("smoke")
    assert plan.implementations == IMPLEMENTATIONS == ("fused", *BASELINE_SETS["all"])
    assert plan.within_s < 120 < plan_suite("smoke", Filters(baselines=("expert",))).within_s < 600


def test_compiling_rivals_shorten_the_timing_of_no_problem(store, scripted):
    scripted.slow(30.0)  # longer for one problem than all cells of the suite are timed
    run_suite(store, "smoke", filters={"baselines": ["expert"]}, context=scripted.context())
    caps_ms = [task.settings.problem_cap_ms for task in scripted.tasks]
    assert min(caps_ms[1:]) > 4_000  # the first problem has half of its share


def test_a_rival_can_be_named_alone():
    plan = plan_suite("smoke", Filters(implementation=("triton", "fused")))
    assert plan.implementations == ("fused", "triton")


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"baselines": ("best",)}, "unknown set of baselines 'best'; choose from paper, all, expert"),
        ({"baselines": ("expert",), "implementation": ("bmm",)}, "give only one of the two"),
    ],
)
def test_a_set_that_means_nothing_is_a_usage_error(filters, message: str):
    with pytest.raises(UsageError, match=message):
        plan_suite("smoke", Filters(**filters))


def test_a_run_of_the_expert_set_names_the_rivals_in_its_headline(store, with_lazylinop):
    result = run_suite(store, "ad_hoc", filters=EXPERT, context=with_lazylinop.context())
    assert result.cells == 2 * 12
    assert queries.run(store, result.run).arguments["baselines"] == ["expert"]
    sets = run_sets(store, [result.run])[result.run]
    assert sets.rivals == ("lazylinop",)
    assert sets.libraries == {"lazylinop": "lazylinop 1.24.28, pyopencl 2026.1.4"}
    found = headline(store)
    assert (found.baseline_set, found.baseline_set_run) == ("expert", result.run)
    assert found.rivals == {"lazylinop": "lazylinop 1.24.28, pyopencl 2026.1.4"}
    assert found.rivals_missing == {name: MISSING for name in RIVALS if name != "lazylinop"}
    assert set(found.baselines) == {*BASELINE_SETS["all"], "lazylinop"}


def test_a_resumed_run_measures_the_same_set(store, with_lazylinop):
    def stop(task):
        raise Stopped

    with_lazylinop.script = stop
    run_suite(store, "ad_hoc", filters=EXPERT, context=with_lazylinop.context())
    with_lazylinop.script = lambda task: None
    assert resume(store, context=with_lazylinop.context()).cells == 2 * 12
    assert with_lazylinop.tasks[0].implementations == ("fused", *BASELINE_SETS["expert"])


def test_a_run_is_not_resumed_with_other_libraries(store, with_lazylinop):
    def stop(task):
        raise Stopped

    with_lazylinop.script = stop
    run_suite(store, "ad_hoc", filters=EXPERT, context=with_lazylinop.context())
    with_lazylinop.libraries = {"lazylinop": {"lazylinop": "1.25.0", "pyopencl": "2026.1.4"}}
    with pytest.raises(UsageError, match="other libraries of lazylinop; install those again"):
        resume(store, context=with_lazylinop.context())


def test_other_libraries_do_not_matter_to_a_run_without_rivals(store, scripted):
    def stop(task):
        raise Stopped

    scripted.script = stop
    run_suite(store, "ad_hoc", filters={"pattern": ["2,8,8,2"]}, context=scripted.context())
    scripted.script, scripted.libraries = (lambda task: None), LIBRARIES
    assert resume(store, context=scripted.context()).state == "finished"


@pytest.mark.parametrize(("kind", "count"), [("nightly", 12), ("ad_hoc", 8)])
def test_the_configuration_names_the_set_of_nights_alone(store, scripted, kind: str, count: int):
    context = scripted.context(config=ProfilerConfig(nightly_baselines="expert"))
    run_suite(
        store,
        "ad_hoc" if kind == "ad_hoc" else "smoke",
        filters={"pattern": ["6,64,64,1"]},
        kind=kind,
        context=context,
    )
    assert {len(task.implementations) for task in scripted.tasks} == {count}
