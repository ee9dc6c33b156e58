"""A revision's kernels in a process of their own: only they are loaded from it, or it is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kswatch.profiler.child_process import child_environment, python_command
from kswatch.profiler.revisions.revision_kernels import is_before_package

ROOT = Path(__file__).parents[3]
CHILDREN = ("kswatch.profiler.ab_runs.worker_main", "kswatch.profiler.revisions.compile_stats_main")
LOAD = """
import sys
from pathlib import Path
from kswatch.errors import MeasurementError
from kswatch.profiler.revisions.revision_kernels import load_kernels, require_own_kernels
folder = Path(sys.argv[1])
"""


@pytest.fixture
def revision(tmp_path) -> Path:
    """A folder with kernels of three modules, which import each other by their full names."""
    kernels = tmp_path / "revision" / "kernels"
    kernels.mkdir(parents=True)
    (kernels / "__init__.py").write_text("PLANTED = True\n")
    (kernels / "pattern.py").write_text("from kswatch.kernels.problem import NAME\n")
    (kernels / "problem.py").write_text("NAME = 'planted'\n")
    return kernels.parent


def run(code: str, folder: Path, first: str = "") -> str:
    command = [sys.executable, "-P", "-c", f"{first}\n{LOAD}\n{code}", str(folder)]
    done = subprocess.run(command, env=child_environment(), capture_output=True, text=True)
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("module", CHILDREN)
def test_a_child_imports_no_kernels_before_those_of_its_revision(module):
    code = f"import sys, {module}; print([name for name in sys.modules if 'kernels' in name.split('.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_all_kernels_are_the_revision_s_and_all_else_is_not(revision):
    code = """
load_kernels(folder)
import kswatch, kswatch.kernels.pattern, kswatch.db.records
assert kswatch.kernels.PLANTED and kswatch.kernels.pattern.NAME == "planted"
assert not Path(kswatch.db.records.__file__).resolve().is_relative_to(folder)
require_own_kernels(folder)
print("own")
"""
    assert run(code, revision) == "own"


def test_kernels_that_were_imported_before_are_refused(revision):
    refused = run("load_kernels(folder)", revision, first="import kswatch.kernels.pattern")
    assert "kswatch.kernels, kswatch.kernels.pattern" in refused
    assert "was imported before the kernels of the revision" in refused


def test_a_module_of_another_revision_is_found_whenever_it_was_imported(revision, tmp_path):
    (tmp_path / "late.py").write_text("")
    code = f"""
load_kernels(folder)
require_own_kernels(folder)
kswatch = sys.modules["kswatch"]
kswatch.kernels.__path__.append({str(tmp_path)!r})
import kswatch.kernels.late
require_own_kernels(folder)
"""
    assert "kswatch.kernels.late was imported from" in run(code, revision)


def test_a_folder_without_a_package_is_refused(tmp_path):
    (tmp_path / "kernels").mkdir()
    assert "is not a Python package" in run("load_kernels(folder)", tmp_path)


@pytest.mark.parametrize("line", ["from kernels.problem import NAME", "import kernels", "import kernels.x"])
def test_kernels_from_before_the_package_are_refused(revision, line):
    assert not is_before_package(revision)
    (revision / "kernels" / "pattern.py").write_text(f"if True:\n    pass\n{line.strip()}\n")
    assert is_before_package(revision)
    assert "before kernels became part of the package" in run("load_kernels(folder)", revision)


def test_the_kernels_of_this_work_tree_are_a_package():
    assert not is_before_package(ROOT)


def test_the_command_of_a_child_ignores_packages_in_the_working_directory(tmp_path):
    (tmp_path / "kswatch").mkdir()
    (tmp_path / "kswatch" / "__init__.py").write_text("raise RuntimeError('not this one')")
    command = python_command("kswatch.profiler.revisions.compile_stats_main", str(tmp_path))
    done = subprocess.run(command, cwd=tmp_path, env=child_environment(), capture_output=True, text=True)
    assert "is not a Python package" in done.stderr
