"""Folders that hold the kernels of revisions, to import and measure them.

Nothing is written to the repository: neither its index nor its list of worktrees changes, since a
`git worktree prune` on another machine would take the folders of a gate that runs here.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from kswatch.errors import MeasurementError, UsageError
from kswatch.kernels.fused.artifacts.cache import cache_folder
from kswatch.profiler.liveness.heartbeat import HEARTBEAT_S, repeating
from kswatch.profiler.liveness.process_identity import has_ended, this_process
from kswatch.profiler.revisions.git import KERNELS, git

ABANDONED_S = 3600.0
"""Without a heartbeat for so long, the folders of a process that cannot be looked up count as abandoned."""
_OWNER = "owner"
_PREFIX = "revisions-"


@contextmanager
def checkouts(repository: Path, commits: Sequence[str]) -> Iterator[list[Path]]:
    """A folder for each commit that holds its `kernels/`, removed at the end in any case.

    Raises:
        UsageError: a commit has no `kernels/`.
        MeasurementError: the folders cannot be written.
    """
    parent = cache_folder() / "revisions"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(parent)
        scope = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        owner = scope / _OWNER
        owner.write_text(this_process(), encoding="utf-8")
    except OSError as error:
        raise MeasurementError(
            f"revisions cannot be written below {parent} ({error.strerror}); set KSWATCH_CACHE"
        ) from error
    try:
        # Names of one length: the address space of a process shifts with the length of its paths.
        folders = [scope / f"{number:02d}" for number in range(len(commits))]
        for folder, commit in zip(folders, commits, strict=True):
            _check_out(repository, folder, commit)
        with repeating(HEARTBEAT_S, lambda: _touch(owner)):
            yield folders
    finally:
        shutil.rmtree(scope, ignore_errors=True)


def _touch(owner: Path) -> None:
    with suppress(OSError):  # a full disk must not end the comparison
        os.utime(owner)


def _check_out(repository: Path, folder: Path, commit: str) -> None:
    if not git(repository, "ls-tree", "--name-only", commit, f":(top){KERNELS}/"):
        raise UsageError(f"revision {commit[:12]} has no folder {KERNELS}/, so there is nothing to measure")
    index = folder.with_suffix(".index")
    git(repository, "read-tree", f"--prefix={KERNELS}/", f"{commit}:{KERNELS}", index=index)
    folder.mkdir()
    git(repository, "checkout-index", "--quiet", "--all", f"--prefix={folder}{os.sep}", index=index)
    index.unlink()


def _remove_abandoned(parent: Path) -> None:
    """Remove the folders of processes that were killed."""
    for scope in parent.glob(f"{_PREFIX}*"):
        if _is_abandoned(scope, parent):
            shutil.rmtree(scope, ignore_errors=True)


def _is_abandoned(scope: Path, parent: Path) -> bool:
    try:
        owner = (scope / _OWNER).read_text(encoding="utf-8")
    except (OSError, ValueError):
        owner = ""  # being made, or left while it was
    return has_ended(owner) or _heartbeat_age_s(scope, parent) > ABANDONED_S


def _heartbeat_age_s(scope: Path, parent: Path) -> float:
    """Seconds since its owner's last heartbeat, by the clock of the file system, which hosts may share."""
    try:
        owner = scope / _OWNER
        last = (owner if owner.exists() else scope).stat().st_mtime
        with tempfile.NamedTemporaryFile(dir=parent, prefix="clock-") as file:
            return os.fstat(file.fileno()).st_mtime - last
    except OSError:
        return 0.0  # another process removed it a moment ago
