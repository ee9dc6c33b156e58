"""Revisions of the kernels in git: the commit of a name, changed files, and worktrees to import from."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import psutil

from kswatch.db.records import RevisionRecord
from kswatch.errors import MeasurementError, UsageError
from kswatch.kernels.fused.artifacts.cache import cache_folder

KERNELS = "kernels"
"""The folder of a repository that is measured; nothing else of a revision is checked out."""
_TIMEOUT_S = 120


def repository_of(path: Path) -> Path:
    """The top folder of the git repository that holds `path`.

    Raises:
        UsageError: git is not installed, or the folder is in no repository.
    """
    if shutil.which("git") is None:
        raise UsageError("comparing revisions needs git, which is not on the PATH; install it")
    done = _run(path, "rev-parse", "--show-toplevel")
    if done.returncode:
        raise UsageError(
            f"{path} is not in a git repository, so there are no revisions to compare; go to a clone, "
            f"or name one with --repository ({_last_line(done)})"
        )
    return Path(done.stdout.strip())


def revision_of(repository: Path, name: str) -> RevisionRecord:
    """The commit that a branch, tag, hash or `HEAD~1` means.

    Raises:
        UsageError: there is none; in a shallow clone the message has the command that fetches it.
    """
    done = _run(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if done.returncode:
        raise UsageError(f"unknown revision {name!r} in {repository.name}{_shallow_cure(repository)}")
    commit = done.stdout.strip()
    shown = git(repository, "show", "--no-patch", "--format=%cI%x00%s", commit).strip()
    committed_at, _, subject = shown.partition("\0")
    return RevisionRecord(commit, datetime.fromisoformat(committed_at), subject[:500])


def revision(path: Path) -> RevisionRecord | None:
    """The commit of the work tree that holds `path`; None without git or outside a repository.

    Only changes to tracked files make it dirty: a store or a report beside the code does not.
    """
    folder = path if path.is_dir() else path.parent
    with suppress(UsageError, MeasurementError):
        branch = git(folder, "rev-parse", "--abbrev-ref", "HEAD").strip()
        changes = git(folder, "status", "--porcelain", "--untracked-files=no").strip()
        head = revision_of(folder, "HEAD")
        return replace(head, branch=None if branch == "HEAD" else branch, dirty=bool(changes))
    return None


def _shallow_cure(repository: Path) -> str:
    if git(repository, "rev-parse", "--is-shallow-repository").strip() == "true":
        return (
            ": this clone is shallow and may lack it; `git fetch --unshallow` gets all of them "
            "(in a GitHub workflow: actions/checkout with `fetch-depth: 0`)"
        )
    return "; `git log --oneline` lists what there is, `git fetch` gets what is missing"


def changed_paths(repository: Path, base: str, head: str) -> list[str]:
    """Files below `kernels/` that differ between two commits; a renamed one counts with both names."""
    return git(
        repository, "diff", "--name-only", "--no-renames", "-z", base, head, "--", f":(top){KERNELS}"
    ).split("\0")[:-1]


def has_uncommitted(repository: Path, commit: str) -> bool:
    """Whether this commit is checked out with changes below `kernels/` that it does not hold."""
    if git(repository, "rev-parse", "HEAD").strip() != commit:
        return False
    return bool(git(repository, "status", "--porcelain", "--", f":(top){KERNELS}").strip())


@contextmanager
def worktrees(repository: Path, commits: Sequence[str]) -> Iterator[list[Path]]:
    """A folder for each commit that holds its `kernels/`, removed at the end in any case.

    Raises:
        UsageError: a commit has no `kernels/`.
        MeasurementError: the worktree cannot be written.
    """
    parent = cache_folder() / "worktrees"
    _remove_abandoned(repository, parent)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        scope = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=parent))
    except OSError as error:
        raise MeasurementError(
            f"no worktree can be written below {parent} ({error.strerror}); set KSWATCH_CACHE"
        ) from error
    try:
        # Names of one length: the address space of a process shifts with the length of its paths.
        folders = [scope / f"{number:02d}" for number in range(len(commits))]
        for folder, commit in zip(folders, commits, strict=True):
            _check_out(repository, folder, commit)
        yield folders
    finally:
        shutil.rmtree(scope, ignore_errors=True)
        with suppress(MeasurementError):
            git(repository, "worktree", "prune")


def _check_out(repository: Path, folder: Path, commit: str) -> None:
    if not git(repository, "ls-tree", "--name-only", commit, f"{KERNELS}/"):
        raise UsageError(f"revision {commit[:12]} has no folder {KERNELS}/, so there is nothing to measure")
    git(repository, "worktree", "add", "--quiet", "--detach", "--no-checkout", str(folder), commit)
    git(folder, "checkout", "--quiet", commit, "--", KERNELS)


def _remove_abandoned(repository: Path, parent: Path) -> None:
    """Remove the worktrees of processes that were killed."""
    for scope in parent.glob("*-*"):
        pid = scope.name.partition("-")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(scope, ignore_errors=True)
    with suppress(MeasurementError):
        git(repository, "worktree", "prune")


def git(folder: Path, *arguments: str) -> str:
    """The output of a git command.

    Raises:
        MeasurementError: git fails; the message ends with the last line of its errors.
    """
    done = _run(folder, *arguments)
    if done.returncode:
        raise MeasurementError(f"git {arguments[0]} failed in {folder}: {_last_line(done)}")
    return done.stdout


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # Hooks of the repository must not run in a worktree that is only measured.
    command = ["git", "-C", str(folder), "-c", "core.hooksPath=/dev/null", *arguments]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MeasurementError(f"git {arguments[0]} cannot run in {folder}: {error}") from error


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]


class CommitHistory:
    """The commits of one repository, as `kswatch bisect` needs them."""

    def __init__(self, path: Path) -> None:
        self._repository = repository_of(path)

    def commit(self, name: str) -> str:
        """The full hash of a revision."""
        return revision_of(self._repository, name).commit

    def subject(self, name: str) -> str:
        """The first line of its message."""
        return revision_of(self._repository, name).subject or ""

    def suspects(self, good: Sequence[str], bad: str) -> tuple[str, list[str]]:
        """The newest suspect, which is as bad as `bad`, and the older ones, the best halving one first.

        Suspects are commits that `bad` has and no good one has, and that touch `kernels/`.

        Raises:
            UsageError: there are none.
        """
        limits = [bad, *(f"^{commit}" for commit in good), "--", f":(top){KERNELS}"]
        newest = git(self._repository, "rev-list", "--max-count=1", *limits).strip()
        if not newest:
            raise UsageError(
                f"no commit between {good[0][:12]} and {bad[:12]} touches {KERNELS}/; is good older than bad?"
            )
        lines = git(self._repository, "rev-list", "--bisect-all", *limits).splitlines()
        commits = [line.split()[0] for line in lines if line]
        return newest, [commit for commit in commits if commit != newest]
