"""The files of revisions, and who removes them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kswatch.errors import UsageError
from kswatch.profiler.revisions.checkouts import ABANDONED_S, checkouts
from kswatch.profiler.revisions.git import revision_of
from tests.profiler.scratch_clone import commit, git

ROOT = Path(__file__).parents[3]
HOLD = (
    "import sys, time; from pathlib import Path; from kswatch.profiler.revisions.checkouts import checkouts\n"
    "with checkouts(Path(sys.argv[1]), ['HEAD']) as (folder,):\n"
    "    print(folder, flush=True); time.sleep(60)"
)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KSWATCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache/revisions"


def state_of(repository: Path) -> tuple[str, bytes, str]:
    """What a comparison may not change: worktrees, index, references."""
    index = (repository / ".git/index").read_bytes()
    return git(repository, "worktree", "list"), index, git(repository, "for-each-ref")


def test_the_folders_hold_the_kernels_of_their_revision_and_are_removed(clone, cache):
    first = revision_of(clone, "HEAD").commit
    (clone / "kernels/problem.py").write_text("changed\n")
    second = commit(clone, "second")
    before = state_of(clone)
    with checkouts(clone, [first, second]) as (old, new):
        assert (old / "kernels/problem.py").read_text() == (ROOT / "kernels/problem.py").read_text()
        assert (new / "kernels/problem.py").read_text() == "changed\n"
        assert [path.name for path in new.iterdir()] == ["kernels"]
        assert state_of(clone) == before
    assert list(cache.iterdir()) == []


def test_the_folders_of_a_process_that_was_killed_are_removed_by_the_next(clone, cache):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(clone)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    folder = Path(process.stdout.readline().strip())
    with checkouts(clone, []):
        assert folder.exists()
    process.kill()
    process.wait()
    with checkouts(clone, []):
        assert not folder.parent.exists()


def test_the_folders_of_a_living_gate_on_another_host_are_kept_until_its_heartbeat_is_old(clone, cache):
    with checkouts(clone, ["HEAD"]) as (folder,):
        owner = folder.parent / "owner"
        owner.write_text("process 999999 of other since 2026-01-01 00:00:00 UTC [00aa.1.1] (kswatch gate)")
        with checkouts(clone, []):
            assert folder.exists()
        old = time.time() - ABANDONED_S - 60
        os.utime(owner, (old, old))
        with checkouts(clone, []):
            assert not folder.exists()


def test_a_revision_without_kernels_is_refused(clone, cache):
    git(clone, "rm", "-r", "--quiet", "kernels")
    bare = commit(clone, "gone")
    with pytest.raises(UsageError, match="no folder kernels/"), checkouts(clone, [bare]):
        pass
    assert list(cache.iterdir()) == []
