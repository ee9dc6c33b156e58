"""The revision that a run measures: of the checkout that tracks the code, else of the installation."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kswatch.profiler.revisions import code_revision
from kswatch.profiler.revisions.code_revision import checkout_revision, installed_revision
from tests.profiler.scratch_clone import git

ROOT = Path(__file__).parents[3]


@pytest.fixture
def repository(tmp_path):
    git(tmp_path, "init", "-b", "main")
    (tmp_path / "kernel.cu").write_text("first")
    git(tmp_path, "add", "kernel.cu")
    git(tmp_path, "commit", "-m", "Add a kernel\n\nand say why")
    return tmp_path


def test_a_revision_is_the_commit_of_the_work_tree(repository):
    found = checkout_revision(repository / "kernel.cu")
    assert len(found.commit) == 40
    assert (found.subject, found.branch, found.dirty) == ("Add a kernel", "main", False)
    assert found.committed_at.tzinfo is not None


def test_a_changed_tracked_file_makes_the_revision_dirty_and_a_new_file_does_not(repository):
    (repository / "kswatch.db").write_text("a store")
    assert not checkout_revision(repository).dirty
    (repository / "kernel.cu").write_text("second")
    assert checkout_revision(repository).dirty


def test_a_detached_head_has_no_branch(repository):
    git(repository, "checkout", "--detach")
    assert checkout_revision(repository).branch is None


def test_outside_a_repository_and_without_git_there_is_no_checkout(repository, tmp_path_factory, monkeypatch):
    assert checkout_revision(tmp_path_factory.mktemp("elsewhere")) is None
    monkeypatch.setenv("PATH", "")
    assert checkout_revision(repository) is None


def test_code_that_a_repository_does_not_track_is_not_its_commit(repository):
    below = repository / "venv/lib/kswatch"
    below.mkdir(parents=True)
    (below / "session.py").write_text("installed")
    assert checkout_revision(below / "session.py") is None
    git(repository, "add", "venv")
    git(repository, "commit", "--quiet", "-m", "vendored")
    assert checkout_revision(below / "session.py").subject == "vendored"


class _Installed:
    version = "1.2.3"

    def __init__(self, origin):
        self._origin = origin

    def read_text(self, name):
        assert name == "direct_url.json"
        return self._origin


@pytest.fixture
def installed_from(monkeypatch):
    def install(origin):
        text = json.dumps(origin) if isinstance(origin, dict) else origin
        monkeypatch.setattr(code_revision, "_distribution", lambda: _Installed(text))
        return installed_revision()

    return install


def test_an_installation_from_git_is_the_commit_that_pip_recorded(installed_from):
    found = installed_from(
        {
            "url": "https://user:secret@example.org/kswatch.git",
            "vcs_info": {"vcs": "git", "commit_id": "a" * 40, "requested_revision": "v1"},
        }
    )
    assert (found.commit, found.branch, found.dirty) == ("a" * 40, "v1", False)
    assert "example.org/kswatch.git" in found.subject and "secret" not in found.subject


@pytest.mark.parametrize(
    ("origin", "source"),
    [
        (None, "a package index"),
        ({"url": "file:///home/x/kswatch", "dir_info": {}}, "the local folder kswatch"),
        ({"url": "file:///x/kswatch-1.whl", "archive_info": {}}, "the local archive kswatch-1.whl"),
        ("{damaged", "a package index"),
        ("[]", "a package index"),
    ],
)
def test_any_other_installation_is_named_by_version_and_digest(installed_from, origin, source):
    found = installed_from(origin)
    assert found.commit.startswith("1.2.3+") and len(found.commit) == len("1.2.3+") + 16
    assert found.subject == f"kswatch 1.2.3, installed from {source}"


def test_the_digest_follows_the_kernels_and_is_the_same_in_every_process(installed_from):
    code = "from kswatch.profiler.revisions.code_revision import installed_revision as i; print(i().commit)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip().partition("+")[2] == installed_from(None).commit.partition("+")[2]
