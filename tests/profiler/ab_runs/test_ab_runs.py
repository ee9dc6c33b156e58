from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kswatch.db.records import IMPLEMENTATIONS
from kswatch.errors import MeasurementError, UsageError
from kswatch.kernels.fused.artifacts.cache import cache_folder
from kswatch.profiler.liveness.process_identity import has_ended
from kswatch.profiler.revisions.affected_implementations import affected_implementations
from kswatch.profiler.revisions.git import CommitHistory, changed_paths, repository_of, revision_of
from tests.profiler.scratch_clone import change, commit, git, kswatch, plant_extra_pass

ROOT = Path(__file__).parents[3]
CELL = ("--pattern", "2,16,16,2", "--batch", "64", "--precision", "fp32", "--layout", "batch_first")


def files_left() -> list[Path]:
    """Files of revisions whose process has ended; those of other tests that run now have a living owner."""
    left = []
    for owner in (cache_folder() / "revisions").glob("*/owner"):
        with suppress(FileNotFoundError):
            left += [owner.parent] if has_ended(owner.read_text()) else []
    return left


def test_a_revision_is_found_by_name_and_an_unknown_one_is_refused(clone):
    assert revision_of(clone, "main").subject == "first"
    for name in ("nonsense", "-x", "HEAD~9", ""):
        with pytest.raises(UsageError, match="unknown revision"):
            revision_of(clone, name)


def test_the_error_in_a_shallow_clone_has_the_command_that_fetches_the_rest(clone, tmp_path):
    commit(clone, "second")
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{clone}", "shallow")
    with pytest.raises(UsageError, match="shallow.*--unshallow"):
        revision_of(tmp_path / "shallow", "HEAD~1")


def test_a_folder_without_git_is_refused(tmp_path):
    with pytest.raises(UsageError, match="not in a git repository"):
        repository_of(tmp_path)


@pytest.mark.parametrize(
    ("path", "affected"),
    [
        ("kernels/fused/cpu_twin/source/twin_tile.hpp", ("fused",)),
        ("kernels/fused/cuda/source/fused.cu", ()),
        ("kernels/fused/host_emulator/source/host_run.cpp", ()),
        ("kernels/baselines/csr.py", ("csr",)),
        ("kernels/heuristics/rules.py", ()),
        ("kernels/heuristics/README.md", ()),
        ("kernels/linear.py", ()),
        ("kernels/new_and_unused.py", ()),
    ],
)
def test_only_the_implementations_that_a_changed_file_affects_are_measured(path, affected):
    assert affected_implementations([path], [ROOT], "cpu") == affected


def test_shared_modules_affect_all_and_cuda_sources_affect_a_gpu():
    assert affected_implementations(["kernels/problem.py"], [ROOT], "cpu") == IMPLEMENTATIONS
    assert affected_implementations(["kernels/fused/cuda/source/fused.cu"], [ROOT], "cuda") == ("fused",)


def test_every_implementation_depends_on_a_file_of_its_own():
    own = {name: [f"kernels/baselines/{name}.py"] for name in IMPLEMENTATIONS if name != "fused"}
    for name, paths in (own | {"fused": ["kernels/fused/implementation.py"]}).items():
        assert name in affected_implementations(paths, [ROOT], "cpu")


def test_a_module_that_no_revision_has_is_an_error(clone):
    git(clone, "mv", "kernels/reference.py", "kernels/truth.py")
    with pytest.raises(MeasurementError, match=r"no revision has the module kswatch\.kernels\.reference"):
        affected_implementations(["kernels/problem.py"], [clone], "cpu")
    assert affected_implementations(["kernels/problem.py"], [clone, ROOT], "cpu") == IMPLEMENTATIONS


def test_changed_paths_name_both_ends_of_a_move(clone):
    first = revision_of(clone, "HEAD").commit
    git(clone, "mv", "kernels/layer/algorithm_choice.py", "kernels/choice of Ü.py")
    second = commit(clone, "moved")
    assert changed_paths(clone, first, second) == [
        "kernels/choice of Ü.py",
        "kernels/layer/algorithm_choice.py",
    ]


def test_suspects_are_halved_and_exclude_commits_without_kernel_changes(clone):
    good = revision_of(clone, "HEAD").commit
    commits = [plant_extra_pass(clone, f"pass {number}") for number in range(4)]
    (clone / "README.md").write_text("else")
    git(clone, "add", ".")
    bad = commit(clone, "elsewhere")
    newest, older = CommitHistory(clone).suspects([good], bad)
    assert newest == commits[-1] and set(older) == set(commits[:-1])
    with pytest.raises(UsageError, match="no commit between"):
        CommitHistory(clone).suspects([bad], good)


