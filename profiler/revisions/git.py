"""Git commands over one repository, unaffected by the environment and settings of the user that starts them.

A hook, a rebase or an editor exports `GIT_DIR`, `GIT_INDEX_FILE` and others: a command that inherited them
would read, and write, another repository's index. Users configure formats, signatures and filters, which
change what a command prints. Neither may decide what is measured.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from kswatch.db.records import RevisionRecord
from kswatch.errors import MeasurementError, UsageError

KERNELS = "kernels"
"""The folder of a repository that is measured; nothing else of a revision is checked out."""
_TIMEOUT_S = 120
_KEPT_VARIABLES = (
    "GIT_EXEC_PATH",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_SYSTEM",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_CONFIG_COUNT",
    "GIT_CEILING_DIRECTORIES",
    "GIT_DISCOVERY_ACROSS_FILESYSTEM",
)
"""Where git and its settings are found, and how far up it looks: of the machine, not of one repository."""
_KEPT_PREFIXES = ("GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_")
_SETTINGS = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.quotePath": "true",
    "core.sparseCheckout": "false",
    "color.ui": "false",
    "diff.ignoreSubmodules": "none",
    "diff.noprefix": "false",
    "diff.relative": "false",
    "gc.auto": "0",
    "i18n.logOutputEncoding": "UTF-8",
    "log.decorate": "false",
    "log.follow": "false",
    "log.mailmap": "false",
    "log.showRoot": "true",
    "log.showSignature": "false",
    "maintenance.auto": "false",
    "status.branch": "false",
    "status.renames": "false",
    "status.showStash": "false",
    "submodule.recurse": "false",
}
"""What a user may have configured otherwise: it would run programs, or change what commands print."""
_AS_COMMITTED = {"core.autocrlf": "false", "core.eol": "lf"}
"""Line endings of files written from an index of our own."""


def repository_of(path: Path) -> Path:
    """The top folder of the git repository that holds `path`.

    Raises:
        UsageError: git is not installed, or the folder is in no repository that git may read.
    """
    if shutil.which("git") is None:
        raise UsageError("comparing revisions needs git, which is not on the PATH; install it")
    done = _run(path, "rev-parse", "--show-toplevel")
    if done.returncode:
        raise UsageError(
            f"{path} is not in a git repository, so there are no revisions to compare; go to a clone, "
            f"or name one with --repository ({_last_line(done)})"
        )
    return Path(os.fsdecode(done.stdout.removesuffix(b"\n")))


def foreign_checkout(path: Path) -> str | None:
    """Why git refuses to read the checkout that holds `path`, with the cure: another user owns it."""
    if shutil.which("git") is None:
        return None
    with suppress(MeasurementError):
        done = _run(path if path.is_dir() else path.parent, "rev-parse", "--show-toplevel")
        if done.returncode and b"dubious ownership" in done.stderr:
            where = _owned_folder(done.stderr) or path
            return (
                f"the checkout in {where} belongs to another user, so git does not read its commit; "
                f"if you trust it: git config --global --add safe.directory '{where}'"
            )
    return None


def _owned_folder(message: bytes) -> str | None:
    """The folder between the first quotation marks of git's message."""
    parts = os.fsdecode(message).split("'")
    return parts[1] if len(parts) > 2 else None


