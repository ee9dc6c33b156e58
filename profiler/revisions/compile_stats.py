"""Compiler figures of a revision's kernels, per architecture: exact numbers that need no GPU.

They follow from the files of `kernels/` and the compiler alone, and are cached by the hash of both: a
revision whose kernels were compiled before needs neither files nor a process.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from kswatch.db.compiled_code.resources import Figures
from kswatch.db.records import RevisionRecord
from kswatch.errors import MeasurementError
from kswatch.kernels.fused.artifacts.cache import cache_folder
from kswatch.kernels.fused.cuda.nvcc import find_nvcc, nvcc_version
from kswatch.profiler.child_process import child_environment, python_command
from kswatch.profiler.revisions.checkouts import checkouts
from kswatch.profiler.revisions.compile_stats_main import NO_FIGURES
from kswatch.profiler.revisions.git import KERNELS, git, repository_of, revision_of

_MODULE = "kswatch.profiler.revisions.compile_stats_main"
_CHILD_SOURCES = ("compile_stats_main.py", "revision_kernels.py")
_TIMEOUT_S = 1800.0


def of_revisions(
    repository: Path, head: str, base: str | None
) -> tuple[tuple[RevisionRecord, Figures], tuple[RevisionRecord, Figures | None] | None]:
    """Head and base, each with its figures; None for a base that is older than such figures.

    Raises:
        UsageError: no repository, or no such revision.
        MeasurementError: a kernel does not compile, there is no compiler, or a revision is from before
            kernels were part of the package `kswatch`.
    """
    top = repository_of(repository)
    names = [head] if base is None else [head, base]
    revisions = [revision_of(top, name) for name in names]
    figures = _figures(top, revisions)
    if figures[0] is None:
        raise MeasurementError(
            f"revision {revisions[0].commit[:12]} has no kernels/fused/cuda_checks/resources.py, "
            "which lists the figures; choose a newer one"
        )
    return (revisions[0], figures[0]), ((revisions[1], figures[1]) if base is not None else None)


def _figures(repository: Path, revisions: Sequence[RevisionRecord]) -> list[Figures | None]:
    paths = [cached_figures(repository, one.commit) for one in revisions]
    documents = [_read(path) for path in paths]
    missing = [number for number, document in enumerate(documents) if document is None]
    with ExitStack() as resources:
        commits = [revisions[number].commit for number in missing]
        folders = resources.enter_context(checkouts(repository, commits)) if missing else []
        for number, folder in zip(missing, folders, strict=True):
            documents[number] = _compile(folder, revisions[number])
            _write(paths[number], documents[number])
    return [Figures.of(one["rows"], one["faults"]) if one else None for one in documents]


def cached_figures(repository: Path, commit: str) -> Path | None:
    """The file that caches the figures of a commit's kernels; None where there is no compiler to name."""
    nvcc = find_nvcc()
    tree = git(repository, "ls-tree", "-z", "--object-only", commit, KERNELS).strip("\0")
    if nvcc is None or not tree:
        return None
    sources = [Path(__file__).with_name(name).read_text(encoding="utf-8") for name in _CHILD_SOURCES]
    parts = (tree, nvcc_version(nvcc), *sources)
    return cache_folder() / f"figures-{hashlib.sha256(repr(parts).encode()).hexdigest()}.json"


def _read(path: Path | None) -> dict[str, Any] | None:
    """The cached document, empty for a revision without figures; None where it is missing or damaged."""
    try:
        document = json.loads(path.read_text(encoding="utf-8")) if path else None
    except (OSError, ValueError):
        return None
    whole = document == {} or (isinstance(document, dict) and document.keys() == {"rows", "faults"})
    return document if whole else None


def _write(path: Path | None, document: dict[str, Any] | None) -> None:
    if path is None:
        return
    with suppress(OSError):  # a folder that cannot be written only costs time
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, prefix="figures-writing-", delete=False
        ) as file:
            json.dump(document, file)
        Path(file.name).replace(path)


def _compile(folder: Path, revision: RevisionRecord) -> dict[str, Any]:
    """Rows and faults as the child prints them; empty for a revision that is older than such figures."""
    command = python_command(_MODULE, str(folder), options=("-B",))
    try:
        done = subprocess.run(
            command, env=child_environment(), capture_output=True, text=True, timeout=_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise MeasurementError(
            f"compiling revision {revision.commit[:12]} took more than {_TIMEOUT_S / 60:.0f} minutes"
        ) from error
    if done.returncode == NO_FIGURES:
        return {}
    if done.returncode:
        reason = done.stderr.strip() or f"exit code {done.returncode}"
        raise MeasurementError(f"revision {revision.commit[:12]}: {reason}")
    document: dict[str, Any] = json.loads(done.stdout)
    return document
