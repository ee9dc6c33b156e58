"""Import and export of files; importing a file again records nothing."""

from __future__ import annotations

import gc
import gzip
import os
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal, TextIO, cast

from sqlalchemy import select

from kswatch.db.foreign_series.reports import ForeignReport
from kswatch.db.foreign_series.stored import record_report
from kswatch.db.interchange.export import run_content
from kswatch.db.interchange.flat_csv import read_table, write_table
from kswatch.db.interchange.foreign_forms import write_bmf, write_openmetrics
from kswatch.db.interchange.ingest import ImportResult, RunHeader, record_content
from kswatch.db.interchange.jsonl import read_lines, write_lines
from kswatch.db.interchange.reader import open_text
from kswatch.db.records import MeasurementRecord
from kswatch.db.schema.tables import Run
from kswatch.db.store import Store
from kswatch.errors import StoreError, UsageError

Form = Literal["jsonl", "csv", "bmf", "openmetrics"]


def import_file(store: Store, path: Path, as_imported: bool = False) -> ImportResult:
    """Record the file's measurements that the store lacks; rejected rows are returned with their line.

    Args:
        store: The store.
        path: An export of kswatch, or published measurements.
        as_imported: Whether measured runs are recorded as imported ones, which enter no trend, since nobody
            here measures their devices. Otherwise runs keep their origin, as where hosts exchange theirs.

    Raises:
        FormatError: the file cannot be read, or is of no form that kswatch reads.
    """
    file = open_text(path)
    tally = ImportResult()
    read = read_lines if file.starts_with == "{" else read_table
    with file.file, _no_garbage_collection():
        for header, rows in read(file, tally):
            record_content(store, _imported(header) if as_imported else header, rows, tally)
    tally.rejections.sort(key=lambda rejection: rejection.line)
    return tally


def import_report(store: Store, report: ForeignReport) -> ImportResult:
    """Record the values of another tool's report as foreign series; known ones are duplicates."""
    tally = ImportResult()
    tally.recorded = record_report(store, report)
    tally.duplicates = len(report.values) - tally.recorded
    for reason in report.rejected:
        tally.reject(1, reason)
    return tally


def _imported(header: RunHeader) -> RunHeader:
    if header.record.origin != "measured":
        return header
    return replace(header, record=replace(header.record, origin="imported"))


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Inside, the cycle collector is off: it would find none among the many records, and take 10 % longer."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def export_runs(store: Store, path: Path, form: Form, run_ids: Collection[int] | None = None) -> int:
    """Write runs (None: all) to a file, and return the number of measurements.

    JSON lines keep everything; CSV has one flat row per measurement; `bmf` and `openmetrics` are for other
    tools, and are not read again. A name ending in .gz is compressed. The
    file gets its name only when it is complete.

    Raises:
        UsageError: there is no such run.
        StoreError: the file cannot be written.
    """
    _refuse_special(path)
    writers = {"jsonl": write_lines, "csv": write_table, "bmf": write_bmf, "openmetrics": write_openmetrics}
    write = writers[form]
    part = path.with_name(f".{path.name}.part")
    try:
        open_file = gzip.open if path.suffix == ".gz" else open
        with open_file(part, "wt", encoding="utf-8", newline="") as file:
            written = write(cast(TextIO, file), _runs(store, run_ids))
        os.replace(part, path)
    except OSError as error:
        is_folder_missing = isinstance(error, FileNotFoundError)
        cure = "create its folder first" if is_folder_missing else "free space or name another"
        raise StoreError(f"{path} cannot be written: {error.strerror}; {cure}") from None
    finally:
        part.unlink(missing_ok=True)
    return written


def _refuse_special(path: Path) -> None:
    """Check that the name is free or a regular file's: the export takes its place.

    Raises:
        UsageError: it is a folder, device, pipe, socket or link, which would be replaced.
    """
    try:
        mode = path.lstat().st_mode
    except (OSError, ValueError):  # no such file, or a name that none can have: opening it shows which
        return
    if not stat.S_ISREG(mode):
        kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISLNK, "a link"), (stat.S_ISFIFO, "a pipe"))
        kind = next((kind for matches, kind in kinds if matches(mode)), "a device or socket")
        raise UsageError(f"{path} is {kind}, which the export would replace; name a new or regular file")


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
