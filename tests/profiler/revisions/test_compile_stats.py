from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from kswatch.errors import MeasurementError, UsageError
from kswatch.profiler.revisions.compile_stats import kept_at, of_revisions
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
    print("compiled", file=open(os.environ["LOOKED_AT"], "a"))
    return [Row(instructions={"HMMA": 1})]
"""
BUDGET = "def read_budget(): return {}\ndef faults(rows, budget): return []\n"
NVCC = "#!/bin/sh\necho compiled\necho 'Build cuda_13.0'\n"


@pytest.fixture
def looked_at(tmp_path, monkeypatch) -> Path:
    """What the kernels below write to whenever they are compiled; caches and compiler are the test's own."""
    nvcc = tmp_path / "cuda/bin/nvcc"
    nvcc.parent.mkdir(parents=True)
    nvcc.write_text(NVCC)
    nvcc.chmod(0o755)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "cuda"))
    monkeypatch.setenv("KSWATCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LOOKED_AT", str(tmp_path / "looked_at"))
    (tmp_path / "looked_at").write_text("")
    return tmp_path / "looked_at"


@pytest.fixture
def repository(tmp_path) -> Path:
    """Kernels that are compiled at once, and count how often."""
    fused = tmp_path / "clone/kernels/fused"
    fused.mkdir(parents=True)
    for folder in (fused, fused.parent):
        (folder / "__init__.py").write_text("")
    (fused / "resources.py").write_text(RESOURCES)
    (fused / "budget.py").write_text(BUDGET)
    git(tmp_path / "clone", "init", "--quiet")
    git(tmp_path / "clone", "add", ".")
    commit(tmp_path / "clone", "first")
    return tmp_path / "clone"


def times(looked_at: Path) -> int:
    return len(looked_at.read_text().splitlines())


def test_a_revision_is_compiled_once_for_all_commits_that_hold_the_same_kernels(repository, looked_at):
    first = of_revisions(repository, "HEAD", None)
    (repository / "README.md").write_text("words")
    git(repository, "add", ".")
    commit(repository, "words")
    (head, figures), (base, before) = of_revisions(repository, "HEAD", "HEAD~1")
    assert times(looked_at) == 1
    assert figures == before == first[0][1] and head.subject == "words"
    change(repository, "kernels/fused/cuda_checks/resources.py", "= 128", "= 255")
    (_, figures), (_, before) = of_revisions(repository, "HEAD", "HEAD~1")
    assert times(looked_at) == 2
    assert [one.rows[0].registers for one in (before, figures)] == [128, 255]


def test_another_compiler_compiles_anew(repository, looked_at, tmp_path, monkeypatch):
    of_revisions(repository, "HEAD", None)
    other = tmp_path / "newer/bin"
    other.mkdir(parents=True)
    (other / "nvcc").write_text(NVCC.replace("13.0", "13.1"))
    (other / "nvcc").chmod(0o755)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "newer"))
    of_revisions(repository, "HEAD", None)
    assert times(looked_at) == 2


def test_a_damaged_entry_is_made_anew(repository, looked_at):
    of_revisions(repository, "HEAD", None)
    kept_at(repository, "HEAD").write_text('{"rows": [')
    (_, figures), _ = of_revisions(repository, "HEAD", None)
    assert times(looked_at) == 2 and figures.rows[0].registers == 128


def test_a_base_without_figures_is_none_and_is_not_looked_at_again(repository, looked_at):
    git(repository, "rm", "--quiet", "kernels/fused/cuda_checks/resources.py")
    old = commit(repository, "before there were figures")
    git(repository, "revert", "--no-edit", "HEAD")
    for _ in range(2):
        _, base = of_revisions(repository, "HEAD", old)
        assert base[1] is None
    with pytest.raises(MeasurementError, match=r"has no kernels/fused/cuda_checks/resources.py"):
        of_revisions(repository, old, None)


def test_what_does_not_compile_is_told_and_not_kept(repository, looked_at):
    change(repository, "kernels/fused/cuda_checks/budget.py", "return []", "raise RuntimeError('x')")
    for _ in range(2):
        with pytest.raises(MeasurementError, match="RuntimeError: x"):
            of_revisions(repository, "HEAD", None)
    assert times(looked_at) == 2


def test_a_revision_without_kernels_is_told(repository, looked_at):
    git(repository, "rm", "-r", "--quiet", "kernels")
    (repository / "README.md").write_text("words")
    git(repository, "add", ".")
    commit(repository, "gone")
    with pytest.raises(UsageError, match="no folder kernels/"):
        of_revisions(repository, "HEAD", None)


def test_a_static_gate_with_a_warm_cache_takes_under_five_seconds_of_a_core(repository, looked_at):
    of_revisions(repository, "HEAD", None)
    command = [sys.executable, "-m", "kswatch", "gate", "--static", "--base", "HEAD", "--json"]
    environment = os.environ | {"KSWATCH_DATABASE_URL": f"sqlite:///{repository.parent}/none.db"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["registers"] == 128 and times(looked_at) == 1
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 5.0
