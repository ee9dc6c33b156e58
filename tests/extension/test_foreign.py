"""Implementations and suites of other projects: where they come from, what is refused, what is isolated."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kswatch.db.queries.baseline_sets import run_sets
from kswatch.db.queries.regression_inputs import newest_points
from kswatch.db.records import is_foreign
from kswatch.db.store import Store
from kswatch.errors import UsageError
from kswatch.kernels.catalogue import implementation
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from kswatch.profiler.devices.discovery import cpu_target
from kswatch.profiler.executors.base import MeasureTask
from kswatch.profiler.executors.local import local_engine
from kswatch.profiler.foreign import sources, trial
from kswatch.profiler.foreign.sources import (
    IMPLEMENTATION_GROUP,
    Foreign,
    ForeignSource,
    from_command_line,
    refusal,
)
from kswatch.profiler.measurement.foreign_implementation import ForeignImplementation
from kswatch.profiler.measurement.loop import measure_problem
from kswatch.profiler.planning.plan import Filters, plan_suite
from kswatch.profiler.runs.session import RunContext, run_suite
from kswatch.profiler.settings import MeasureSettings
from tests.extension.guide_steps import ROOT

EXAMPLE = ROOT / "tests" / "extension" / "example"
PROBLEM = Problem(Pattern(2, 16, 16, 2), 16, "fp32", "batch_first")
QUICK = MeasureSettings(
    cell_cap_ms=40.0, problem_cap_ms=120.0, warm_up_ms=4.0, visit_ms=2.0, min_samples=5, min_timed_ms=4.0
)
HEAD = """
import os, sys, time
import torch
from kswatch.kernels.catalogue import implementation
from kswatch.kernels.implementation import Implementation
"""
HONEST = f"""{HEAD}
class Theirs(Implementation):
    name = "fused"
    def unsupported(self, problem, device):
        return None
    def prepare(self, problem, weights):
        return implementation("bmm").prepare(problem, weights)
