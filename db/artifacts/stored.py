"""Artifacts of runs: written whole, listed without their bytes, read by number, pruned by age."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import delete, select

from kswatch.db.backend.mapping import columns_of, matching
from kswatch.db.schema.tables import Artifact, ArtifactContent, Run
from kswatch.db.store import Store
from kswatch.errors import UsageError

LARGEST_BYTES = 50_000_000
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._,+-]{0,254}")
"""The name of a file, in no folder, as every system and every HTTP header takes it."""
NCU = "ncu"
NCU_REPORT = "ncu_report"
"""In the arguments of a request: keep ncu's reports of its run."""


@dataclass(frozen=True)
class ArtifactRow:
    """A file of a run, without its bytes."""

    id: int
    run_id: int
    kind: str
    name: str
    size_bytes: int
    sha256: str
    created_at: datetime


def add_artifact(store: Store, run_id: int, kind: str, name: str, content: bytes) -> int:
    """Store a file of a run, and return its number.

    Raises:
        UsageError: it is empty or too large, its name is none of a file, or there is no such run.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name[:80]!r} is no name of an artifact; use letters, digits, '-', '_' and '.'")
    if not 0 < len(content) <= LARGEST_BYTES:
        raise UsageError(
            f"{name[:80]} has {len(content):,} bytes; an artifact has 1 to {LARGEST_BYTES // 1_000_000} MB"
        )
    sha256 = hashlib.sha256(content).hexdigest()
    with store.writing() as session:
        if session.get(Run, run_id) is None:
            raise UsageError(f"there is no run {run_id} to keep {name}; `kswatch runs` lists them")
        row = Artifact(
            run_id=run_id,
            kind=kind,
            name=name,
            size_bytes=len(content),
            sha256=sha256,
            created_at=datetime.now(UTC),
        )
        session.add(row)
        session.flush()
        session.add(ArtifactContent(artifact_id=row.id, content=content))
        return row.id


def artifacts(store: Store, run_ids: Collection[int] | None = None) -> list[ArtifactRow]:
    """The artifacts of these runs (None: of all), in the order in which they were stored."""
    query = select(*columns_of(ArtifactRow, Artifact)).where(*matching((Artifact.run_id, run_ids)))
    return store.read(query.order_by(Artifact.id), ArtifactRow)


def artifact_content(store: Store, artifact_id: int) -> tuple[ArtifactRow, bytes]:
    """An artifact with its bytes.

    Raises:
        UsageError: there is none of this number, or its bytes were pruned.
    """
    query = select(*columns_of(ArtifactRow, Artifact)).where(Artifact.id == artifact_id)
    found = store.read(query, ArtifactRow)
    if not found:
        raise UsageError(f"there is no artifact {artifact_id}; `kswatch runs artifacts RUN` lists a run's")
    with store.session() as session:
        held = session.get(ArtifactContent, artifact_id)
        if held is None:
            raise UsageError(f"artifact {artifact_id} was pruned, or left out of a backup; measure it again")
        return found[0], held.content


def prune_artifacts(store: Store, before: datetime) -> int:
    """Delete the bytes of artifacts of runs that began before, and return their number; their rows stay."""
    old = select(Artifact.id).join(Run, Run.id == Artifact.run_id).where(Run.started_at < before)
    query = delete(ArtifactContent).where(ArtifactContent.artifact_id.in_(old))
    with store.writing() as session:
        return session.execute(query).rowcount  # type: ignore[attr-defined]
