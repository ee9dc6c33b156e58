"""The commit that a run measures."""

import pytest

from kswatch.profiler.revisions.git import revision
from tests.profiler.scratch_clone import git


@pytest.fixture
def repository(tmp_path):
    git(tmp_path, "init", "-b", "main")
    (tmp_path / "kernel.cu").write_text("first")
    git(tmp_path, "add", "kernel.cu")
    git(tmp_path, "commit", "-m", "Add a kernel\n\nand say why")
    return tmp_path


def test_a_revision_is_the_commit_of_the_work_tree(repository):
    found = revision(repository / "kernel.cu")
    assert len(found.commit) == 40
    assert (found.subject, found.branch, found.dirty) == ("Add a kernel", "main", False)
    assert found.committed_at.tzinfo is not None


def test_a_changed_tracked_file_makes_the_revision_dirty_and_a_new_file_does_not(repository):
    (repository / "kswatch.db").write_text("a store")
    assert not revision(repository).dirty
    (repository / "kernel.cu").write_text("second")
    assert revision(repository).dirty


def test_a_detached_head_has_no_branch(repository):
    git(repository, "checkout", "--detach")
    assert revision(repository).branch is None


def test_outside_a_repository_there_is_no_revision(tmp_path):
    assert revision(tmp_path) is None


def test_without_git_there_is_no_revision(repository, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert revision(repository) is None
