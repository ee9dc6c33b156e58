"""First light: a stage that is cut, hangs or fails costs only itself."""

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
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.profiler.planning import suites as suite
from tests.benchmarks import first_light
from tests.benchmarks.first_light import Stage, StageResult, StageRunner


@pytest.fixture
def runner(tmp_path):
    for folder in ("out", "copy", "out/tiles"):
        (tmp_path / folder).mkdir(exist_ok=True)
    return StageRunner(tmp_path / "out", tmp_path / "copy", "cuda", gpu=False, until=time.monotonic() + 600)


def program(name, text, limit_s=20.0, **options):
    return Stage(name, limit_s, (sys.executable, "-S", "-c", text), **{"needs_gpu": False, **options})


def test_a_result_holds_the_last_lines_and_the_exit_code(runner):
    result = runner.run(program("fails", "print('first'); print('second'); raise SystemExit(3)"))
    assert (result.state, result.exit_code, result.output) == ("failed", 3, ["first", "second"])
    assert "==== fails" in (runner.out / "log.txt").read_text()


def test_a_hanging_stage_is_killed_with_its_children_and_the_next_one_runs(runner):
    text = (
        "import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', 'import time; time.sleep(600)'])"
    )
    assert runner.run(program("hangs", text, limit_s=0.5)).state == "hung"
    assert runner.run(program("next", "print('here')")).state == "done"


def test_a_stage_is_cut_at_the_deadline(runner):
    runner.until = time.monotonic() + 0.5
    assert runner.run(program("long", "import time; time.sleep(600)")).state == "cut"


def test_a_stage_may_finish_by_itself_after_sigterm(runner):
    text = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("all is kept")))
print("begun", flush=True)
time.sleep(600)
"""
    for limit_s in (1, 4, 16, 64, 256):  # the first one that is longer than the start of a process
        result = runner.run(program("polite", text, limit_s=limit_s))
        if "begun" in result.output:
            break
    assert result.output == ["begun", "all is kept"]


def test_an_unavailable_stage_is_recorded_and_not_run(runner):
    assert runner.run(program("gpu", "1 / 0", needs_gpu=True)).output == ["no NVIDIA GPU: not tried"]
    result = runner.run(program("tool", "1 / 0", needs_program="no-such-program"))
    assert result.state == "unavailable"


def test_the_summary_is_written_after_every_stage_and_copied(runner):
    runner.run(program("one", "print(1)"))
    runner.run(program("two", "print(2)"))
    for folder in (runner.out, runner.copy):
        document = json.loads((folder / "summary.json").read_text())
        assert [stage["name"] for stage in document["stages"]] == ["one", "two"]
    assert first_light.earlier_results(runner.out) == runner.results
    assert isinstance(runner.results["one"], StageResult)


def test_packages_of_a_folder_are_installed_for_the_stages_without_a_network(runner, tmp_path):
    with zipfile.ZipFile(tmp_path / "carried-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("carried.py", "print('carried here')")
        wheel.writestr(
            "carried-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: carried\nVersion: 1.0\n"
        )
        wheel.writestr("carried-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
        wheel.writestr("carried-1.0.dist-info/RECORD", "")
    assert runner.run(first_light.install_stage(tmp_path, runner.out)).state == "done"
    assert runner.run(program("uses it", "import carried")).output == ["carried here"]


def test_stages_have_distinct_names_and_fit_calls_of_ten_minutes(tmp_path):
    every = list(first_light.stages("cuda", tmp_path))
    assert len({stage.name for stage in every}) == len(every)
    assert max(stage.limit_s for stage in every) < 600


def test_a_budget_is_shorter_than_the_limit_and_the_least_time_of_its_stage(tmp_path):
    for stage in first_light.stages("cuda", tmp_path):
        if "--budget" in stage.command:
            budget_s = first_light.seconds_of(stage.command[stage.command.index("--budget") + 1])
            assert budget_s < stage.least_s < stage.limit_s <= 1.5 * budget_s


def test_a_failed_stage_is_not_repeated_at_the_cost_of_later_ones():
    assert [
        first_light.is_pending(StageResult("stage", state))
        for state in ("done", "failed", "hung", "cut", "unavailable")
    ] == [False, False, False, True, True]
    assert first_light.is_pending(None)


STAND_IN = Path(__file__).parents[1] / "kernels" / "fused" / "stand_in_gpu"
NVCC = """#!/bin/sh
if [ "$1" = --version ]; then echo "Build a stand-in"; exit 0; fi
echo "ptxas info    : 0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads"
echo "ptxas info    : Used 99 registers, used 1 barriers"
echo machine code > kernel.cubin
"""


@pytest.fixture
def rehearsed(runner, tmp_path, monkeypatch):
    """A function that runs the stages with given prefixes on a stand-in GPU and a stand-in nvcc."""
    runner.gpu, runner.until = True, time.monotonic() + 3000
    nvcc = tmp_path / "toolkit" / "bin" / "nvcc"
    nvcc.parent.mkdir(parents=True)
    nvcc.write_text(NVCC)
    nvcc.chmod(0o755)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "toolkit"))
    monkeypatch.setenv("KSWATCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(STAND_IN), os.environ.get("PYTHONPATH", "")]))

    def run(*prefixes):
        every = first_light.stages("cuda", runner.out)
        wanted = [stage for stage in every if stage.name.startswith(prefixes)]
        return [runner.run(replace(stage, limit_s=1500)) for stage in wanted]  # the machine may be slow

    return run


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_the_stages_that_run_kernels_finish_and_leave_their_results(rehearsed, runner):
    results = rehearsed("check", "ladder")
    assert [(result.name, result.output) for result in results if result.state != "done"] == []
    outcomes = [json.loads(line) for line in (runner.copy / "trials.jsonl").read_text().splitlines()]
    assert len(outcomes) > 100 and all(outcome["right"] for outcome in outcomes)
    assert "1.0000" in (runner.copy / "ladder.md").read_text()


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_kernels_of_the_compile_stages_serve_the_suites_without_a_compiler(rehearsed, monkeypatch):
    assert [(each.name, each.state) for each in rehearsed("compile")] == [
        ("compile trials", "done"),
        ("compile vit_s16", "done"),
        ("compile paper", "done"),
    ]
    monkeypatch.setattr(compiler, "find_nvcc", lambda: None)
    gpu = GpuProperties(90, 132)
    problems = [*suite.find("vit_s16").problems(), *list(suite.find("paper").problems())[::25]]
    for problem in problems:
        plain = tiles.choose(problem, gpu)
        every = [plain, *tiles.hopper_tiles(problem, gpu)]
        for tile in {
            plain,
            min(every, key=lambda tile: cycles(problem, tile, gpu)),
        }:  # without wgmma, and with
            assert compiler.cubin(tile, 90).compiler == "a stand-in"
