"""The visit to a GPU: what is cut off, hangs or fails costs nothing but itself."""

from __future__ import annotations

import json
import os
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from kswatch.kernels.fused.cuda import compile as compiler
from kswatch.kernels.fused.cuda import tile_candidates as tiles
from kswatch.kernels.fused.cuda.estimate import cycles
from kswatch.kernels.fused.cuda.machine import Machine
from kswatch.profiler.planning import suites as suite
from tests.benchmarks import first_light
from tests.benchmarks.first_light import Stage, Told, Visit


@pytest.fixture
def visit(tmp_path):
    for folder in ("out", "copy", "out/tiles"):
        (tmp_path / folder).mkdir(exist_ok=True)
    return Visit(tmp_path / "out", tmp_path / "copy", "cuda", gpu=False, until=time.monotonic() + 60)


def program(name, text, limit_s=20.0, **options):
    return Stage(name, limit_s, (sys.executable, "-S", "-c", text), **{"needs_gpu": False, **options})


def test_a_stage_is_told_with_its_last_lines_and_its_code(visit):
    told = visit.run(program("fails", "print('first'); print('second'); raise SystemExit(3)"))
    assert (told.state, told.exit_code, told.said) == ("failed", 3, ["first", "second"])
    assert "==== fails" in (visit.out / "log.txt").read_text()


def test_what_hangs_is_ended_with_all_that_it_started_and_the_next_runs(visit):
    text = (
        "import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', 'import time; time.sleep(60)'])"
    )
    started = time.monotonic()
    assert visit.run(program("hangs", text, limit_s=0.5)).state == "hung"
    assert time.monotonic() - started < 10
    assert visit.run(program("next", "print('here')")).state == "done"


def test_a_stage_that_the_time_left_cuts_short_is_told_so(visit):
    visit.until = time.monotonic() + 0.5
    assert visit.run(program("long", "import time; time.sleep(60)")).state == "cut"


def test_what_is_cut_short_may_end_by_itself(visit):
    text = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("all is kept")))
print("begun", flush=True)
time.sleep(60)
"""
    assert visit.run(program("polite", text, limit_s=2)).said[-1] == "all is kept"


def test_what_is_not_here_is_told_and_not_run(visit):
    assert visit.run(program("gpu", "1 / 0", needs_gpu=True)).said == ["no NVIDIA GPU: not tried"]
    told = visit.run(program("tool", "1 / 0", needs_program="no-such-program"))
    assert told.state == "not here"


def test_the_summary_is_written_after_every_stage_and_copied(visit):
    visit.run(program("one", "print(1)"))
    visit.run(program("two", "print(2)"))
    for folder in (visit.out, visit.copy):
        document = json.loads((folder / "summary.json").read_text())
        assert [stage["name"] for stage in document["stages"]] == ["one", "two"]
    assert first_light.before(visit.out) == visit.told
    assert isinstance(visit.told["one"], Told)


def test_packages_of_a_folder_are_installed_for_the_stages_without_a_network(visit, tmp_path):
    with zipfile.ZipFile(tmp_path / "carried-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("carried.py", "print('carried here')")
        wheel.writestr(
            "carried-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: carried\nVersion: 1.0\n"
        )
        wheel.writestr("carried-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
        wheel.writestr("carried-1.0.dist-info/RECORD", "")
    assert visit.run(first_light.installing(tmp_path, visit.out)).state == "done"
    assert visit.run(program("uses it", "import carried")).said == ["carried here"]


def test_stages_have_names_of_their_own_and_fit_calls_of_ten_minutes(tmp_path):
    every = list(first_light.stages("cuda", tmp_path))
    assert len({stage.name for stage in every}) == len(every)
    assert max(stage.limit_s for stage in every) < 600


def test_a_budget_ends_a_stage_before_its_limit_and_fits_the_time_that_it_waits_for(tmp_path):
    for stage in first_light.stages("cuda", tmp_path):
        if "--budget" in stage.command:
            budget_s = first_light.seconds_of(stage.command[stage.command.index("--budget") + 1])
            assert budget_s < stage.least_s < stage.limit_s <= 1.5 * budget_s


def test_what_failed_does_not_take_the_time_of_what_comes_after_it_again():
    assert [
        first_light.may_run_again(Told("stage", state))
        for state in ("done", "failed", "hung", "cut", "not here")
    ] == [False, False, False, True, True]
    assert first_light.may_run_again(None)


STAND_IN = Path(__file__).parent / "kernels" / "fused" / "stand_in_gpu"
NVCC = """#!/bin/sh
if [ "$1" = --version ]; then echo "Build a stand-in"; exit 0; fi
echo "ptxas info    : 0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads"
echo "ptxas info    : Used 99 registers, used 1 barriers"
echo machine code > kernel.cubin
"""


@pytest.fixture
def rehearsed(visit, tmp_path, monkeypatch):
    """`rehearsed(beginnings of names)` runs stages by process, on a GPU and an nvcc that are none."""
    visit.gpu, visit.until = True, time.monotonic() + 1200
    nvcc = tmp_path / "toolkit" / "bin" / "nvcc"
    nvcc.parent.mkdir(parents=True)
    nvcc.write_text(NVCC)
    nvcc.chmod(0o755)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "toolkit"))
    monkeypatch.setenv("KSWATCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(STAND_IN), os.environ.get("PYTHONPATH", "")]))

    def run(*beginnings):
        every = first_light.stages("cuda", visit.out)
        wanted = [stage for stage in every if stage.name.startswith(beginnings)]
        return [visit.run(replace(stage, limit_s=600)) for stage in wanted]  # the machine may be a slow one

    return run


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_what_tries_kernels_runs_to_its_end_and_leaves_what_it_saw(rehearsed, visit):
    told = rehearsed("right", "ladder")
    assert [(each.name, each.said) for each in told if each.state != "done"] == []
    outcomes = [json.loads(line) for line in (visit.copy / "right.jsonl").read_text().splitlines()]
    assert len(outcomes) > 100 and all(outcome["right"] for outcome in outcomes)
    assert "1.0000" in (visit.copy / "ladder.md").read_text()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_what_the_compile_stages_leave_serves_the_suites_without_a_compiler(rehearsed, visit, monkeypatch):
    assert [(each.name, each.state) for each in rehearsed("compile")] == [
        ("compile trials", "done"),
        ("compile vit_s16", "done"),
        ("compile paper", "done"),
    ]
    monkeypatch.setattr(compiler, "find_nvcc", lambda: None)
    machine = Machine(90, 132)
    problems = [*suite.find("vit_s16").problems(), *list(suite.find("paper").problems())[::25]]
    for problem in problems:
        wide = tiles.by_warpgroups(problem, machine)
        for tile in [tiles.choose(problem, machine), *([wide] if wide and best_is(wide, problem) else [])]:
            assert compiler.cubin(tile, 90).compiler == "a stand-in"


def best_is(wide, problem):
    """Whether a GPU that is trusted with wgmma would choose it."""
    machine = Machine(90, 132)
    return cycles(problem, wide, machine) < cycles(problem, tiles.choose(problem, machine), machine)