def test_a_change_that_affects_no_implementation_is_not_measured(clone, tmp_path, monkeypatch):
    from kswatch import cli as command_line

    def gate(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(command_line.app, ["gate", "--device", "cpu", *arguments])
        return result.exit_code, result.stdout

    monkeypatch.chdir(clone)
    monkeypatch.setenv("KSWATCH_DATABASE_URL", f"sqlite:///{tmp_path}/none.db")
    (clone / "README.md").write_text("words")
    git(clone, "add", ".")
    commit(clone, "words")
    code, text = gate("--base", "HEAD~1")
    assert code == 0 and "nothing that affects the kernels changed" in text
    (clone / "kernels/problem.py").write_text("# not committed")
    code, text = gate("--base", "HEAD")
    assert code == 0 and "--force" in text
    assert "uncommitted changes below kernels/ are not measured" in text


def former_imports(clone: Path) -> str:
    """A commit whose kernels import each other as the top-level package `kernels`."""
    for path in (clone / "kernels").rglob("*.py"):
        path.write_text(path.read_text().replace("kswatch.kernels", "kernels"))
    return commit(clone, "as a top-level package")


@pytest.mark.parametrize("command", ["gate", "bisect"])
def test_a_base_from_before_the_package_is_refused_in_one_sentence(clone, command):
    old = former_imports(clone)
    git(clone, "revert", "--no-edit", "HEAD")
    revisions = ("--base", old) if command == "gate" else ("--good", old, "--bad", "HEAD")
    done = kswatch(clone, command, *revisions, "--device", "cpu", *CELL)
    assert done.returncode == 3
    output = done.stdout if command == "gate" else done.stderr
    assert "cannot be measured: it is from before kernels became part of the package" in output
    assert "pair 1" not in done.stderr and files_left() == []


def test_two_revisions_from_before_the_package_are_not_compared_with_the_running_one(clone):
    first = former_imports(clone)
    plant_extra_pass(clone)
    done = kswatch(clone, "gate", "--base", first, "--device", "cpu", *CELL, "--json")
    assert done.returncode == 3 and "before kernels became part of the package" in done.stdout


@pytest.mark.slow
def test_a_revision_that_does_not_build_exits_3_with_the_compiler_s_output(clone):
    change(
        clone,
        "kernels/fused/cpu_twin/source/twin.cpp",
        "EXPORTED int32_t kswatch_twin_multiply",
        "NO_SUCH_WORD broken",
    )
    done = kswatch(clone, "gate", "--base", "HEAD", "--force", "--device", "cpu", *CELL)
    assert done.returncode == 3
    assert "base cannot be measured: the CPU twin does not compile" in done.stdout
    assert "NO_SUCH_WORD" in done.stdout.split("|", 1)[1]
    assert files_left() == []


@pytest.mark.slow
def test_a_revision_that_cannot_be_imported_exits_3_with_the_traceback(clone):
    change(
        clone, "kernels/problem.py", "from dataclasses", 'raise RuntimeError("no import")\nfrom dataclasses'
    )
    done = kswatch(clone, "gate", "--base", "HEAD", "--head", "HEAD", "--force", "--device", "cpu", *CELL)
    assert done.returncode == 3
    assert "base cannot be measured: RuntimeError: no import" in done.stdout


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_behind(clone):
    command = [
        sys.executable,
        "-m",
        "kswatch",
        "gate",
        "--base",
        "HEAD",
        "--force",
        "--device",
        "cpu",
    ]
    process = subprocess.Popen(command, cwd=clone, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while "pair 1" not in (line := process.stderr.readline()):
        assert line, "it ended by itself"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=240)
    assert process.returncode == 130 and files_left() == []


def add_comment(clone: Path) -> str:
    """A commit that changes a source file of the fused product but not its machine code."""
    with (clone / "kernels/fused/cpu_twin/source/twin.cpp").open("a") as file:
        file.write("// a comment\n")
    return commit(clone, "a comment")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_planted_slowdown_is_named_and_bisected(clone):
    good = revision_of(clone, "HEAD").commit
    add_comment(clone)
    slow = plant_extra_pass(clone)
    add_comment(clone)
    cell = ("--pattern", "6,64,64,1", "--batch", "1024", "--precision", "fp32", "--layout", "batch_first")
    done = kswatch(clone, "gate", "--base", good, "--device", "cpu", *cell, "--json")
    (row,) = json.loads(done.stdout)
    assert done.returncode == 1 and row["verdict"] == "slower" and row["change"] > 0.5
    found = kswatch(clone, "bisect", "--good", good, "--bad", "HEAD", "--device", "cpu", *cell, "--json")
    assert json.loads(found.stdout)["first_bad"] == slow, found.stderr


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_equal_kernels_pass_four_times_of_four(clone):
    """On this machine, busy as it is; `tests/ci/gate/test_gate.py` has the rate of 600 simulated gates."""
    codes = []
    for _ in range(4):
        options = ("--base", "HEAD", "--force", "--device", "cpu", "--suite", "smoke", "--budget", "1m")
        codes.append(kswatch(clone, "gate", *options, "--precision", "fp32").returncode)
    assert codes == [0] * 4