"""


@pytest.fixture
def theirs(tmp_path: Path):
    """A foreign implementation of this text, as a file."""

    def made(text: str, name: str = "Theirs") -> ForeignSource:
        (tmp_path / "theirs.py").write_text(text)
        _, foreign = from_command_line(None, [f"{tmp_path / 'theirs.py'}:{name}"], ())
        return foreign.files[0]

    return made


@pytest.fixture
def packages(tmp_path: Path, monkeypatch):
    """Installed packages, each with these entry points; their modules are never imported."""

    def install(**of_package: str) -> None:
        for package, lines in of_package.items():
            folder = tmp_path / "packages" / f"{package}-0.1.dist-info"
            folder.mkdir(parents=True)
            (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.1\n")
            (folder / "entry_points.txt").write_text(lines)
        monkeypatch.syspath_prepend(str(tmp_path / "packages"))

    return install


def points(*names: str, group: str = IMPLEMENTATION_GROUP) -> str:
    return f"[{group}]\n" + "".join(f"{name} = nowhere:{name.title()}\n" for name in names)


def test_a_name_of_an_installed_package_is_marked_and_others_stay(packages):
    packages(theirs=points("their_kernel"))
    names, foreign = from_command_line("smoke", ["fused", "their_kernel", "ks 2/fused", "nothing"], ())
    assert names == ["fused", "foreign:their_kernel", "ks 2/fused", "nothing"]
    assert foreign.names == ("their_kernel",)
    assert foreign.implementation("their_kernel").in_words == "their_kernel of theirs 0.1"


@pytest.mark.parametrize(
    ("name", "reason"),
    [("bmm", "has the name of one of kswatch's own implementations"), ("no-name", "letters, digits and _")],
)
def test_a_name_that_is_ours_or_malformed_is_refused(packages, name, reason):
    packages(theirs=points(name))
    source = next(one for one in sources.installed(IMPLEMENTATION_GROUP) if one.library == "theirs")
    assert reason in refusal(source, [source])
    with pytest.raises(UsageError, match=reason):
        sources.find(name, IMPLEMENTATION_GROUP)


def test_a_name_that_two_packages_have_is_refused(packages):
    second = points("shared").replace("nowhere", "elsewhere")
    packages(one=points("shared"), other=second)
    with pytest.raises(UsageError, match="shared of .* has the name of shared of"):
        from_command_line(None, ["shared"], ())


def test_a_class_of_a_file_with_one_of_our_names_is_refused(theirs):
    with pytest.raises(UsageError, match="own implementations"):
        theirs(HONEST.replace("class Theirs", "class bmm"), "bmm")


def test_a_missing_file_is_one_sentence():
    with pytest.raises(UsageError, match="there is no file nowhere.py"):
        from_command_line(None, ["nowhere.py:Theirs"], ())


@pytest.mark.parametrize("name", ["their_kernel", "foreign:their_kernel", "/tmp/theirs.py:Theirs"])
def test_a_plan_has_a_foreign_name_only_where_the_host_lists_it(packages, name):
    packages(theirs=points("their_kernel"))
    filters = Filters(pattern=("2,16,16,2",), implementation=("fused", name))
    with pytest.raises(UsageError, match="unknown implementation|not listed in .profiler. foreign"):
        plan_suite("ad_hoc", filters)
    if not name.endswith(":Theirs"):
        plan = plan_suite("ad_hoc", filters, foreign=Foreign(("their_kernel",)))
        assert plan.implementations == ("fused", "foreign:their_kernel")


def test_a_listed_name_that_is_not_installed_is_one_sentence():
    filters = Filters(pattern=("2,16,16,2",), implementation=("their_kernel",))
    with pytest.raises(UsageError, match="no installed package has .* 'their_kernel'"):
        plan_suite("ad_hoc", filters, foreign=Foreign(("their_kernel",)))


FAULTS = {
    "raises": ("raise ValueError('broken')", "cannot be imported: ValueError: broken"),
    "exits": ("sys.exit(3)", "calls sys.exit(3) when imported"),
    "ends": ("os._exit(7)", "exit code 7"),
    "lacks": ("", "its module has no Theirs"),
    "other": ("class Theirs: pass", "is no kswatch.kernels.implementation.Implementation"),
    "unmade": (HONEST + "    def __init__(self): raise KeyError('x')", "cannot be made: KeyError: 'x'"),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_module_that_cannot_be_used_is_one_sentence(theirs, fault):
    text, sentence = FAULTS[fault]
    assert sentence in trial.try_out(theirs(HEAD + text)).failure


@pytest.mark.slow
def test_an_import_that_hangs_is_ended(theirs):
    found = trial.try_out(theirs("import time; time.sleep(600)"), limit_s=20.0)
    assert "made no progress for 20 s" in found.failure


@pytest.mark.slow
def test_a_broken_module_costs_only_its_own_cells(theirs):
    source = theirs(HEAD + "sys.exit(3)")
    engine = local_engine(cpu_target(), 60.0, threading.Event(), foreign=Foreign(files=(source,)))
    try:
        task = MeasureTask(PROBLEM, ("bmm", source.marked, "foreign:unlisted"), QUICK)
        found = {record.implementation: record for record in engine.measure(task)}
    finally:
        engine.close()
    assert found["bmm"].status in ("ok", "not_converged")
    assert (found[source.marked].status, "sys.exit(3)" in found[source.marked].reason) == ("crashed", True)
    assert found["foreign:unlisted"].status == "unsupported"
    assert "not listed in [profiler] foreign" in found["foreign:unlisted"].reason


def measured(source: ForeignSource):
    cells = (ForeignImplementation(source), implementation("bmm"))
    return measure_problem(PROBLEM, cells, cpu_target(), QUICK)


def test_an_honest_kernel_is_measured_under_its_marked_name(theirs):
    record, ours = measured(theirs(HONEST))
    names = (record.implementation, ours.implementation)
    assert names == ("foreign:Theirs", "bmm")  # not `fused`, as its class claims
    assert record.status in ("ok", "not_converged") and record.latency_ms > 0


CHEATS = {
    "zeros": "return lambda x, empty=torch.empty: torch.zeros(problem.output_shape)",
    "clock": "time.perf_counter_ns = lambda: 0; return implementation('bmm').prepare(problem, weights)",
    "check": "torch.equal = lambda *a: True; return implementation('bmm').prepare(problem, weights)",
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_foreign_kernel_that_cheats_is_incorrect(theirs, cheat):
    body = 'return implementation("bmm").prepare(problem, weights)'
    record, ours = measured(theirs(HONEST.replace(body, CHEATS[cheat])))
    assert (record.status, record.latency_ms) == ("incorrect", None), record
    assert ours.status in ("ok", "not_converged")


def test_a_module_that_replaces_the_clock_when_imported_is_incorrect(theirs):
    record, ours = measured(theirs(f"{HONEST}\ntime.perf_counter_ns = lambda: 0\n"))
    assert record.status == "incorrect" and "it replaced time.perf_counter_ns" in record.reason
    assert ours.status in ("ok", "not_converged")


def test_a_night_adds_the_listed_ones_and_no_set_has_them(store: Store, scripted, packages):
    packages(theirs=points("their_kernel"))
    context = scripted.context(foreign=Foreign(("their_kernel",)))
    result = run_suite(store, "vit_s16", "sim:h200", kind="nightly", context=context)
    assert result.foreign["their_kernel"].by_status == {"ok": 48}
    members = run_sets(store, [result.run])[result.run].members
    assert not any(is_foreign(name) for names in members.values() for name in names)
    assert any(is_foreign(point.implementation) for point in newest_points(store, result.run))


def test_an_ad_hoc_run_judges_no_foreign_one(store: Store, scripted, packages):
    packages(theirs=points("their_kernel"))
    context: RunContext = scripted.context(foreign=Foreign(("their_kernel",)))
    chosen = {"pattern": ["6,64,64,1"], "implementation": ["fused", "foreign:their_kernel"]}
    result = run_suite(store, "vit_s16", "sim:h200", filters=chosen, context=context)
    assert result.foreign["their_kernel"].by_status == {"ok": 8}
    assert {point.implementation for point in newest_points(store, result.run)} == {"fused"}


@pytest.mark.slow
def test_the_example_package_is_installed_and_measured(tmp_path: Path):
    packages = tmp_path / "packages"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(packages), str(EXAMPLE)], check=True)
    variables = {"PYTHONPATH": f"{packages}:{ROOT}", "KSWATCH_DATABASE_URL": f"sqlite:///{tmp_path}/k.db"}

    def profile(name: str) -> dict:
        command = [sys.executable, "-m", "kswatch", "profile", "example_suite", "--device", "cpu", "--json"]
        done = subprocess.run(
            [*command, "--implementation", name],
            env={"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", **variables},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout)

    by_torch = profile("example_torch")
    assert by_torch["cells"] == 3 and set(by_torch["by_status"]) <= {"ok", "not_converged"}
    assert by_torch["foreign"]["example_torch"]["library"] == "kswatch-example 0.1"
    by_triton = profile("example_triton")
    assert by_triton["by_status"] == {"unsupported": 3}
    assert "Triton" in by_triton["foreign"]["example_triton"]["reason"]
