"""Import and export: measurements in and out of the store, each at most once."""

from __future__ import annotations

import gc
import gzip
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TextIO, cast

from sqlalchemy import select

from kswatch.db.interchange.export import run_content
from kswatch.db.interchange.flat_csv import read_table, write_table
from kswatch.db.interchange.ingest import Rejection, RunHeader, Tally, record_content
from kswatch.db.interchange.jsonl import read_lines, write_lines
from kswatch.db.interchange.reader import read_text
from kswatch.db.records import MeasurementRecord
from kswatch.db.schema.tables import Run
from kswatch.db.store import Store
from kswatch.errors import StoreError, UsageError

Form = Literal["jsonl", "csv"]


@dataclass(frozen=True)
class ImportResult:
    """The contract of `kswatch import --json`: read = recorded + implausible + rejected + duplicates."""

    read: int
    recorded: int
    implausible: int
    rejected: int
    duplicates: int
    rejections: tuple[Rejection, ...]
    run_ids: tuple[int, ...]
    """Runs that something was recorded in."""


def import_file(store: Store, path: Path) -> ImportResult:
    """Record what the file has and the store has not; a row that cannot be taken is told with its line.

    Raises:
        FormatError: the file cannot be read, or is of no form that kswatch reads.
    """
    text = read_text(path)
    tally = Tally()
    read = read_lines if text.lstrip().startswith("{") else read_table
    with _no_search_for_cycles():
        for header, rows in read(path, text, tally):
            record_content(store, header, rows, tally)
    rejections = tuple(sorted(tally.rejections, key=lambda rejection: rejection.line))
    return ImportResult(
        read=tally.recorded + tally.implausible + len(rejections) + tally.duplicates,
        recorded=tally.recorded,
        implausible=tally.implausible,
        rejected=len(rejections),
        duplicates=tally.duplicates,
        rejections=rejections,
        run_ids=tuple(dict.fromkeys(tally.run_ids)),
    )


@contextmanager
def _no_search_for_cycles() -> Iterator[None]:
    """Many records are made and none is part of a cycle: looking for some would take a tenth of the time."""
    looks = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if looks:
            gc.enable()


def export_runs(store: Store, path: Path, form: Form, run_ids: Collection[int] | None = None) -> int:
    """Write runs (None: all) to a file, compressed where its name ends in .gz, and give the measurements.

    JSON lines keep everything; CSV has one flat row a measurement. The file appears when it is whole.

    Raises:
        UsageError: there is no such run.
        StoreError: the file cannot be written.
    """
    write = {"jsonl": write_lines, "csv": write_table}[form]
    part = path.with_name(f".{path.name}.part")
    try:
        with _opened(part, compressed=path.suffix == ".gz") as file:
            written = write(file, _runs(store, run_ids))
        os.replace(part, path)
    except OSError as error:
        cure = (
            "make its folder first" if isinstance(error, FileNotFoundError) else "free space or name another"
        )
        raise StoreError(f"{path} cannot be written: {error.strerror}; {cure}") from None
    finally:
        part.unlink(missing_ok=True)
    return written


def _opened(path: Path, compressed: bool) -> TextIO:
    if compressed:
        return cast(TextIO, gzip.open(path, "wt", encoding="utf-8", newline=""))
    return path.open("w", encoding="utf-8", newline="")


def _runs(
    store: Store, run_ids: Collection[int] | None
) -> Iterator[tuple[RunHeader, list[MeasurementRecord]]]:
    with store.session() as session:
        known = list(session.scalars(select(Run.id).order_by(Run.id)))
    wanted = known if run_ids is None else sorted(set(run_ids))
    missing = sorted(set(wanted) - set(known))
    if missing:
        raise UsageError(f"there is no run {missing[0]}; `kswatch runs` lists them")
    for run_id in wanted:
        yield run_content(store, run_id)
