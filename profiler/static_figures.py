"""What the compiler gives the kernels of a revision, per architecture: exact figures that need no GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from db.code import Figures
from db.records import RevisionRecord
from kswatch_errors import MeasurementError
from profiler.revisions import repository_of, revision_of, worktrees
from profiler.static_child import NOT_THERE

_OURS = Path(__file__).resolve().parents[1]
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
    with worktrees(top, [one.commit for one in revisions]) as folders:
        figures = [_of_folder(folder, one) for folder, one in zip(folders, revisions, strict=True)]
    if figures[0] is None:
        raise MeasurementError(
            f"revision {revisions[0].commit[:12]} has no kernels/fused/resources.py to tell its figures"
        )
    return (revisions[0], figures[0]), ((revisions[1], figures[1]) if base is not None else None)


def _of_folder(folder: Path, revision: RevisionRecord) -> Figures | None:
    command = [sys.executable, "-P", "-B", "-m", "profiler.static_child"]
    path = os.pathsep.join((str(folder), str(_OURS)))
    with _told(revision):
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
        )
    if done.returncode == NOT_THERE:
        return None
    if done.returncode:
        said = done.stderr.strip() or f"exit code {done.returncode}"
        raise MeasurementError(f"revision {revision.commit[:12]}: {said}")
    document: dict[str, Any] = json.loads(done.stdout)
    return Figures.of(document["rows"], document["faults"])


@contextmanager
def _told(revision: RevisionRecord) -> Iterator[None]:
    try:
        yield
    except subprocess.TimeoutExpired as error:
        raise MeasurementError(
            f"compiling revision {revision.commit[:12]} took more than {_TIMEOUT_S / 60:.0f} minutes"
        ) from error
