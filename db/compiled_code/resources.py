"""Resources of a revision's compiled kernels: handed from the profiler to the static gate, and recorded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kswatch.db.backend.bulk_insert import insert_rows
from kswatch.db.queries.compiled_code import ResourceRow
from kswatch.db.schema.tables import Resource
from kswatch.db.store import Store


@dataclass(frozen=True)
class CodeFault:
    """One violation of a kernel's budget."""

    kernel: str
    architecture: str
    what: str
    """A limit's name, or a mnemonic."""
    allowed: str
    found: str


@dataclass(frozen=True)
class Figures:
    """A row for each kernel and architecture, and the violations of the revision's own budget."""

    rows: tuple[ResourceRow, ...]
    faults: tuple[CodeFault, ...]

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]], faults: Iterable[Mapping[str, Any]]) -> Figures:
        """From plain values, as another process sends them."""
        return cls(tuple(ResourceRow(**row) for row in rows), tuple(CodeFault(**fault) for fault in faults))


def record_resources(store: Store, rows: Iterable[ResourceRow]) -> None:
    """Record rows; one with a known hash is left as it is, since it describes the same code."""
    with store.writing() as session:
        insert_rows(session, Resource, [row._asdict() for row in rows], replace=False)
