from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kswatch.errors import UsageError
from kswatch.profiler.revisions.affected_implementations import implementations_fed
from kswatch.profiler.revisions.git import changed_paths, repository_of, revision_of, suspects, worktrees
from tests.profiler.scratch_clone import EXTRA_PASS, change, commit, git, kswatch, plant_extra_pass

ROOT = Path(__file__).parents[3]
CELL = ("--pattern", "2,16,16,2", "--batch", "64", "--precision", "fp32", "--layout", "batch_first")


def left_behind(folder: Path) -> list[str]:
    return git(folder, "worktree", "list").splitlines()[1:]


def test_a_revision_is_found_by_name_and_an_unknown_one_is_told(clone):
    assert revision_of(clone, "main").subject == "first"
    for name in ("nonsense", "-x", "HEAD~9", ""):
        with pytest.raises(UsageError, match="unknown revision"):
            revision_of(clone, name)


def test_a_shallow_clone_says_how_to_get_the_rest(clone, tmp_path):
    commit(clone, "second")
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{clone}", "shallow")
    with pytest.raises(UsageError, match="shallow.*--unshallow"):
        revision_of(tmp_path / "shallow", "HEAD~1")


def test_a_folder_without_git_is_told(tmp_path):
    with pytest.raises(UsageError, match="no git repository"):
        repository_of(tmp_path)


def test_worktrees_hold_the_kernels_of_their_revision_and_are_removed(clone):
    first = revision_of(clone, "HEAD").commit
    second = plant_extra_pass(clone)
    with worktrees(clone, [first, second]) as (old, new):
        assert EXTRA_PASS not in (old / "kernels/fused/cpu_twin/source/twin.cpp").read_text()
        assert EXTRA_PASS in (new / "kernels/fused/cpu_twin/source/twin.cpp").read_text()
        assert [path.name for path in new.iterdir() if path.name != ".git"] == ["kernels"]
        assert len(left_behind(clone)) == 2
    assert left_behind(clone) == [] and not old.exists()


def test_worktrees_of_a_process_that_was_killed_are_removed_by_the_next(clone):
    code = (
        "import sys, time; from pathlib import Path; from kswatch.profiler.revisions.git import worktrees\n"
    )
    code += "with worktrees(Path(sys.argv[1]), ['HEAD']):\n    print('ready', flush=True); time.sleep(60)"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(clone)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    process.kill()
    process.wait()
    assert len(left_behind(clone)) == 1
    with worktrees(clone, []):
        assert left_behind(clone) == []


def test_a_revision_without_kernels_is_told(clone):
    git(clone, "rm", "-r", "--quiet", "kernels")
    bare = commit(clone, "gone")
    with pytest.raises(UsageError, match="no folder kernels/"), worktrees(clone, [bare]):
        pass
    assert left_behind(clone) == []


@pytest.mark.parametrize(
    ("path", "fed"),
    [
        ("kernels/fused/cpu_twin/source/twin_tile.hpp", ("fused",)),
        ("kernels/fused/cuda/source/fused.cu", ()),
        ("kernels/baselines/csr.py", ("csr",)),
        ("kernels/heuristics/rules.py", ()),
        ("kernels/heuristics/README.md", ()),
        ("kernels/linear.py", ()),
        ("kernels/new_and_unused.py", ()),
    ],
)
def test_only_what_a_changed_file_feeds_is_measured(path, fed):
    assert implementations_fed([path], [ROOT], "cpu") == fed


def test_what_everybody_uses_feeds_all_and_cuda_sources_feed_a_gpu():
    assert len(implementations_fed(["kernels/problem.py"], [ROOT], "cpu")) == 8
    assert implementations_fed(["kernels/fused/cuda/source/fused.cu"], [ROOT], "cuda") == ("fused",)


def test_changed_paths_name_both_ends_of_a_move(clone):
    first = revision_of(clone, "HEAD").commit
    git(clone, "mv", "kernels/layer/algorithm_choice.py", "kernels/choice of Ü.py")
    second = commit(clone, "moved")
    assert changed_paths(clone, first, second) == [
        "kernels/choice of Ü.py",
        "kernels/layer/algorithm_choice.py",
    ]


def test_suspects_are_halved_and_leave_out_what_touches_no_kernels(clone):
    good = revision_of(clone, "HEAD").commit
    commits = [plant_extra_pass(clone, f"pass {number}") for number in range(4)]
    (clone / "README.md").write_text("else")
    git(clone, "add", ".")
    bad = commit(clone, "elsewhere")
    newest, older = suspects(clone, [good], bad)
    assert newest == commits[-1] and set(older) == set(commits[:-1])
    with pytest.raises(UsageError, match="no commit between"):
        suspects(clone, [bad], good)


def test_nothing_that_feeds_the_kernels_changed(clone, tmp_path, monkeypatch):
    from kswatch import cli as command_line

    def gate(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(command_line.app, ["gate", "--device", "cpu", *arguments])
        return result.exit_code, result.stdout

    monkeypatch.chdir(clone)
    monkeypatch.setenv("KSWATCH_DATABASE_URL", f"sqlite:///{tmp_path}/none.db")
    (clone / "README.md").write_text("words")
    git(clone, "add", ".")
    commit(clone, "words")
    code, said = gate("--base", "HEAD~1")
    assert code == 0 and "nothing that feeds the kernels changed" in said
    (clone / "kernels/problem.py").write_text("# not committed")
    code, said = gate("--base", "HEAD")
    assert code == 0 and "--force" in said
    assert "uncommitted changes below kernels/ are not measured" in said


@pytest.mark.slow
def test_a_revision_that_does_not_build_exits_3_with_the_compiler_s_words(clone):
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
    assert left_behind(clone) == []


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
    process.communicate(timeout=120)
    assert process.returncode == 130 and left_behind(clone) == []


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_planted_slowdown_is_named_and_bisected(clone):
    good = revision_of(clone, "HEAD").commit
    change(clone, "kernels/fused/cpu_twin/source/twin.cpp", "// 1 when Y", "// It is 1 when Y", "only words")
    slow = plant_extra_pass(clone)
    change(clone, "kernels/fused/cpu_twin/source/twin.cpp", "// It is 1", "// Always 1", "more words")
    cell = ("--pattern", "6,64,64,1", "--batch", "1024", "--precision", "fp32", "--layout", "batch_first")
    done = kswatch(clone, "gate", "--base", good, "--device", "cpu", *cell, "--json")
    (row,) = json.loads(done.stdout)
    assert done.returncode == 1 and row["verdict"] == "slower" and row["change"] > 0.5
    found = kswatch(clone, "bisect", "--good", good, "--bad", "HEAD", "--device", "cpu", *cell, "--json")
    assert json.loads(found.stdout)["first_bad"] == slow, found.stderr


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_equal_kernels_pass_ten_times_of_ten(clone):
    codes = []
    for _ in range(10):
        options = ("--base", "HEAD", "--force", "--device", "cpu", "--suite", "smoke", "--budget", "3m")
        codes.append(kswatch(clone, "gate", *options, "--precision", "fp32").returncode)
    assert codes == [0] * 10
