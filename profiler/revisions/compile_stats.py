"""What the compiler gives the kernels of a revision, per architecture: exact figures that need no GPU.

They follow from the files of `kernels/` and the compiler alone, and so are kept by the hash of both: a
revision whose kernels were looked at before needs neither a worktree nor a process.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from kswatch.db.compiled_code.resources import Figures
from kswatch.db.records import RevisionRecord
from kswatch.errors import MeasurementError
from kswatch.kernels.fused.artifacts.cache import cache_folder
from kswatch.kernels.fused.cuda.nvcc import find_nvcc, nvcc_version
from kswatch.profiler.child_environment import child_environment
from kswatch.profiler.revisions.compile_stats_main import NOT_THERE
from kswatch.profiler.revisions.git import KERNELS, git, repository_of, revision_of, worktrees

_CHILD = Path(__file__).with_name("compile_stats_main.py")
_TIMEOUT_S = 1800.0


def of_revisions(
    repository: Path, head: str, base: str | None
) -> tuple[tuple[RevisionRecord, Figures], tuple[RevisionRecord, Figures | None] | None]:
    """Head and base, each with its figures; None for a base that is older than such figures.

    Raises:
        UsageError: no repository, or no such revision.
        MeasurementError: a kernel does not compile, or there is nothing to compile it with.
    """
    top = repository_of(repository)
    names = [head] if base is None else [head, base]
    revisions = [revision_of(top, name) for name in names]
    figures = _figures(top, revisions)
    if figures[0] is None:
        raise MeasurementError(
            f"revision {revisions[0].commit[:12]} has no kernels/fused/cuda_checks/resources.py to tell its figures"
        )
    return (revisions[0], figures[0]), ((revisions[1], figures[1]) if base is not None else None)


def _figures(repository: Path, revisions: Sequence[RevisionRecord]) -> list[Figures | None]:
    places = [kept_at(repository, one.commit) for one in revisions]
    documents = [_read(place) for place in places]
    missing = [number for number, document in enumerate(documents) if document is None]
    with ExitStack() as given_back:
        commits = [revisions[number].commit for number in missing]
        folders = given_back.enter_context(worktrees(repository, commits)) if missing else []
        for number, folder in zip(missing, folders, strict=True):
            documents[number] = _of_folder(folder, revisions[number])
            _write(places[number], documents[number])
    return [Figures.of(one["rows"], one["faults"]) if one else None for one in documents]


def kept_at(repository: Path, commit: str) -> Path | None:
    """Where the figures of a commit's kernels are kept; None where nothing says which compiler makes them."""
    nvcc = find_nvcc()
    tree = git(repository, "ls-tree", "-z", "--object-only", commit, KERNELS).strip("\0")
    if nvcc is None or not tree:
        return None
    parts = (tree, nvcc_version(nvcc), _CHILD.read_text(encoding="utf-8"))
    return cache_folder() / f"figures-{hashlib.sha256(repr(parts).encode()).hexdigest()}.json"


def _read(place: Path | None) -> dict[str, Any] | None:
    """What was kept; None where it was not, or is damaged. A revision without figures is an empty one."""
    try:
        document = json.loads(place.read_text(encoding="utf-8")) if place else None
    except (OSError, ValueError):
        return None
    whole = document == {} or (isinstance(document, dict) and document.keys() == {"rows", "faults"})
    return document if whole else None


def _write(place: Path | None, document: dict[str, Any] | None) -> None:
    if place is None:
        return
    with suppress(OSError):  # a folder that cannot be written only costs time
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", dir=place.parent, prefix="figures-writing-", delete=False
        ) as file:
            json.dump(document, file)
        Path(file.name).replace(place)


def _of_folder(folder: Path, revision: RevisionRecord) -> dict[str, Any]:
    """Rows and faults as the child says them; nothing for a revision that is older than such figures."""
    command = [sys.executable, "-P", "-B", "-m", "kswatch.profiler.revisions.compile_stats_main", str(folder)]
    with _told(revision):
        done = subprocess.run(
            command,
            env=child_environment({}),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
        )
    if done.returncode == NOT_THERE:
        return {}
    if done.returncode:
        said = done.stderr.strip() or f"exit code {done.returncode}"
        raise MeasurementError(f"revision {revision.commit[:12]}: {said}")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@contextmanager
def _told(revision: RevisionRecord) -> Iterator[None]:
    try:
        yield
    except subprocess.TimeoutExpired as error:
        raise MeasurementError(
            f"compiling revision {revision.commit[:12]} took more than {_TIMEOUT_S / 60:.0f} minutes"
        ) from error