def revision_of(repository: Path, name: str) -> RevisionRecord:
    """The commit that a branch, tag, hash or `HEAD~1` means.

    Raises:
        UsageError: there is none; in a shallow clone the message has the command that fetches it.
    """
    unknown = f"unknown revision {name[:200]!r} in {repository.name}"
    if "\0" in name:
        raise UsageError(unknown)
    done = _run(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if done.returncode:
        raise UsageError(unknown + _shallow_cure(repository))
    commit = _text(done.stdout).strip()
    shown = git(repository, "log", "-1", "--no-notes", "--format=%ct%x00%s", commit, "--").removesuffix("\n")
    committed_at, _, subject = shown.partition("\0")
    return RevisionRecord(commit, _moment(committed_at), subject[:500])


def _moment(seconds: str) -> datetime | None:
    """Seconds since 1970; None for a date that no calendar has."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
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
    options = ("--name-only", "--no-ext-diff", "--no-renames", "-z")
    return git(repository, "diff", *options, base, head, "--", f":(top){KERNELS}").split("\0")[:-1]


def has_uncommitted(repository: Path, commit: str) -> bool:
    """Whether this commit is checked out with changes below `kernels/` that it does not hold."""
    if git(repository, "rev-parse", "HEAD").strip() != commit:
        return False
    return bool(git(repository, "status", "--porcelain", "--", f":(top){KERNELS}").strip())


def git(folder: Path, *arguments: str, index: Path | None = None) -> str:
    """The output of a git command; bytes that are not UTF-8 are replaced.

    Args:
        folder: Of the repository.
        arguments: Of the command.
        index: A file to use in place of the repository's own index, to write files as they were committed.

    Raises:
        MeasurementError: git fails; the message ends with the last line of its errors.
    """
    done = _run(folder, *arguments, index=index)
    if done.returncode:
        raise MeasurementError(f"git {arguments[0]} failed in {folder}: {_last_line(done)}")
    return _text(done.stdout)


def git_environment() -> dict[str, str]:
    """This process's environment without what points git at a repository, an index or an output format."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or name in _KEPT_VARIABLES or name.startswith(_KEPT_PREFIXES)
    }
    # Reading a checkout's state must not refresh its index; a replaced object is not the measured commit.
    return kept | {
        "LC_ALL": "C",
        "LANGUAGE": "",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
    }


def _run(folder: Path, *arguments: str, index: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    chosen = _SETTINGS | (_AS_COMMITTED if index else {})
    settings = [part for name, value in chosen.items() for part in ("-c", f"{name}={value}")]
    command = ["git", "-C", str(folder), "--no-pager", *settings, *arguments]
    environment = git_environment() | ({"GIT_INDEX_FILE": str(index)} if index else {})
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
            env=environment,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise MeasurementError(f"git {arguments[0]} cannot run in {folder}: {error}") from error


def remote_address(folder: Path) -> str | None:
    """The address of the remote `origin` of the repository that holds a folder; None where there is none."""
    with suppress(MeasurementError):
        done = _run(folder, "remote", "get-url", "origin")
        if not done.returncode:
            return _text(done.stdout).strip()
    return None


def _text(output: bytes) -> str:
    return output.decode("utf-8", "replace")


def _last_line(done: subprocess.CompletedProcess[bytes]) -> str:
    return (_text(done.stderr).strip().splitlines() or [f"exit code {done.returncode}"])[-1]


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

    def author(self, name: str) -> str:
        """The name of its author."""
        return git(self._repository, "log", "-1", "--format=%an", self.commit(name), "--").strip()

    def branch(self) -> str | None:
        """The branch that is checked out; None for a detached head."""
        done = _run(self._repository, "symbolic-ref", "--short", "--quiet", "HEAD")
        return None if done.returncode else _text(done.stdout).strip()

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

    def merges(self, good: str, bad: str) -> list[str]:
        """The commits with several parents that `bad` has and `good` lacks."""
        return git(self._repository, "rev-list", "--merges", bad, f"^{good}", "--").split()

    def reverted(self, good: str, bad: str) -> dict[str, str]:
        """By commit, the one that takes it back, of pairs that `bad` has and `good` lacks; both are keys.

        Where a revert was taken back itself, that pair counts alone, without the commit that applied the
        change again.
        """
        options = ("-z", "--topo-order", "--no-notes", "--format=%H%n%B")
        text = git(self._repository, "log", *options, bad, f"^{good}", "--")
        bodies = dict(entry.split("\n", 1) for entry in text.split("\0") if "\n" in entry)
        originals = {
            commit: [one for named in _REVERTS.findall(body) for one in bodies if one.startswith(named)]
            for commit, body in bodies.items()
        }
        pairs: dict[str, str] = {}
        for commit, taken_back in originals.items():  # the newest first
            if commit in pairs:
                continue
            for original in taken_back:
                pairs[original] = commit
            if taken_back and not any(originals[one] for one in taken_back):
                pairs[commit] = commit
        return pairs


_REVERTS = re.compile(r"This reverts commit ([0-9a-f]{7,64})")
"""The sentence that `git revert` writes."""
