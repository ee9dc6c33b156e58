"""Git commands that neither hooks, settings nor odd commits can divert."""

import subprocess
import sys
from datetime import UTC, datetime

import pytest

from kswatch.errors import UsageError
from kswatch.profiler.revisions.checkouts import checkouts
from kswatch.profiler.revisions.code_revision import checkout_revision
from kswatch.profiler.revisions.git import (
    changed_paths,
    foreign_checkout,
    git_environment,
    has_uncommitted,
    remote_address,
    repository_of,
    revision_of,
)
from tests.profiler.scratch_clone import git

SETTINGS = {
    "log.showSignature": "true",
    "color.ui": "always",
    "color.status": "always",
    "diff.external": "false",
    "diff.noprefix": "true",
    "diff.relative": "true",
    "diff.renames": "copies",
    "format.pretty": "raw",
    "log.date": "human",
    "log.decorate": "full",
    "status.short": "true",
    "status.branch": "true",
    "status.showStash": "true",
    "core.pager": "false",
    "core.fsmonitor": "false",
    "core.quotePath": "false",
    "core.autocrlf": "true",
    "i18n.logOutputEncoding": "ISO-8859-1",
    "submodule.recurse": "true",
    "alias.log": "status",
}


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    (folder / "kernels").mkdir(parents=True)
    (folder / "kernels/kernel.cu").write_bytes(b"first\n")
    git(folder, "init", "--quiet", "-b", "main")
    git(folder, "add", "kernels")
    git(folder, "commit", "--quiet", "-m", "Add a kernel\n\nand say why")
    return folder


@pytest.fixture
def configured(repository):
    for name, value in SETTINGS.items():
        git(repository, "config", name, value)
    return repository


def test_settings_of_a_user_change_no_answer(configured):
    head = git(configured, "rev-parse", "HEAD")
    assert revision_of(configured, "HEAD").commit == head
    assert revision_of(configured, "HEAD").subject == "Add a kernel"
    (configured / "kernels/kernel.cu").write_bytes(b"second\n")
    (configured / "kernels/größe.cu").write_text("new")
    git(configured, "add", ".")
    assert has_uncommitted(configured, head)
    git(configured, "commit", "--quiet", "-m", "Größe", "--no-gpg-sign")
    assert changed_paths(configured, head, "HEAD") == ["kernels/größe.cu", "kernels/kernel.cu"]
    assert revision_of(configured, "main").subject == "Größe"
    with checkouts(configured, [head]) as (folder,):
        assert (folder / "kernels/kernel.cu").read_bytes() == b"first\n"


@pytest.mark.parametrize("variable", ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR"])
def test_the_environment_of_a_hook_points_at_no_other_repository(variable, repository, tmp_path, monkeypatch):
    other = tmp_path / "other"
    git(tmp_path, "init", "--quiet", str(other))
    monkeypatch.setenv(variable, str(other / ".git" / ("index" if "INDEX" in variable else "")))
    assert repository_of(repository) == repository
    assert revision_of(repository, "HEAD").subject == "Add a kernel"
    assert variable not in git_environment()


def test_a_comparison_inside_a_pre_commit_hook_leaves_what_was_staged(repository):
    (repository / "kernels/kernel.cu").write_text("staged\n")
    git(repository, "add", "kernels")
    hook = repository / ".git/hooks/pre-commit"
    code = (
        "from pathlib import Path\n"
        "from kswatch.profiler.revisions.checkouts import checkouts\n"
        "from kswatch.profiler.revisions.code_revision import checkout_revision\n"
        "assert checkout_revision(Path('.')).subject == 'Add a kernel'\n"
        "with checkouts(Path('.'), ['HEAD']) as (folder,):\n"
        "    assert (folder / 'kernels/kernel.cu').read_text() == 'first\\n'\n"
    )
    hook.write_text(f"#!{sys.executable}\n{code}")
    hook.chmod(0o755)
    git(repository, "commit", "--quiet", "-m", "second")
    assert git(repository, "show", "HEAD:kernels/kernel.cu") == "staged"
    assert git(repository, "status", "--porcelain") == ""
    assert git(repository, "worktree", "list").count("\n") == 0


def test_reading_the_state_of_a_checkout_does_not_write_its_index(repository):
    index = repository / ".git/index"
    (repository / "kernels/kernel.cu").touch()
    before = index.stat().st_mtime_ns, index.read_bytes()
    assert not checkout_revision(repository).dirty
    assert (index.stat().st_mtime_ns, index.read_bytes()) == before


def test_a_subject_that_is_not_utf8_is_read(repository):
    command = ["git", "-C", str(repository), "-c", "user.name=a", "-c", "user.email=a@b"]
    command += ["-c", "i18n.commitEncoding=", "commit", "--quiet", "--allow-empty", "--file=-"]
    subprocess.run(command, input="Größe".encode("latin-1"), check=True, capture_output=True)
    assert revision_of(repository, "HEAD").subject.startswith("Gr")


@pytest.mark.parametrize("seconds", ["-99999999999999", "99999999999999", "18446744073709551615", "nonsense"])
def test_a_commit_whose_date_no_calendar_has_is_read_without_a_date(repository, seconds):
    tree = git(repository, "rev-parse", "HEAD^{tree}")
    text = f"tree {tree}\nauthor a <a@b> 0 +0000\ncommitter a <a@b> {seconds} +9999\n\nodd\n"
    command = ["git", "-C", str(repository), "hash-object", "-t", "commit", "-w", "--literally", "--stdin"]
    commit = subprocess.run(command, input=text, check=True, capture_output=True, text=True).stdout.strip()
    found = revision_of(repository, commit)
    assert found.subject == "odd"
    assert found.committed_at is None or found.committed_at <= datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("name", ["", "-x", "a\0b", "x" * 5000, "HEAD:kernels", "\udcff", "HEAD@{9999}"])
def test_a_name_that_is_no_commit_is_refused(repository, name):
    with pytest.raises(UsageError, match="unknown revision"):
        revision_of(repository, name)


def test_a_checkout_of_another_user_is_named_with_the_cure(repository, monkeypatch):
    try:
        for path in (repository, repository / ".git"):
            subprocess.run(["chown", "12345", str(path)], check=True, capture_output=True)
    except subprocess.CalledProcessError:
        pytest.skip("only root can give a folder to another user")
    monkeypatch.delenv("SUDO_UID", raising=False)
    assert checkout_revision(repository) is None
    assert "safe.directory" in foreign_checkout(repository)
    assert str(repository) in foreign_checkout(repository)


def test_a_checkout_of_ones_own_is_no_foreign_one(repository, tmp_path):
    assert foreign_checkout(repository) is None
    assert foreign_checkout(tmp_path) is None


def test_the_address_of_the_remote_is_that_of_origin_and_none_without_one(tmp_path):
    assert remote_address(tmp_path / "missing") is None
    git(tmp_path, "init", "--quiet")
    assert remote_address(tmp_path) is None
    git(tmp_path, "remote", "add", "origin", "git@host.example:owner/name.git")
    (tmp_path / "inside").mkdir()
    assert remote_address(tmp_path / "inside") == "git@host.example:owner/name.git"
