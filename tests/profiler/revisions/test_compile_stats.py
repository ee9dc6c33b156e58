from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from kswatch.errors import MeasurementError, UsageError
from kswatch.profiler.revisions.compile_stats import cached_figures, of_revisions
from tests.profiler.scratch_clone import change, commit, git

RESOURCES = """
import os
from dataclasses import dataclass
REGISTERS = 128

@dataclass
class Row:
    kernel: str = "fp16 128x128"
    architecture: str = "sm_90"
    code_hash: str = "c"
    family: str = "tensor_cores"
    compiler: str = "nvcc 1"
    registers: int = REGISTERS
    spill_bytes: int = 0
    shared_bytes: int = 0
    instructions: tuple = ()

def listing():
    print("compiled", file=open(os.environ["COMPILE_LOG"], "a"))
    return [Row(instructions={"HMMA": 1})]
"""
BUDGET = "def read_budget(): return {}\ndef faults(rows, budget): return []\n"
NVCC = "#!/bin/sh\necho compiled\necho 'Build cuda_13.0'\n"


@pytest.fixture
def compile_log(tmp_path, monkeypatch) -> Path:
    """The file that the kernels below write to when they are compiled; cache and compiler are the test's."""
    nvcc = tmp_path / "cuda/bin/nvcc"
    nvcc.parent.mkdir(parents=True)
    nvcc.write_text(NVCC)
    nvcc.chmod(0o755)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "cuda"))
    monkeypatch.setenv("KSWATCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COMPILE_LOG", str(tmp_path / "compile_log"))
    (tmp_path / "compile_log").write_text("")
    return tmp_path / "compile_log"


@pytest.fixture
def repository(tmp_path) -> Path:
    """Kernels that are compiled at once, and count how often."""
    checks = tmp_path / "clone/kernels/fused/cuda_checks"
    checks.mkdir(parents=True)
    for folder in (checks, checks.parent, checks.parents[1]):
        (folder / "__init__.py").write_text("")
    (checks / "resources.py").write_text(RESOURCES)
    (checks / "budget.py").write_text(BUDGET)
    git(tmp_path / "clone", "init", "--quiet")
    git(tmp_path / "clone", "add", ".")
    commit(tmp_path / "clone", "first")
    return tmp_path / "clone"


def compilations(compile_log: Path) -> int:
    return len(compile_log.read_text().splitlines())


def test_a_revision_is_compiled_once_for_all_commits_that_hold_the_same_kernels(repository, compile_log):
    first = of_revisions(repository, "HEAD", None)
    (repository / "README.md").write_text("words")
    git(repository, "add", ".")
    commit(repository, "words")
    (head, figures), (base, before) = of_revisions(repository, "HEAD", "HEAD~1")
    assert compilations(compile_log) == 1
    assert figures == before == first[0][1] and head.subject == "words"
    change(repository, "kernels/fused/cuda_checks/resources.py", "= 128", "= 255")
    (_, figures), (_, before) = of_revisions(repository, "HEAD", "HEAD~1")
    assert compilations(compile_log) == 2
    assert [one.rows[0].registers for one in (before, figures)] == [128, 255]


def test_another_compiler_compiles_again(repository, compile_log, tmp_path, monkeypatch):
    of_revisions(repository, "HEAD", None)
    other = tmp_path / "newer/bin"
    other.mkdir(parents=True)
    (other / "nvcc").write_text(NVCC.replace("13.0", "13.1"))
    (other / "nvcc").chmod(0o755)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "newer"))
    of_revisions(repository, "HEAD", None)
    assert compilations(compile_log) == 2


def test_a_damaged_cache_entry_is_compiled_again(repository, compile_log):
    of_revisions(repository, "HEAD", None)
    cached_figures(repository, "HEAD").write_text('{"rows": [')
    (_, figures), _ = of_revisions(repository, "HEAD", None)
    assert compilations(compile_log) == 2 and figures.rows[0].registers == 128


def test_a_base_without_figures_is_none_and_is_compiled_once(repository, compile_log):
    git(repository, "rm", "--quiet", "kernels/fused/cuda_checks/resources.py")
    old = commit(repository, "before there were figures")
    git(repository, "revert", "--no-edit", "HEAD")
    for _ in range(2):
        _, base = of_revisions(repository, "HEAD", old)
        assert base[1] is None
    with pytest.raises(MeasurementError, match=r"has no kernels/fused/cuda_checks/resources.py"):
        of_revisions(repository, old, None)


def test_a_revision_that_does_not_compile_is_reported_and_not_cached(repository, compile_log):
    change(repository, "kernels/fused/cuda_checks/budget.py", "return []", "raise RuntimeError('x')")
    for _ in range(2):
        with pytest.raises(MeasurementError, match="RuntimeError: x"):
            of_revisions(repository, "HEAD", None)
    assert compilations(compile_log) == 2


def test_a_revision_without_kernels_is_refused(repository, compile_log):
    git(repository, "rm", "-r", "--quiet", "kernels")
    (repository / "README.md").write_text("words")
    git(repository, "add", ".")
    commit(repository, "gone")
    with pytest.raises(UsageError, match="no folder kernels/"):
        of_revisions(repository, "HEAD", None)


def test_a_base_from_before_the_package_is_refused_and_not_compared(repository, compile_log):
    text = RESOURCES.replace("import os\n", "import os\nfrom kernels.fused import budget\n")
    (repository / "kernels/fused/cuda_checks/resources.py").write_text(text)
    old = commit(repository, "as a top-level package")
    git(repository, "revert", "--no-edit", "HEAD")
    command = [sys.executable, "-m", "kswatch", "gate", "--static", "--base", old]
    environment = os.environ | {"KSWATCH_DATABASE_URL": f"sqlite:///{repository.parent}/none.db"}
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True)
    assert done.returncode == 3 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert f"revision {old[:12]}: it is from before kernels became part of the package" in line
    assert compilations(compile_log) == 1, "of the head alone"


def test_a_static_gate_with_a_warm_cache_needs_under_five_seconds_of_a_core(repository, compile_log):
    of_revisions(repository, "HEAD", None)
    command = [sys.executable, "-m", "kswatch", "gate", "--static", "--base", "HEAD", "--json"]
    environment = os.environ | {"KSWATCH_DATABASE_URL": f"sqlite:///{repository.parent}/none.db"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["registers"] == 128 and compilations(compile_log) == 1
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 5.0
